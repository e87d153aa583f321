//! The file store on a full and on a read-only disk. Each case runs in a process of its own with a small disk mounted for
//! it alone. Where that is not permitted the cases are reported as ignored; in CI they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
#[path = "support/sets.rs"]
mod sets;
#[cfg(target_os = "linux")]
#[path = "support/small_disk.rs"]
mod small_disk;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    small_disk::run(&[
        ("a_full_disk_is_named_and_leaves_the_old_copy", cases::full_disk),
        ("a_read_only_disk_is_named_and_still_read", cases::read_only_disk),
    ])
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod cases {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant, SystemTime};

    use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind};
    use flagcache_providers::{FileProvider, FileStore};

    use super::sets::fetched;
    use super::small_disk;

    fn provider(folder: &Path) -> FileProvider {
        FileStore::builder(folder, "shop").build().unwrap().provider()
    }

    fn wait<T>(call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
    }

    pub(crate) fn full_disk(folder: &Path) {
        let leader = provider(folder);
        let small = fetched("beta", "\"1\"", 0);
        assert!(wait(leader.should_fetch_flag_definitions()).unwrap());
        wait(leader.on_flag_definitions_received(&small)).unwrap();

        let flags = vec![r#"{"key":"one of very many"}"#; 2 * small_disk::SIZE / 20].join(",");
        let body = format!(r#"{{"flags":[{flags}]}}"#);
        let large = FlagDefinitionCacheData::from_api_response(body, None, SystemTime::now(), None).unwrap();
        let error = wait(leader.on_flag_definitions_received(&large)).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
        let expected = format!("cannot write {}/shop.json: the disk is full; free some space", folder.display());
        assert!(error.to_string().starts_with(&expected), "{error}");

        let stored = wait(provider(folder).get_flag_definitions()).unwrap().unwrap();
        assert!(stored.same_content(&small) && stored.etag().is_some());
        let left = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().extension().unwrap() == "tmp");
        assert_eq!(left.count(), 0, "the half-written file stayed");
        wait(leader.on_flag_definitions_received(&fetched("gamma", "\"2\"", 0))).unwrap();
    }

    pub(crate) fn read_only_disk(folder: &Path) {
        let writer = provider(folder);
        let data = fetched("beta", "\"1\"", 0);
        assert!(wait(writer.should_fetch_flag_definitions()).unwrap());
        wait(writer.on_flag_definitions_received(&data)).unwrap();
        drop(writer);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !small_disk::make_read_only(folder) {
            assert!(Instant::now() < deadline, "somebody still writes to the disk");
            std::thread::sleep(Duration::from_millis(10));
        }

        let worker = provider(folder);
        let error = wait(worker.should_fetch_flag_definitions()).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
        let expected =
            format!("cannot open the lock file {}/shop.lock: the file system is read-only", folder.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(wait(worker.get_flag_definitions()).unwrap().unwrap().same_content(&data));

        let elsewhere = provider(&folder.join("new"));
        let error = wait(elsewhere.should_fetch_flag_definitions()).unwrap_err().to_string();
        assert!(error.contains("new/shop.lock: the file system is read-only"), "{error}");
    }
}

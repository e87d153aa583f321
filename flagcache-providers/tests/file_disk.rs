//! The file store on a full and on a read-only disk. Each case runs in a process of its own with a small disk mounted for
//! it alone. Where that is not permitted the cases are reported as ignored; in CI they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(target_os = "linux")]
#[path = "support/sets.rs"]
mod sets;
#[cfg(target_os = "linux")]
#[path = "support/small_disk.rs"]
mod small_disk;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    small_disk::run(&[
        (
            "a_full_disk_is_reported_and_the_old_copy_is_kept",
            cases::full_disk,
        ),
        (
            "a_read_only_disk_is_named_and_still_read",
            cases::read_only_disk,
        ),
        (
            "b9_72_a_leader_that_cannot_write_confirms_nothing",
            cases::b9_72_a_leader_that_cannot_write_confirms_nothing,
        ),
        (
            "b9_72_followers_become_stale_and_fetch",
            cases::b9_72_followers_become_stale_and_fetch,
        ),
        (
            "b9_75_the_modes_are_ensured_for_another_user",
            cases::b9_75_the_modes_are_ensured_for_another_user,
        ),
        (
            "b9_75_a_file_of_another_user_is_named",
            cases::b9_75_a_file_of_another_user_is_named,
        ),
        (
            "b9_75_a_file_that_is_a_mount_is_named",
            cases::b9_75_a_file_that_is_a_mount_is_named,
        ),
    ])
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod cases {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant, SystemTime};

    use flagcache_core::{
        FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
        FlagDefinitionPoller, PollerContextOwner, PollerSchedule, PollerState, ProviderError,
        ProviderErrorKind,
    };
    use flagcache_providers::testing::{Reply, ScriptedSource};
    use flagcache_providers::{FileProvider, FileStore};
    use flagcache_test_support::eventually;

    use super::sets::fetched;
    use super::small_disk;

    fn provider(folder: &Path) -> FileProvider {
        FileStore::builder(folder, "shop")
            .build()
            .unwrap()
            .provider()
    }

    fn wait<T>(call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(call)
    }

    pub(crate) fn full_disk(folder: &Path) {
        let leader = provider(folder);
        let small = fetched("beta", "\"1\"", 0);
        assert!(wait(leader.should_fetch_flag_definitions()).unwrap());
        wait(leader.on_flag_definitions_received(&small)).unwrap();

        let flags = vec![r#"{"key":"one of very many"}"#; 2 * small_disk::SIZE / 20].join(",");
        let body = format!(r#"{{"flags":[{flags}]}}"#);
        let large = FlagDefinitionCacheData::from_api_response(body, None, SystemTime::now(), None)
            .unwrap();
        let error = wait(leader.on_flag_definitions_received(&large)).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
        let expected = format!(
            "cannot write {}/shop.json: the disk is full; free some space",
            folder.display()
        );
        assert!(error.to_string().starts_with(&expected), "{error}");

        let stored = wait(provider(folder).get_flag_definitions())
            .unwrap()
            .unwrap();
        assert!(stored.same_content(&small) && stored.etag().is_some());
        let left = fs::read_dir(folder)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().unwrap() == "tmp");
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
            assert!(
                Instant::now() < deadline,
                "somebody still writes to the disk"
            );
            std::thread::sleep(Duration::from_millis(10));
        }

        let worker = provider(folder);
        let error = wait(worker.should_fetch_flag_definitions()).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
        let expected = format!(
            "cannot open the lock file {}/shop.lock: the file system is read-only",
            folder.display()
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(
            wait(worker.get_flag_definitions())
                .unwrap()
                .unwrap()
                .same_content(&data)
        );

        let elsewhere = provider(&folder.join("new"));
        let error = wait(elsewhere.should_fetch_flag_definitions())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("new/shop.lock: the file system is read-only"),
            "{error}"
        );
    }

    /// The age of the confirmation that a follower reports.
    fn confirmed_ago(folder: &Path) -> Duration {
        let (follower, poller) = (
            provider(folder),
            PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(600))),
        );
        follower.on_poller_attached(poller.context());
        wait(follower.get_flag_definitions()).unwrap().unwrap();
        poller.take_report().unwrap().confirmed_ago.unwrap()
    }

    pub(crate) fn b9_72_a_leader_that_cannot_write_confirms_nothing(folder: &Path) {
        let leader = provider(folder);
        assert!(wait(leader.should_fetch_flag_definitions()).unwrap());
        wait(leader.on_flag_definitions_received(&fetched("beta", "\"1\"", 0))).unwrap();
        let long = Duration::from_secs(1_000);
        let lock = fs::File::options()
            .write(true)
            .open(folder.join("shop.lock"))
            .unwrap();
        lock.set_modified(SystemTime::now() - long).unwrap();
        let fill = folder.join("fill");
        assert!(
            fs::write(&fill, vec![0; 2 * small_disk::SIZE]).is_err(),
            "the disk is not full"
        );

        let new = fetched("gamma", "\"2\"", 0);
        wait(leader.on_flag_definitions_received(&new)).unwrap_err();
        for _ in 0..2 {
            assert!(wait(leader.should_fetch_flag_definitions()).unwrap());
            let error =
                wait(leader.on_fetch_without_update(FetchOutcome::unchanged(&new))).unwrap_err();
            assert!(error.to_string().contains("the disk is full"), "{error}");
            assert!(confirmed_ago(folder) >= long, "the old copy was confirmed");
        }
        fs::remove_file(fill).unwrap();
        wait(leader.on_fetch_without_update(FetchOutcome::unchanged(&new))).unwrap();
        assert!(confirmed_ago(folder) < long);
    }

    fn poller(folder: &Path, api: &ScriptedSource) -> FlagDefinitionPoller {
        FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(provider(folder))
            .poll_interval(Duration::from_millis(500))
            .max_staleness(Duration::from_secs(3))
            .start()
            .unwrap()
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        eventually(what, Duration::from_secs(30), async || condition()).await;
    }

    async fn v2_on_a_full_disk(folder: &Path) {
        let v1 = r#"{"flags":[{"key":"v1"}]}"#;
        let v2 = r#"{"flags":[{"key":"v2"}]}"#;
        let apis = [ScriptedSource::new(), ScriptedSource::new()];
        for api in &apis {
            api.serve(v1, Some("\"1\"")).always(Reply::current());
        }
        let leader = poller(folder, &apis[0]);
        leader.wait_ready(Duration::from_secs(10)).await.unwrap();
        until("v1 is stored", || folder.join("shop.json").exists()).await;
        let follower = poller(folder, &apis[1]);
        follower.wait_ready(Duration::from_secs(10)).await.unwrap();
        let serves = |poller: &FlagDefinitionPoller, key: &str| {
            poller.definitions().unwrap().flag(key).is_some()
        };
        assert!(serves(&follower, "v1"));
        assert_eq!(
            (follower.status().state, apis[1].count()),
            (PollerState::Ready, 0)
        );

        assert!(
            fs::write(folder.join("fill"), vec![0; 2 * small_disk::SIZE]).is_err(),
            "the disk is not full"
        );
        // The follower's own requests fail at first, so that it can be seen to be stale.
        apis[1]
            .serve(v2, Some("\"2\""))
            .always(Reply::failure(FetchErrorKind::Server));
        apis[0].serve(v2, Some("\"2\""));
        until("the leader serves v2", || serves(&leader, "v2")).await;
        assert_eq!(leader.status().state, PollerState::Ready);
        until("the follower is stale", || {
            follower.status().state == PollerState::Stale
        })
        .await;
        until("the follower sends requests of its own", || {
            apis[1].count() > 0
        })
        .await;
        assert!(serves(&follower, "v1"));
        apis[1].always(Reply::current());
        until("the follower has fetched v2", || serves(&follower, "v2")).await;
        until("the follower is ready", || {
            follower.status().state == PollerState::Ready
        })
        .await;
        follower.shutdown().await.unwrap();
        // The leader still cannot write.
        let _ = leader.shutdown().await;
    }

    pub(crate) fn b9_72_followers_become_stale_and_fetch(folder: &Path) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(v2_on_a_full_disk(folder));
    }

    pub(crate) fn b9_75_the_modes_are_ensured_for_another_user(folder: &Path) {
        small_disk::become_user(65_534);
        for umask in [0o117, 0o777, 0o027, 0o000] {
            let cache = folder.join(format!("{umask:o}/var/cache"));
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            let leader = provider(&cache);
            assert!(wait(leader.should_fetch_flag_definitions()).unwrap());
            wait(leader.on_flag_definitions_received(&fetched("beta", "\"1\"", 0))).unwrap();
            let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let modes = [".", "..", "shop.json", "shop.lock"].map(|name| mode(cache.join(name)));
            assert_eq!(modes, [0o700, 0o700, 0o600, 0o600], "umask {umask:o}");
            assert!(
                wait(provider(&cache).get_flag_definitions())
                    .unwrap()
                    .is_some()
            );
        }
    }

    pub(crate) fn b9_75_a_file_of_another_user_is_named(folder: &Path) {
        let cache = folder.join("cache");
        fs::create_dir(&cache).unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
        let writer = provider(&cache);
        assert!(wait(writer.should_fetch_flag_definitions()).unwrap());
        wait(writer.on_flag_definitions_received(&fetched("beta", "\"1\"", 0))).unwrap();
        let closed = folder.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();

        small_disk::become_user(65_534);
        let whose = |what: &str, mode: &str| {
            format!("{what} belongs to user 0 with mode {mode}, and this process is user 65534")
        };
        let error = wait(provider(&cache).get_flag_definitions()).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
        let expected = format!(
            "cannot read {}/shop.json: not permitted: {}",
            cache.display(),
            whose("the file", "0600")
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        let error = wait(provider(&cache).should_fetch_flag_definitions())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("shop.lock: not permitted: the file belongs to user 0"),
            "{error}"
        );

        // It is the folder only where it is the folder.
        for inner in [closed.clone(), closed.join("inner")] {
            let error = wait(provider(&inner).should_fetch_flag_definitions())
                .unwrap_err()
                .to_string();
            let expected = whose(&format!("the folder {}", closed.display()), "0700");
            assert!(error.contains(&expected), "{error}");
        }
    }

    pub(crate) fn b9_75_a_file_that_is_a_mount_is_named(folder: &Path) {
        let (path, source) = (folder.join("shop.json"), folder.join("source"));
        fs::write(&source, fetched("beta", "\"1\"", 0).to_json()).unwrap();
        fs::write(&path, "").unwrap();
        small_disk::mount_over(&source, &path);
        let worker = provider(folder);
        assert!(
            wait(worker.get_flag_definitions())
                .unwrap()
                .unwrap()
                .flag("beta")
                .is_some()
        );
        assert!(wait(worker.should_fetch_flag_definitions()).unwrap());
        let error =
            wait(worker.on_flag_definitions_received(&fetched("gamma", "\"2\"", 0))).unwrap_err();
        let expected = format!(
            "cannot write {}: it is a mount point, which cannot be replaced; mount the folder, not the file",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

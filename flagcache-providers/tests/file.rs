//! The file store, seen from the pollers of one process. Each opens a store of its own, as processes do.
#![cfg(feature = "file")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/failures.rs"]
mod failures;
#[path = "support/sets.rs"]
mod sets;
#[path = "support/worker.rs"]
mod worker;

use std::error::Error;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use failures::{WINDOW, connect, failed, refusal, set_key};
use flagcache_core::{
    DataError, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FleetStatus, PollerSchedule, ProviderError, ProviderErrorKind,
};
use flagcache_providers::{FileProvider, FileStore};
use sets::{fetched, foreign};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than any wait of these tests: what they see comes by itself, not by a tick.
const INTERVAL: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(10);
/// Some rounds of a store's thread. For what must *not* happen.
const A_WHILE: Duration = Duration::from_millis(400);

const GARBAGE: [&str; 7] = [
    "garbage",
    "{}",
    "[]",
    r#"{"flags":null}"#,
    r#"{"flags":"x"}"#,
    r#"{"flags":[1,2]}"#,
    r#"{"flags":[{"key":"#,
];

struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// Where writing takes no time, if there is such a place: for tests that measure what comes after.
    fn fast() -> Self {
        let memory = Path::new("/dev/shm");
        Self {
            dir: if memory.is_dir() {
                TempDir::new_in(memory)
            } else {
                TempDir::new()
            }
            .unwrap(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("shop.json")
    }

    fn lock(&self) -> PathBuf {
        self.dir.path().join("shop.lock")
    }

    fn patch(&self) -> PathBuf {
        self.dir.path().join("shop.patch")
    }

    fn failure(&self) -> PathBuf {
        self.dir.path().join("shop.failure")
    }

    /// A worker that asks the API with this key.
    fn worker_with(&self, secret_key: &str) -> Worker {
        let worker = self.worker();
        set_key(&worker.poller, secret_key);
        worker
    }

    fn store(&self) -> FileStore {
        FileStore::builder(self.dir.path(), "shop").build().unwrap()
    }

    fn worker(&self) -> Worker {
        Worker::of(&self.store())
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

type Worker = worker::Worker<FileProvider>;

impl Worker {
    fn of(store: &FileStore) -> Self {
        Self::with_schedule(store, PollerSchedule::new(INTERVAL))
    }

    fn with_schedule(store: &FileStore, schedule: PollerSchedule) -> Self {
        Self::attached(store.provider(), schedule)
    }

    async fn is_notified(&self) {
        assert!(self.noticed(DEADLINE).await, "no notification came");
    }

    async fn is_not_notified(&self) {
        assert!(!self.noticed(A_WHILE).await, "an unexpected notification");
    }

    /// Asks again on each notification, as a poller does, until the decision is `true`.
    async fn comes_to_lead(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.leads().await {
            tokio::time::timeout_at(deadline, self.poller.changed())
                .await
                .expect("the worker never leads");
        }
    }

    /// What the store reports with a read.
    async fn read_report(&self) -> FleetStatus {
        self.reads().await;
        self.report()
    }
}

fn age(path: &Path, age: Duration) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(SystemTime::now() - age)
        .unwrap();
}

/// Which file it is, and when it was written.
fn version_of(path: &Path) -> (u64, SystemTime) {
    let metadata = fs::metadata(path).unwrap();
    #[cfg(unix)]
    let file = metadata.ino();
    #[cfg(windows)]
    let file = 0;
    (file, metadata.modified().unwrap())
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn cause(error: &ProviderError) -> &Arc<DataError> {
    error
        .source()
        .and_then(<dyn Error>::downcast_ref)
        .expect("no cause")
}

fn outcome(failure: Option<FetchErrorKind>, data: &FlagDefinitionCacheData) -> FetchOutcome {
    failure.map_or(FetchOutcome::unchanged(data), |failure| {
        FetchOutcome::failed(failure, Some(data))
    })
}

#[tokio::test]
async fn b8_58_one_of_many_leads_and_the_others_read_its_copy() {
    let folder = Folder::new();
    let workers: Vec<Worker> = (0..16).map(|_| folder.worker()).collect();
    let mut leaders = Vec::new();
    for worker in &workers {
        if worker.leads().await {
            leaders.push(worker);
        } else {
            assert!(worker.reads().await.is_none());
        }
    }
    let [leader] = leaders[..] else {
        panic!("{} leaders", leaders.len())
    };
    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await;
    for worker in workers
        .iter()
        .filter(|worker| !std::ptr::eq(*worker, leader))
    {
        worker.is_notified().await;
        let copy = worker.reads().await.unwrap();
        assert!(copy.same_content(&data));
        assert_eq!(copy.etag(), Some("\"1\""));
    }
    leader.is_not_notified().await;
}

#[tokio::test]
async fn two_providers_of_one_store_exclude_each_other() {
    let store = Folder::new().store();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
}

#[tokio::test]
async fn b8_60_a_leader_that_shuts_down_or_is_dropped_hands_over_at_once() {
    let folder = Folder::new();
    let (first, second, third) = (folder.worker(), folder.worker(), folder.worker());
    assert!(first.leads().await);
    assert!(!second.leads().await);
    first.provider.shutdown().await.unwrap();
    let freed = Instant::now();
    second.comes_to_lead().await;
    assert!(freed.elapsed() < Duration::from_millis(300));

    assert!(!third.leads().await);
    drop(second);
    let freed = Instant::now();
    third.comes_to_lead().await;
    assert!(freed.elapsed() < Duration::from_millis(300));
    assert!(
        !first.leads().await,
        "a closed candidate acquires no leadership"
    );
}

#[tokio::test]
async fn a_worker_without_a_decision_never_leads() {
    let folder = Folder::new();
    let reader = folder.worker();
    reader.reads().await;
    sleep(A_WHILE).await;
    assert!(folder.worker().leads().await);
}

#[tokio::test]
async fn a_manual_poller_acquires_leadership_in_a_decision_only() {
    let folder = Folder::new();
    let mut schedule = PollerSchedule::new(INTERVAL);
    schedule.manual = true;
    let manual = Worker::with_schedule(&folder.store(), schedule);
    let leader = folder.worker();
    assert!(leader.leads().await);
    assert!(!manual.leads().await);
    drop(leader);
    manual.is_not_notified().await;
    assert!(manual.leads().await);
}

#[tokio::test]
async fn b8_61_the_lock_of_a_dropped_poller_is_released() {
    let folder = Folder::new();
    let Worker { provider, poller } = folder.worker();
    assert!(provider.should_fetch_flag_definitions().await.unwrap());
    drop(poller);
    let next = folder.worker();
    next.comes_to_lead().await;
}

#[tokio::test]
async fn b8_61_a_leader_that_cannot_fetch_steps_down_for_the_requested_time() {
    let folder = Folder::new();
    let (first, second) = (folder.worker(), folder.worker());
    assert!(first.leads().await);
    let out = Duration::from_secs(2);
    first
        .fetches_without_update(
            FetchOutcome::failed(FetchErrorKind::Unauthorized, None).with_step_down_for(Some(out)),
        )
        .await;
    let since = Instant::now();
    assert!(
        !first.leads().await,
        "stepped down, and no other worker leads"
    );
    second.comes_to_lead().await;
    drop(second);
    first.comes_to_lead().await;
    assert!(since.elapsed() >= out - Duration::from_millis(50));
}

#[tokio::test]
async fn a_stay_out_beyond_the_clock_is_a_long_one() {
    let worker = Folder::new().worker();
    assert!(worker.leads().await);
    let out = Some(Duration::MAX);
    worker
        .fetches_without_update(
            FetchOutcome::failed(FetchErrorKind::Unauthorized, None).with_step_down_for(out),
        )
        .await;
    assert!(!worker.leads().await);
}

#[tokio::test]
async fn b8_62_the_time_of_the_last_confirmation_is_in_the_lock_file() {
    let folder = Folder::new();
    let (leader, reader) = (folder.worker(), folder.worker());
    assert_eq!(reader.read_report().await.confirmed_ago, None);
    assert!(leader.leads().await);
    assert_eq!(
        reader.read_report().await.confirmed_ago,
        None,
        "a lead alone confirms nothing"
    );

    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await;
    age(&folder.lock(), Duration::from_secs(7));
    let written = version_of(&folder.data());
    let ago = reader.read_report().await.confirmed_ago.unwrap();
    assert!(
        ago >= Duration::from_secs(7) && ago < Duration::from_secs(17),
        "{ago:?}"
    );

    leader
        .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await;
    assert!(reader.read_report().await.confirmed_ago.unwrap() >= Duration::from_secs(7));
    leader
        .fetches_without_update(FetchOutcome::unchanged(&data))
        .await;
    assert!(reader.read_report().await.confirmed_ago.unwrap() < Duration::from_secs(7));
    leader.publishes(&data).await;

    let confirmed = version_of(&folder.data());
    assert_eq!(written, confirmed, "the data was touched");
}

#[tokio::test]
async fn a_confirmation_ahead_of_the_clock_counts_as_now() {
    let folder = Folder::new();
    let leader = folder.worker();
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    let lock = File::options().write(true).open(folder.lock()).unwrap();
    lock.set_modified(SystemTime::now() + Duration::from_secs(3600))
        .unwrap();
    assert_eq!(
        leader.read_report().await.confirmed_ago,
        Some(Duration::ZERO)
    );
}

#[tokio::test]
async fn b2_29_a_used_up_quota_is_reported_until_the_next_success() {
    let folder = Folder::new();
    let (leader, reader) = (folder.worker(), folder.worker());
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await);
    leader
        .fetches_without_update(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    let report = reader.read_report().await;
    assert!(report.quota_limited);
    assert_eq!(report.confirmed_ago, None, "never confirmed so far");

    leader
        .fetches_without_update(FetchOutcome::unchanged(&data))
        .await;
    assert!(!reader.read_report().await.quota_limited);
    age(&folder.lock(), Duration::from_secs(7));
    leader
        .fetches_without_update(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    leader
        .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await;
    let report = reader.read_report().await;
    assert!(report.quota_limited, "a 5xx says nothing about the quota");
    assert!(
        report.confirmed_ago.unwrap() >= Duration::from_secs(7),
        "a 402 confirms nothing"
    );
    leader.publishes(&fetched("gamma", "\"2\"", 0)).await;
    assert!(!reader.read_report().await.quota_limited);
}

#[tokio::test]
async fn an_unchanged_file_is_not_read_again() {
    let folder = Folder::new();
    let (leader, reader) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    let first = reader.reads().await.unwrap();
    for _ in 0..10 {
        let again = reader.reads().await.unwrap();
        assert_eq!(
            again.to_json().as_ptr(),
            first.to_json().as_ptr(),
            "another buffer, so it was read again"
        );
    }
    // What was published is known without reading it, to all pollers of the store.
    let copy = leader.reads().await.unwrap();
    assert_eq!(
        copy.raw_json().as_ptr(),
        leader.reads().await.unwrap().raw_json().as_ptr()
    );
}

#[tokio::test]
async fn garbage_is_parsed_once_and_named() {
    let folder = Folder::new();
    for garbage in GARBAGE {
        fs::write(folder.data(), garbage).unwrap();
        age(&folder.data(), Duration::from_secs(1));
        let reader = folder.worker();
        let error = reader.provider.get_flag_definitions().await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::InvalidData);
        assert!(
            error
                .to_string()
                .starts_with(&format!("{} is not valid", folder.data().display())),
            "{error}"
        );
        let again = reader.provider.get_flag_definitions().await.unwrap_err();
        assert!(
            Arc::ptr_eq(cause(&again), cause(&error)),
            "not the error that was kept beside the file's state"
        );
    }
}

#[tokio::test]
async fn writes_within_one_step_of_the_clock_are_all_seen() {
    let folder = Folder::new();
    let (leader, reader) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    for version in 1000..1300 {
        let data = fetched(&format!("flag{version}"), "\"same\"", 0);
        leader.publishes(&data).await;
        assert!(
            reader.reads().await.unwrap().same_content(&data),
            "version {version} was taken for the one before"
        );
    }
}

#[tokio::test]
async fn foreign_writes_of_equal_length_within_one_clock_step_are_all_seen() {
    let folder = Folder::new();
    let reader = folder.worker();
    for version in 1000..1300 {
        let json = format!(r#"{{"flags":[{{"key":"flag{version}"}}]}}"#);
        fs::write(folder.data(), &json).unwrap();
        let copy = reader.reads().await.unwrap();
        assert!(
            copy.flag(&format!("flag{version}")).is_some(),
            "version {version} was taken for the one before"
        );
    }
}

#[tokio::test]
async fn b2_27_an_unchanged_publish_or_confirmation_writes_nothing() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 9)).await;
    let written = version_of(&folder.data());
    follower.reads().await;
    let again = fetched("beta", "\"1\"", 0);
    leader.publishes(&again).await;
    leader
        .fetches_without_update(FetchOutcome::unchanged(&again))
        .await;
    assert_eq!(written, version_of(&folder.data()));
    follower.is_not_notified().await;
    leader.publishes(&fetched("beta", "\"2\"", 0)).await;
    follower.is_notified().await;
    assert_eq!(follower.reads().await.unwrap().etag(), Some("\"2\""));
}

#[tokio::test]
async fn b1_07_a_worker_that_does_not_lead_fills_an_empty_store_and_overwrites_nothing() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    assert!(leader.reads().await.is_none());
    assert!(!follower.leads().await);
    let (first, second) = (fetched("first", "\"1\"", 9), fetched("second", "\"2\"", 0));
    follower.publishes(&first).await;
    follower.publishes(&second).await;
    assert!(leader.reads().await.unwrap().same_content(&first));
    assert_eq!(folder.names(), ["shop.json", "shop.lock"]);
}

#[tokio::test]
async fn b8_65_leadership_acquired_after_the_decision_does_not_overwrite() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    let (new, old) = (fetched("new", "\"2\"", 0), fetched("old", "\"1\"", 9));
    leader.publishes(&new).await;
    drop(leader);
    follower.is_notified().await;
    // Its thread holds the lock by now, but what it publishes belongs to the load of the decision that was `false`.
    sleep(A_WHILE).await;
    follower.publishes(&old).await;
    assert!(follower.reads().await.unwrap().same_content(&new));
    assert!(follower.leads().await);
    follower.publishes(&old).await;
    assert!(follower.reads().await.unwrap().same_content(&old));
}

#[tokio::test]
#[cfg_attr(
    windows,
    ignore = "Windows deletes no file that is open, such as a lock file"
)]
async fn b8_67_a_deleted_lock_file_ends_the_old_leadership() {
    let folder = Folder::new();
    let (old, new) = (folder.worker(), folder.worker());
    assert!(old.leads().await);
    let mine = fetched("old", "\"1\"", 9);
    old.publishes(&mine).await;
    assert!(!new.leads().await);
    fs::remove_file(folder.lock()).unwrap();
    new.comes_to_lead().await;
    let theirs = fetched("new", "\"2\"", 0);
    new.publishes(&theirs).await;
    // Not even the load that began as leader writes any more.
    old.publishes(&mine).await;
    old.fetches_without_update(FetchOutcome::unchanged(&mine))
        .await;
    assert!(new.reads().await.unwrap().same_content(&theirs));
    assert!(!old.leads().await);
    assert!(new.leads().await);
}

#[tokio::test]
#[cfg_attr(
    windows,
    ignore = "Windows deletes no file that is open, such as a lock file"
)]
async fn b8_67_a_leader_whose_lock_file_was_deleted_and_not_taken_continues_to_lead() {
    let folder = Folder::new();
    let leader = folder.worker();
    assert!(leader.leads().await);
    fs::remove_file(folder.lock()).unwrap();
    assert!(leader.leads().await);
    assert!(folder.lock().exists());
    assert!(!folder.worker().leads().await);
}

#[cfg(windows)]
#[tokio::test]
async fn the_lock_file_of_a_leader_cannot_be_deleted() {
    let folder = Folder::new();
    let (leader, other) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    fs::remove_file(folder.lock()).unwrap_err();
    fs::rename(folder.lock(), folder.dir.path().join("gone")).unwrap_err();
    assert!(leader.leads().await && !other.leads().await);
}

/// A virus scanner has a new file open for a moment, and an editor for longer.
#[cfg(windows)]
#[tokio::test]
async fn a_copy_that_another_program_has_open_is_replaced_as_soon_as_it_can_be() {
    use std::os::windows::fs::OpenOptionsExt;
    const READ: u32 = 1;
    let folder = Folder::new();
    let leader = folder.worker();
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    let open = || {
        File::options()
            .read(true)
            .share_mode(READ)
            .open(folder.data())
    };

    let scanner = open().unwrap();
    let scan = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(scanner);
    });
    leader.publishes(&fetched("gamma", "\"2\"", 0)).await;
    scan.join().unwrap();
    assert!(leader.reads().await.unwrap().flag("gamma").is_some());

    let editor = open().unwrap();
    let delta = fetched("delta", "\"3\"", 0);
    let error = leader.provider.on_flag_definitions_received(&delta).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("shop.json: not permitted, or another program has it open"),
        "{error}"
    );
    assert_eq!(folder.names(), ["shop.json", "shop.lock"]);
    drop(editor);
    leader.publishes(&delta).await;
    assert!(leader.reads().await.unwrap().flag("delta").is_some());
}

#[tokio::test]
async fn b8_63_a_deleted_copy_and_a_lost_folder_are_restored_on_a_304_and_on_a_5xx() {
    for failure in [None, Some(FetchErrorKind::Server)] {
        let folder = Folder::new();
        let inner = folder.dir.path().join("cache");
        let store = FileStore::builder(&inner, "shop").build().unwrap();
        let (leader, follower) = (
            Worker::of(&store),
            Worker::of(&FileStore::builder(&inner, "shop").build().unwrap()),
        );
        assert!(leader.leads().await);
        let data = fetched("beta", "\"1\"", 0);
        leader.publishes(&data).await;
        for lose in [
            |inner: &Path| fs::remove_file(inner.join("shop.json")),
            // Windows moves no folder in which a file is open.
            #[cfg(unix)]
            |inner: &Path| fs::rename(inner, inner.with_extension("gone")),
        ] {
            follower.reads().await.unwrap();
            lose(&inner).unwrap();
            follower.is_notified().await;
            assert!(follower.reads().await.is_none());
            assert!(leader.leads().await);
            leader.fetches_without_update(outcome(failure, &data)).await;
            follower.is_notified().await;
            assert!(follower.reads().await.unwrap().same_content(&data));
        }
    }
}

#[tokio::test]
async fn b8_66_foreign_writes_are_replaced_on_a_304_and_on_a_5xx() {
    for failure in [None, Some(FetchErrorKind::Server)] {
        for written in GARBAGE
            .into_iter()
            .map(str::as_bytes)
            .map(<[u8]>::to_vec)
            .chain([foreign().to_json().to_vec()])
        {
            let folder = Folder::new();
            let (leader, follower) = (folder.worker(), folder.worker());
            assert!(leader.leads().await);
            let data = fetched("beta", "\"1\"", 0);
            leader.publishes(&data).await;
            fs::write(folder.data(), &written).unwrap();
            assert!(leader.leads().await);
            leader.fetches_without_update(outcome(failure, &data)).await;
            assert!(follower.reads().await.unwrap().same_content(&data));
        }
    }
}

#[tokio::test]
async fn a_new_leader_that_failed_to_fetch_leaves_its_predecessors_younger_copy() {
    let folder = Folder::new();
    let (predecessor, leader) = (folder.worker(), folder.worker());
    let (old, new) = (fetched("old", "\"1\"", 90), fetched("new", "\"2\"", 0));
    assert!(predecessor.leads().await);
    predecessor.publishes(&new).await;
    drop(predecessor);
    assert!(leader.leads().await);
    leader
        .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&old)))
        .await;
    assert!(leader.reads().await.unwrap().same_content(&new));
    leader
        .fetches_without_update(FetchOutcome::unchanged(&old))
        .await;
    assert!(
        leader.reads().await.unwrap().same_content(&old),
        "the API rolled back"
    );
}

#[tokio::test]
async fn b1_04_a_cold_leader_gets_the_stored_copy() {
    let folder = Folder::new();
    let first = folder.worker();
    assert!(first.leads().await);
    assert!(
        first
            .provider
            .peek_flag_definitions()
            .await
            .unwrap()
            .is_none()
    );
    first.publishes(&fetched("beta", "W/\"1\"", 0)).await;
    drop(first);
    let restarted = folder.worker();
    assert!(restarted.leads().await);
    assert_eq!(
        restarted
            .provider
            .peek_flag_definitions()
            .await
            .unwrap()
            .unwrap()
            .etag(),
        Some("W/\"1\"")
    );
}

#[tokio::test]
async fn changes_are_seen_without_the_systems_notifications() {
    let folder = Folder::fast();
    let leader = folder.worker();
    let polling = FileStore::builder(folder.dir.path(), "shop")
        .watch(false)
        .build()
        .unwrap();
    let follower = Worker::of(&polling);
    assert!(leader.leads().await);
    assert!(follower.reads().await.is_none());
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    let published = Instant::now();
    follower.is_notified().await;
    assert!(published.elapsed() < Duration::from_millis(300));
}

/// The median time from a publish to its notification.
async fn median_notification(leader: &Worker, follower: &Worker) -> Duration {
    let mut waits = Vec::new();
    for version in 0..21 {
        follower.reads().await;
        // At any phase of the rounds in which a store looks by itself.
        sleep(Duration::from_millis(7 * version)).await;
        leader
            .publishes(&fetched(&format!("v{version}"), "\"1\"", 0))
            .await;
        let published = Instant::now();
        follower.is_notified().await;
        waits.push(published.elapsed());
    }
    waits.sort();
    waits[10]
}

#[tokio::test]
async fn the_systems_notifications_are_faster_than_polling() {
    let folder = Folder::fast();
    let (leader, follower) = (folder.worker(), folder.worker());
    assert!(leader.leads().await);
    let median = median_notification(&leader, &follower).await;
    assert!(median < Duration::from_millis(20), "{median:?}");
}

#[tokio::test]
#[cfg_attr(windows, ignore = "Windows moves no folder in which a file is open")]
async fn the_systems_notifications_come_again_after_the_folder_was_lost() {
    let folder = Folder::fast();
    let inner = folder.dir.path().join("cache");
    let open = || Worker::of(&FileStore::builder(&inner, "shop").build().unwrap());
    let (leader, follower) = (open(), open());
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    follower.reads().await.unwrap();
    // Until the folder that the leader has just made is watched.
    sleep(A_WHILE).await;
    fs::rename(&inner, folder.dir.path().join("gone")).unwrap();
    follower.is_notified().await;
    assert!(leader.leads().await);
    sleep(A_WHILE).await;
    let median = median_notification(&leader, &follower).await;
    assert!(median < Duration::from_millis(20), "{median:?}");
}

#[tokio::test]
async fn several_services_share_a_folder() {
    let folder = Folder::new();
    let workers: Vec<Worker> = ["shop", "shop.eu", "blog"]
        .into_iter()
        .map(|service| {
            Worker::of(
                &FileStore::builder(folder.dir.path(), service)
                    .build()
                    .unwrap(),
            )
        })
        .collect();
    for (worker, key) in workers.iter().zip(["a", "b", "c"]) {
        assert!(worker.leads().await);
        assert!(worker.reads().await.is_none());
        worker.publishes(&fetched(key, "\"1\"", 0)).await;
    }
    for (worker, key) in workers.iter().zip(["a", "b", "c"]) {
        assert!(worker.reads().await.unwrap().flag(key).is_some());
        worker.is_not_notified().await;
    }
    assert_eq!(
        folder.names(),
        [
            "blog.json",
            "blog.lock",
            "shop.eu.json",
            "shop.eu.lock",
            "shop.json",
            "shop.lock"
        ]
    );
}

#[tokio::test]
async fn a_missing_folder_is_empty_to_readers_and_made_by_the_leader_for_its_user_alone() {
    let folder = Folder::new();
    let inner = folder.dir.path().join("var/cache");
    let worker = Worker::of(&FileStore::builder(&inner, "shop").build().unwrap());
    assert!(worker.reads().await.is_none());
    assert!(!inner.exists());
    assert!(worker.leads().await);
    worker.publishes(&fetched("beta", "\"1\"", 0)).await;
    assert!(worker.reads().await.is_some());
    #[cfg(unix)]
    {
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(&inner.join("shop.json")), 0o600);
        assert_eq!(mode(&inner.join("shop.lock")), 0o600);
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "a link needs a privilege on Windows")]
async fn links_are_not_followed() {
    let folder = Folder::new();
    let target = folder.dir.path().join("elsewhere");
    fs::write(&target, "precious").unwrap();
    let worker = folder.worker();

    symlink(&target, folder.lock()).unwrap();
    let error = worker
        .provider
        .should_fetch_flag_definitions()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
    let expected = format!(
        "cannot open the lock file {}: it is a symbolic link",
        folder.lock().display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    fs::remove_file(folder.lock()).unwrap();

    symlink(&target, folder.data()).unwrap();
    let error = worker.provider.get_flag_definitions().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("shop.json: it is a symbolic link"),
        "{error}"
    );
    assert!(worker.leads().await);
    worker.publishes(&fetched("beta", "\"1\"", 0)).await;
    assert!(
        fs::symlink_metadata(folder.data()).unwrap().is_file(),
        "the link itself is replaced"
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

/// A folder as Kubernetes mounts a ConfigMap: the files are links through `..data`, which is replaced at each change.
#[tokio::test]
#[cfg_attr(windows, ignore = "a link needs a privilege on Windows")]
async fn b9_75_a_kubernetes_volume_is_read_and_its_changes_are_seen() {
    let folder = Folder::new();
    let put = |version: &str, key: &str| {
        let inner = folder.dir.path().join(version);
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("shop.json"), fetched(key, "\"1\"", 0).to_json()).unwrap();
        symlink(version, folder.dir.path().join("..data_tmp")).unwrap();
        fs::rename(
            folder.dir.path().join("..data_tmp"),
            folder.dir.path().join("..data"),
        )
        .unwrap();
    };
    put("..2026_01", "beta");
    symlink("..data/shop.json", folder.data()).unwrap();
    let reader = folder.worker();
    assert!(reader.reads().await.unwrap().flag("beta").is_some());
    put("..2026_02", "gamma");
    reader.is_notified().await;
    assert!(reader.reads().await.unwrap().flag("gamma").is_some());

    // Such a link that leads out of the folder is one like any other.
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("shop.json"), "precious").unwrap();
    fs::remove_file(folder.dir.path().join("..data")).unwrap();
    symlink(outside.path(), folder.dir.path().join("..data")).unwrap();
    let error = reader.provider.get_flag_definitions().await.unwrap_err();
    assert!(
        error.to_string().contains("it is a symbolic link"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_or_a_file_in_the_wrong_place_is_named() {
    let folder = Folder::new();
    fs::create_dir(folder.lock()).unwrap();
    fs::create_dir(folder.data()).unwrap();
    let worker = folder.worker();
    let error = worker
        .provider
        .should_fetch_flag_definitions()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("shop.lock: it is a folder; remove it"),
        "{error}"
    );
    let error = worker
        .provider
        .get_flag_definitions()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("shop.json is not a regular file; remove it")
            || cfg!(windows) && error.ends_with("shop.json: it is a folder; remove it"),
        "{error}"
    );

    fs::write(folder.dir.path().join("file"), "").unwrap();
    let worker = Worker::of(
        &FileStore::builder(folder.dir.path().join("file"), "shop")
            .build()
            .unwrap(),
    );
    for error in [
        worker
            .provider
            .should_fetch_flag_definitions()
            .await
            .unwrap_err(),
        worker.provider.get_flag_definitions().await.unwrap_err(),
    ] {
        assert!(
            error
                .to_string()
                .ends_with("a part of the path is a file; name a folder"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_new_leader_removes_temporary_files_of_killed_writers() {
    let folder = Folder::new();
    let in_folder = |name: &str| folder.dir.path().join(name);
    fs::write(in_folder(".shop.aB3xYz.tmp"), "half a cop").unwrap();
    fs::write(in_folder(".shop.Empty1.tmp"), "").unwrap();
    fs::write(in_folder(".shop.Empty2.tmp"), "").unwrap();
    age(&in_folder(".shop.Empty2.tmp"), Duration::from_secs(120));
    fs::write(in_folder(".shop.eu.aB3xYz.tmp"), "of another service").unwrap();
    fs::write(in_folder(".shop.Living.tmp"), "still being written").unwrap();
    let writer = File::open(in_folder(".shop.Living.tmp")).unwrap();
    writer.lock().unwrap();

    let leader = folder.worker();
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 0)).await;
    let expected = [
        ".shop.Empty1.tmp",
        ".shop.Living.tmp",
        ".shop.eu.aB3xYz.tmp",
        "shop.json",
        "shop.lock",
    ];
    assert_eq!(folder.names(), expected);
}

#[test]
fn a_service_name_that_is_no_part_of_a_file_name_is_refused() {
    let error = FileStore::builder("/nowhere", "../etc/passwd")
        .build()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the service name \"../etc/passwd\" starts with a dot; use 1 to 128"),
        "{error}"
    );
}

#[test]
fn b5_49_dropping_the_leader_outside_a_runtime_hands_over() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (leader, follower) = (folder.worker(), folder.worker());
    assert!(runtime.block_on(leader.leads()));
    drop(leader);
    runtime.block_on(follower.comes_to_lead());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_watcher_serves_the_whole_process() {
    let watchers = || {
        let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
        files
            .filter(|file| {
                fs::read_link(file.path()).is_ok_and(|to| to.ends_with("anon_inode:inotify"))
            })
            .count()
    };
    let folders: Vec<Folder> = (0..5).map(|_| Folder::new()).collect();
    let workers: Vec<Worker> = folders.iter().map(Folder::worker).collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        sleep(A_WHILE).await;
        // Another test may just have dropped the last user of an earlier watcher.
        if watchers() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{} watchers", watchers());
    }
    drop(workers);
}

#[tokio::test]
async fn b8_61_only_the_leader_stores_a_failure_with_its_age_until_the_first_success() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await && !follower.leads().await);
    leader.publishes(&data).await;
    follower
        .fetches_without_update(failed(Some(&data), connect()))
        .await;
    assert!(!folder.failure().exists(), "it is the leader's to write");

    for ends_by_a_publish in [false, true] {
        leader
            .fetches_without_update(failed(Some(&data), connect()))
            .await;
        let reported = follower.failure().await.unwrap();
        assert_eq!(reported, connect().with_age(reported.age()));
        assert!(reported.age() < DEADLINE);
        #[cfg(unix)]
        assert_eq!(mode(&folder.failure()), 0o600);
        age(&folder.failure(), Duration::from_secs(100));
        assert!(follower.failure().await.unwrap().age() >= Duration::from_secs(100));
        leader
            .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Connect, Some(&data)))
            .await;
        assert!(folder.failure().exists(), "no request was sent");
        assert!(leader.leads().await);
        if ends_by_a_publish {
            leader.publishes(&fetched("beta", "\"2\"", 0)).await;
        } else {
            leader
                .fetches_without_update(FetchOutcome::unchanged(&data))
                .await;
        }
        assert_eq!(follower.failure().await, None);
        assert_eq!(folder.names(), ["shop.json", "shop.lock"]);
    }
}

#[tokio::test]
async fn b8_61_a_refused_key_does_not_lead_in_the_window_and_another_does() {
    let folder = Folder::new();
    let [first, second] = [(); 2].map(|()| folder.worker_with("phs_old"));
    assert!(first.leads().await && !second.leads().await);
    first
        .fetches_without_update(failed(None, refusal("phs_old", INTERVAL)))
        .await;
    // A store's thread takes no lead for them either.
    second.is_not_notified().await;
    for worker in [&first, &second, &folder.worker_with("phs_old")] {
        assert!(!worker.leads().await);
        assert_eq!(
            worker.failure().await.map(|failure| failure.kind()),
            Some(FetchErrorKind::Unauthorized)
        );
    }
    assert!(
        !fs::read_to_string(folder.failure())
            .unwrap()
            .contains("phs")
    );
    let renewed = folder.worker_with("phs_new");
    assert!(renewed.leads().await, "a rotation heals at once");
    drop(renewed);
    assert!(!second.leads().await);
    set_key(&second.poller, "phs_new");
    second.comes_to_lead().await;
}

#[tokio::test]
async fn b8_61_a_failure_left_by_a_dead_fleet_is_harmless() {
    let folder = Folder::new();
    let last = folder.worker_with("phs_old");
    assert!(last.leads().await);
    last.fetches_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await;
    drop(last);
    let next = folder.worker_with("phs_old");
    assert!(!next.leads().await);
    age(&folder.failure(), WINDOW);
    next.comes_to_lead().await;
    next.publishes(&fetched("beta", "\"1\"", 0)).await;
    assert!(!folder.failure().exists());
}

#[tokio::test]
async fn b8_61_a_clock_set_back_does_not_extend_the_failure_window() {
    let folder = Folder::new();
    let leader = folder.worker_with("phs_old");
    assert!(leader.leads().await);
    leader
        .fetches_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await;
    let ahead = SystemTime::now() + Duration::from_secs(86_400);
    File::options()
        .write(true)
        .open(folder.failure())
        .unwrap()
        .set_modified(ahead)
        .unwrap();
    let next = folder.worker_with("phs_old");
    next.comes_to_lead().await;
}

#[tokio::test]
async fn b8_61_a_malformed_failure_record_is_ignored_and_replaced() {
    for garbage in [
        "",
        "unauthorized",
        "unauthorized 3",
        "unauthorized x 1 *",
        "refused 3 30000 *",
        "\0\u{7f}",
    ] {
        let folder = Folder::new();
        let (leader, follower) = (folder.worker_with("phs_old"), folder.worker());
        fs::write(folder.failure(), garbage).unwrap();
        assert!(leader.leads().await, "{garbage:?}");
        assert_eq!(follower.failure().await, None, "{garbage:?}");
        leader.fetches_without_update(failed(None, connect())).await;
        assert!(follower.failure().await.is_some(), "{garbage:?}");
    }
    // However long it says that it lasts, it ends.
    let folder = Folder::new();
    fs::write(folder.failure(), format!("unauthorized 3 {} *", u64::MAX)).unwrap();
    let worker = folder.worker_with("phs_old");
    assert!(!worker.leads().await);
    age(&folder.failure(), Duration::from_secs(2 * 60 * 60));
    worker.comes_to_lead().await;

    // Neither a large file, nor a folder, nor a link is read.
    let folder = Folder::new();
    fs::write(
        folder.failure(),
        "unauthorized 3 30000 *".to_owned() + &" ".repeat(10_000_000),
    )
    .unwrap();
    assert!(
        folder.worker_with("phs_old").failure().await.is_some(),
        "what stands first counts"
    );
    fs::remove_file(folder.failure()).unwrap();
    if cfg!(windows) {
        // A link needs a privilege there.
        return;
    }
    let elsewhere = folder.dir.path().join("elsewhere");
    fs::write(&elsewhere, "unauthorized 3 30000 *").unwrap();
    symlink(&elsewhere, folder.failure()).unwrap();
    let worker = folder.worker_with("phs_old");
    assert!(worker.leads().await);
    worker.fetches_without_update(failed(None, connect())).await;
    assert_eq!(
        fs::read_to_string(&elsewhere).unwrap(),
        "unauthorized 3 30000 *",
        "the link is replaced, not followed"
    );
    fs::remove_file(folder.failure()).unwrap();
    fs::create_dir(folder.failure()).unwrap();
    assert!(worker.leads().await);
    assert_eq!(worker.failure().await, None);
}

/// Two versions of large definitions.
fn large() -> [FlagDefinitionCacheData; 2] {
    let version = |n: u32| {
        let flag = |key: u32| {
            let value = if key == 500 { n } else { 0 };
            format!(
                r#"{{"key":"flag-{key}","filters":{{"groups":[{{"rollout_percentage":{value}}}]}}}}"#
            )
        };
        let flags: Vec<_> = (0..2_000).map(flag).collect();
        let body = format!(r#"{{"flags":[{}]}}"#, flags.join(","));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + u64::from(n));
        FlagDefinitionCacheData::from_api_response(body, Some("etag"), at, None).unwrap()
    };
    [version(1), version(2)]
}

async fn lead_with(leader: &Worker, data: &FlagDefinitionCacheData) {
    assert!(leader.leads().await);
    leader.publishes(data).await;
}

async fn follow(follower: &Worker) -> Option<FlagDefinitionCacheData> {
    assert!(!follower.leads().await);
    follower.reads().await
}

#[tokio::test]
async fn b12_83_a_change_of_a_file_is_read_from_the_patch_beside_it() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    let [old, new] = large();
    lead_with(&leader, &old).await;
    assert_eq!(follow(&follower).await, Some(old));
    lead_with(&leader, &new).await;
    // What is behind the head is not needed.
    let mut file = File::options().write(true).open(folder.data()).unwrap();
    file.seek(SeekFrom::Start(50_000)).unwrap();
    file.write_all(b"#").unwrap();
    assert_eq!(follow(&follower).await, Some(new));
    #[cfg(unix)]
    assert_eq!(mode(&folder.patch()), 0o600);
}

#[tokio::test]
async fn b12_83_without_the_right_patch_a_changed_file_is_read_whole() {
    let folder = Folder::new();
    let (leader, follower) = (folder.worker(), folder.worker());
    let sets = large();
    lead_with(&leader, &sets[0]).await;
    assert_eq!(follow(&follower).await, Some(sets[0].clone()));
    lead_with(&leader, &sets[1]).await;
    let of_another_change = fs::read(folder.patch()).unwrap();
    assert_eq!(follow(&follower).await, Some(sets[1].clone()));
    let damages: [&dyn Fn(); 4] = [
        &|| fs::remove_file(folder.patch()).unwrap(),
        &|| fs::write(folder.patch(), "fcp1 and no patch").unwrap(),
        &|| fs::write(folder.patch(), &of_another_change).unwrap(),
        &|| {
            fs::remove_file(folder.patch()).unwrap();
            fs::create_dir(folder.patch()).unwrap();
        },
    ];
    for (n, damage) in damages.iter().enumerate() {
        lead_with(&leader, &sets[n % 2]).await;
        damage();
        assert_eq!(follow(&follower).await, Some(sets[n % 2].clone()), "{n}");
    }
    // The folder in its place cannot be replaced.
    lead_with(&leader, &sets[0]).await;
    assert_eq!(follow(&follower).await, Some(sets[0].clone()));
}

//! Which workers are notified.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome};
use tokio::time::Instant;

use super::TestStore;
use super::damage::damage;
use super::sample::numbered;
use super::worker::{POLL_INTERVAL, Worker};

/// A publish notifies the other workers in time.
pub async fn publish_is_notified(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    leader.loads(&numbered(1_000)).await;
    let limit = store.notification_time();
    assert!(
        follower.is_notified_within(limit).await,
        "no notification of a publish within {limit:?}"
    );
    follower
        .assert_reads(&numbered(1_000), "after the notification of a publish")
        .await;
}

/// A publish notifies the other workers, not its writer: a notification of its own write only costs it a load.
pub async fn writer_is_not_notified_of_its_own_write(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    leader
        .is_quiet_for(POLL_INTERVAL, store.notification_time())
        .await;
    leader.loads(&numbered(1_000)).await;
    let limit = store.notification_time();
    assert!(
        !leader.is_notified_within(limit).await,
        "a worker was notified of its own publish: leave out the sender"
    );
}

/// B8 63: a copy that is put back notifies the other workers in time, as a publish does.
pub async fn restored_copy_is_notified(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    let data = numbered(1_000);
    leader.loads(&data).await;
    damage(store, None, &data).await;
    // A store may notify the workers of the loss itself.
    follower
        .is_quiet_for(store.notification_time(), store.notification_time() * 5)
        .await;
    // By whichever of the two the store puts it back; that each does is another rule.
    for outcome in [
        FetchOutcome::unchanged(&data),
        FetchOutcome::failed(FetchErrorKind::Server, Some(&data)),
    ] {
        leader.leads().await;
        leader.ends_without_update(outcome).await;
    }
    let limit = store.notification_time();
    assert!(
        follower.is_notified_within(limit).await,
        "no notification of a copy that was put back within {limit:?}"
    );
    follower
        .assert_reads(&data, "lost, put back, and notified")
        .await;
}

/// The release of the leadership notifies the other workers in time.
pub async fn release_is_notified(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    leader.shuts_down().await;
    let limit = store.notification_time();
    assert!(
        follower.is_notified_within(limit).await,
        "no notification within {limit:?} that the leadership became free"
    );
}

/// A leader that asks again, and renews its lease, changes nothing that others should load: it notifies no other worker.
pub async fn renewal_is_not_notified(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let is_quiet = listen(store, &leader, &follower).await;
    let limit = store.notification_time();
    assert!(
        is_quiet,
        "a follower was notified again and again while the leader only asked again: there were never {limit:?} without \
         a notification; notify of changes of the copy and of the leader alone"
    );
}

/// Publishes until the follower is notified, since a subscription takes its time, and then waits until no more notifications
/// come, which it returns. Never fails: the test is what follows.
pub(super) async fn listen(store: &dyn TestStore, leader: &Worker, follower: &Worker) -> bool {
    /// How often the leader asks again at most. A round without a notification takes half a poll interval.
    const ROUNDS: u32 = 400;
    leader.loads(&numbered(0)).await;
    follower.follows().await;
    for number in 1..=20 {
        leader.loads(&numbered(number)).await;
        if follower
            .is_notified_within(Duration::from_millis(100))
            .await
        {
            break;
        }
    }
    let mut quiet_since = Instant::now();
    for _ in 0..ROUNDS {
        if quiet_since.elapsed() >= store.notification_time() {
            return true;
        }
        // As pollers do at their ticks: a leader that stops asking loses the lead, and a follower that does not read may not be
        // notified again.
        leader.leads().await;
        follower.follows().await;
        if follower.is_notified_within(POLL_INTERVAL / 2).await {
            quiet_since = Instant::now();
        }
    }
    false
}

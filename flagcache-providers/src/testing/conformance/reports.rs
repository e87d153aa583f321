//! What the fleet knows.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome};
use tokio::time::{Instant, sleep};

use super::TestStore;
use super::sample::numbered;
use super::worker::{POLL_INTERVAL, Worker, lease_and_slack};

/// B8 62: every worker is told how long ago a leader last heard that the copy is current.
pub async fn confirmation_age_is_told(store: &dyn TestStore) {
    // More than a second, for stores that count in seconds.
    const WAIT: Duration = Duration::from_millis(1_300);
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    sleep(WAIT).await;
    leader.leads().await;
    let before = follower.hears().await.confirmed_ago;
    assert!(
        before.is_some_and(|ago| ago >= WAIT / 4),
        "confirmed {WAIT:?} ago, told {}",
        ago(before)
    );
    leader.tells(FetchOutcome::unchanged(&data)).await;
    let after = follower.hears().await.confirmed_ago;
    assert!(
        after.is_some() && after < before,
        "confirmed just now, told {} (before: {})",
        ago(after),
        ago(before)
    );
}

/// B8 62: what a worker that does not lead publishes into a store with a copy, or says of it, confirms nothing.
pub async fn follower_confirms_nothing(store: &dyn TestStore) {
    const WAIT: Duration = Duration::from_millis(1_300);
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    let begin = Instant::now();
    while begin.elapsed() < WAIT {
        sleep(POLL_INTERVAL).await;
        leader.leads().await;
    }
    let before = follower.hears().await.confirmed_ago;
    let _ = follower.tries_to_publish(&data).await;
    let _ = follower.tries_to_tell(FetchOutcome::unchanged(&data)).await;
    let after = follower.hears().await.confirmed_ago;
    assert!(
        before.is_some() && after >= before,
        "the leader confirmed the copy {} ago; after a follower did, it is {} ago: only a leader confirms",
        ago(before),
        ago(after)
    );
}

/// B8 60: a follower is told when the leader's lease ends.
pub async fn lease_end_is_told(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
    );
    let told = follower.hears().await.lease_ends_in;
    let limit = lease_and_slack(store);
    assert!(
        told.is_some_and(|ends_in| ends_in <= limit),
        "the lease ends within {limit:?}, told {}",
        ago(told)
    );
}

/// B2 29: a quota that is used up is told to every worker, until the next success.
pub async fn used_up_quota_is_told(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    assert!(
        !follower.hears().await.quota_limited,
        "a quota that is not used up was told as used up"
    );
    leader.leads().await;
    leader
        .tells(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    assert!(
        follower.hears().await.quota_limited,
        "a follower was not told that the quota is used up"
    );
    leader.leads().await;
    leader.tells(FetchOutcome::unchanged(&data)).await;
    assert!(
        !follower.hears().await.quota_limited,
        "a follower was not told that the quota is there again"
    );
}

fn ago(time: Option<Duration>) -> String {
    time.map_or_else(|| "nothing".to_owned(), |time| format!("{time:?}"))
}

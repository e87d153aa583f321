//! What the fleet knows.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome};
use tokio::time::{Instant, sleep};

use super::TestStore;
use super::sample::numbered;
use super::worker::{POLL_INTERVAL, Worker, lease_and_slack};

/// B8 62: every worker gets a report of how long ago the API last confirmed the copy to a leader.
pub async fn confirmation_age_is_reported(store: &dyn TestStore) {
    // More than a second, for stores that count in seconds.
    const WAIT: Duration = Duration::from_millis(1_300);
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    sleep(WAIT).await;
    leader.leads().await;
    let before = follower.status().await.confirmed_ago;
    assert!(
        before.is_some_and(|ago| ago >= WAIT / 4),
        "confirmed {WAIT:?} ago, reported {}",
        ago(before)
    );
    leader
        .ends_without_update(FetchOutcome::unchanged(&data))
        .await;
    let after = follower.status().await.confirmed_ago;
    assert!(
        after.is_some() && after < before,
        "confirmed just now, reported {} (before: {})",
        ago(after),
        ago(before)
    );
}

/// B8 62: a worker that does not lead confirms nothing, whether it publishes into a store with a copy or calls
/// `on_fetch_without_update`.
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
    let before = follower.status().await.confirmed_ago;
    let _ = follower.tries_to_publish(&data).await;
    let _ = follower
        .tries_to_end_without_update(FetchOutcome::unchanged(&data))
        .await;
    let after = follower.status().await.confirmed_ago;
    assert!(
        before.is_some() && after >= before,
        "the leader confirmed the copy {} ago; after a follower did, it is {} ago: only a leader confirms",
        ago(before),
        ago(after)
    );
}

/// B8 60: a follower gets a report of when the leader's lease ends.
pub async fn lease_end_is_reported(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
    );
    let reported = follower.status().await.lease_ends_in;
    let limit = lease_and_slack(store);
    assert!(
        reported.is_some_and(|ends_in| ends_in <= limit),
        "the lease ends within {limit:?}, reported {}",
        ago(reported)
    );
}

/// B2 29: a used-up quota is reported to every worker, until the next success.
pub async fn used_up_quota_is_reported(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    assert!(
        !follower.status().await.quota_limited,
        "a used-up quota is reported, and no leader has seen one"
    );
    leader.leads().await;
    leader
        .ends_without_update(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    assert!(
        follower.status().await.quota_limited,
        "the used-up quota is not reported to a follower"
    );
    leader.leads().await;
    leader
        .ends_without_update(FetchOutcome::unchanged(&data))
        .await;
    assert!(
        !follower.status().await.quota_limited,
        "the quota is still reported as used up after a success"
    );
}

fn ago(time: Option<Duration>) -> String {
    time.map_or_else(|| "nothing".to_owned(), |time| format!("{time:?}"))
}

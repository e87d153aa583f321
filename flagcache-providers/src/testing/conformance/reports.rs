//! What the fleet knows.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome, FleetFailure, KeyFingerprint};
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

/// B8 61: a leader's failed request is reported to every worker with its age, until a leader has an answer again. Only a leader
/// writes it.
pub async fn failure_is_reported(store: &dyn TestStore) {
    // More than a second, for stores that count in seconds.
    const WAIT: Duration = Duration::from_millis(1_300);
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    let nothing = follower.status().await.fleet_failure;
    assert!(
        nothing.is_none(),
        "a failure is reported, and no request has failed: {nothing:?}"
    );
    let failure = failure("connect 3 60000 -");
    let failed = || {
        FetchOutcome::failed(FetchErrorKind::Connect, Some(&data)).with_fleet_failure(Some(failure))
    };
    let _ = follower.tries_to_end_without_update(failed()).await;
    let of_follower = follower.status().await.fleet_failure;
    assert!(
        of_follower.is_none(),
        "a worker that does not lead wrote a failure for the fleet: {of_follower:?}"
    );

    leader.leads().await;
    leader.ends_without_update(failed()).await;
    let reported = follower.status().await.fleet_failure;
    let same = |reported: FleetFailure| reported.with_age(Duration::ZERO) == failure;
    assert!(
        reported.is_some_and(same),
        "a request of the leader failed ({failure:?}), and a follower gets the report {reported:?}"
    );
    sleep(WAIT).await;
    leader.leads().await;
    let later = follower.status().await.fleet_failure;
    assert!(
        later.is_some_and(|later| same(later) && later.age() >= WAIT / 4),
        "a request of the leader failed {WAIT:?} ago, and a follower gets the report {later:?}: give it its age"
    );

    leader.leads().await;
    leader
        .ends_without_update(FetchOutcome::unchanged(&data))
        .await;
    let over = follower.status().await.fleet_failure;
    assert!(
        over.is_none(),
        "the API has answered since, and a follower gets the report {over:?}"
    );
}

/// B8 61: a key that the API refused to a leader makes no worker with that key the leader, for as long as the record of it
/// says; a worker with another key leads at once.
pub async fn refused_key_does_not_lead(store: &dyn TestStore) {
    let (refused, other) = (key("phs_refused"), key("phs_other"));
    let (leader, same_key, other_key) = (
        Worker::join(store).with_key(refused),
        Worker::join(store).with_key(refused),
        Worker::join(store).with_key(other),
    );
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    let window = Duration::from_secs(60);
    let refusal = failure(&format!("unauthorized 1 {} {refused}", window.as_millis()));
    let outcome = FetchOutcome::failed(FetchErrorKind::Unauthorized, None)
        .with_step_down_for(Some(window))
        .with_fleet_failure(Some(refusal));
    leader.ends_without_update(outcome).await;
    // The lease of the leader that stepped down may have to end first.
    let limit = lease_and_slack(store);
    assert!(
        same_key.leads_within(limit).await.is_none(),
        "a worker leads with a key that the API has just refused: ask `FleetFailure::bars` before"
    );
    assert!(
        other_key.leads_within(limit).await.is_some(),
        "a key was refused, and a worker with another one does not lead within {limit:?}"
    );
}

fn key(secret: &str) -> KeyFingerprint {
    KeyFingerprint::of("phc_sample", secret)
}

#[expect(clippy::expect_used, reason = "the samples are fixed")]
fn failure(text: &str) -> FleetFailure {
    text.parse().expect("the text of a failure")
}

fn ago(time: Option<Duration>) -> String {
    time.map_or_else(|| "nothing".to_owned(), |time| format!("{time:?}"))
}

//! Who leads.

use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::TestStore;
use super::worker::{Worker, at_once, lease_and_slack};

/// B8 58: of many workers that ask at once, one leads.
pub async fn at_most_one_leads(store: &dyn TestStore) {
    let workers: Vec<_> = (0..16).map(|_| Worker::join(store)).collect();
    // So that each has its connection, and the decisions meet.
    join_all(workers.iter().map(Worker::tries_to_read)).await;
    let asked = workers
        .iter()
        .map(|worker| at_once(worker.clone(), |worker| async move { worker.leads().await }));
    let leaders = join_all(asked)
        .await
        .into_iter()
        .filter(|leads| *leads)
        .count();
    assert!(
        leaders == 1,
        "{leaders} of 16 workers that asked at once lead"
    );
}

/// A leader that asks again still leads.
pub async fn leader_stays_leader(store: &dyn TestStore) {
    let leader = Worker::join(store);
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    for _ in 0..5 {
        assert!(
            leader.leads().await,
            "a leader that asked again got `false`"
        );
    }
}

/// B8 59: a leader that keeps asking still leads after its first lease would have ended.
pub async fn asking_renews_the_lease(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    let begin = Instant::now();
    while begin.elapsed() < store.lease_time() * 2 {
        sleep(store.lease_time() / 6).await;
        // The follower first: a leader that asks would take the lead again and hide that it was lost.
        assert!(
            !follower.leads().await,
            "a follower took the lead of a leader that kept asking"
        );
        assert!(
            leader.leads().await,
            "a leader that kept asking got `false`"
        );
    }
}

/// B8 60: a leader that stops asking is replaced when its lease ends.
pub async fn silent_leader_is_replaced(store: &dyn TestStore) {
    let (silent, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        silent.leads().await,
        "no other worker asked, so the first one leads"
    );
    let limit = lease_and_slack(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "a leader that stopped asking was not replaced within {limit:?}"
    );
}

/// B5 49: a leader that is dropped without a shutdown is replaced.
pub async fn dropped_leader_is_replaced(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    drop(leader);
    let limit = lease_and_slack(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "a leader dropped without a shutdown was not replaced within {limit:?}"
    );
}

/// B8 60: a leader that shuts down frees the lead at once, not only when its lease ends.
pub async fn shutdown_frees_the_lead(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    leader.shuts_down().await;
    let limit = promptly(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "a leader that shut down was not replaced within {limit:?}"
    );
}

/// A worker that does not lead does not free the leadership when it shuts down or is dropped.
pub async fn follower_shutdown_frees_nothing(store: &dyn TestStore) {
    let leader = Worker::join(store);
    let (follower, dropped, other) = (
        Worker::join(store),
        Worker::join(store),
        Worker::join(store),
    );
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    for worker in [&follower, &dropped] {
        assert!(!worker.leads().await, "there is a leader already");
    }
    follower.shuts_down().await;
    assert!(
        !other.leads().await,
        "a follower's shutdown freed the lead of another worker"
    );
    drop((follower, dropped));
    assert!(
        !other.leads().await,
        "dropping a follower freed the lead of another worker"
    );
}

/// B8 61: a leader whose outcome asks it to step down frees the leadership at once.
pub async fn leader_steps_down_on_request(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    leader
        .ends_without_update(unauthorized(store.lease_time() * 20))
        .await;
    let limit = promptly(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "a leader was asked to step down, and the leadership was not free within {limit:?}"
    );
}

/// B8 61: a worker that stepped down does not lead for as long as the outcome said, even if no other worker asks; after that
/// it can lead again.
pub async fn stepped_down_worker_does_not_lead(store: &dyn TestStore) {
    let leader = Worker::join(store);
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    let out = store.lease_time() * 2;
    let begin = Instant::now();
    leader.ends_without_update(unauthorized(out)).await;
    loop {
        let leads = leader.leads().await;
        // What was answered after the time was up proves nothing.
        if begin.elapsed() >= out {
            break;
        }
        assert!(
            !leads,
            "a worker that stepped down for {out:?} led again after {:?}",
            begin.elapsed()
        );
        sleep(out / 20).await;
    }
    let taken = leader.leads_within(lease_and_slack(store)).await;
    assert!(
        taken.is_some(),
        "a worker that stepped down does not lead when the time is over"
    );
}

fn unauthorized(step_down_until: Duration) -> FetchOutcome {
    FetchOutcome::failed(FetchErrorKind::Unauthorized, None)
        .with_step_down_for(Some(step_down_until))
}

/// Sooner than a lease can end by itself.
fn promptly(store: &dyn TestStore) -> Duration {
    store.lease_time() * 3 / 4
}

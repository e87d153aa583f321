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
        "{leaders} of 16 workers that asked at once were told to lead"
    );
}

/// A leader that asks again leads on.
pub async fn leader_stays_leader(store: &dyn TestStore) {
    let leader = Worker::join(store);
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
    );
    for _ in 0..5 {
        assert!(
            leader.leads().await,
            "a leader that asked again was told `false`"
        );
    }
}

/// B8 59: a leader that keeps asking leads on past its first lease.
pub async fn asking_renews_the_lease(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
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
            "a leader that kept asking was told `false`"
        );
    }
}

/// B8 60: a leader that stops asking is replaced when its lease ends.
pub async fn silent_leader_is_replaced(store: &dyn TestStore) {
    let (silent, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        silent.leads().await,
        "nobody else asked, so the first worker leads"
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
        "nobody else asked, so the first worker leads"
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
        "nobody else asked, so the first worker leads"
    );
    leader.shuts_down().await;
    let limit = promptly(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "a leader that shut down was not replaced within {limit:?}"
    );
}

/// A worker that does not lead frees nothing when it shuts down or is dropped.
pub async fn follower_shutdown_frees_nothing(store: &dyn TestStore) {
    let leader = Worker::join(store);
    let (follower, dropped, other) = (
        Worker::join(store),
        Worker::join(store),
        Worker::join(store),
    );
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
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

/// B8 61: a leader that is told to step down frees it at once.
pub async fn leader_steps_down_when_told(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
    );
    leader.tells(unauthorized(store.lease_time() * 20)).await;
    let limit = promptly(store);
    let taken = follower.leads_within(limit).await;
    assert!(
        taken.is_some(),
        "the lead that was given up was not free within {limit:?}"
    );
}

/// B8 61: who gave up the lead stays out for as long as it was told, though nobody else asks, and can lead again then.
pub async fn who_stepped_down_stays_out(store: &dyn TestStore) {
    let leader = Worker::join(store);
    assert!(
        leader.leads().await,
        "nobody else asked, so the first worker leads"
    );
    let out = store.lease_time() * 2;
    let begin = Instant::now();
    leader.tells(unauthorized(out)).await;
    loop {
        let leads = leader.leads().await;
        // What was answered after the time was up proves nothing.
        if begin.elapsed() >= out {
            break;
        }
        assert!(
            !leads,
            "told to stay out for {out:?}, a worker led again after {:?}",
            begin.elapsed()
        );
        sleep(out / 20).await;
    }
    let taken = leader.leads_within(lease_and_slack(store)).await;
    assert!(
        taken.is_some(),
        "a worker that stayed out for as long as it was told never leads again"
    );
}

fn unauthorized(step_down_until: Duration) -> FetchOutcome<'static> {
    FetchOutcome::failed(FetchErrorKind::Unauthorized, None)
        .with_step_down_for(Some(step_down_until))
}

/// Sooner than a lease can end by itself.
fn promptly(store: &dyn TestStore) -> Duration {
    store.lease_time() * 3 / 4
}

//! Who may write what.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData};
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::TestStore;
use super::difference::answer;
use super::sample::{large, numbered};
use super::stepwise::Stepwise;
use super::worker::{Worker, at_once, lease_and_slack};

/// A leader's second publish takes the place of its first.
pub async fn publish_replaces_the_copy(store: &dyn TestStore) {
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    for number in 1..=3 {
        writer.loads(&numbered(number)).await;
        reader
            .assert_reads(&numbered(number), "after a publish")
            .await;
    }
}

/// B2 27, 29: neither a confirmation nor a failure of any kind, a used-up quota among them, harms a sound copy.
pub async fn load_without_update_leaves_the_copy(store: &dyn TestStore) {
    use FetchErrorKind::{
        Connect, QuotaLimited, RateLimited, Rejected, Server, Timeout, Unauthorized, Unusable,
    };
    let (writer, reader) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    writer.loads(&data).await;
    writer.leads().await;
    writer
        .ends_without_update(FetchOutcome::unchanged(&data))
        .await;
    reader.assert_reads(&data, "after a confirmation").await;
    for failure in [
        Unauthorized,
        QuotaLimited,
        RateLimited,
        Server,
        Connect,
        Timeout,
        Unusable,
        Rejected,
    ] {
        for served in [Some(&data), None] {
            writer.leads().await;
            writer
                .ends_without_update(FetchOutcome::failed(failure, served))
                .await;
            reader.assert_reads(&data, failure.as_str()).await;
        }
    }
}

/// B8 63: a worker whose request failed may not have read yet what the last leader stored, and must not replace it by what it
/// serves itself.
pub async fn failed_load_leaves_a_newer_copy(store: &dyn TestStore) {
    let (last, next, reader) = (
        Worker::join(store),
        Worker::join(store),
        Worker::join(store),
    );
    last.loads(&numbered(2)).await;
    last.shuts_down().await;
    let limit = lease_and_slack(store);
    assert!(
        next.leads_within(limit).await.is_some(),
        "a leader that shut down was not replaced within {limit:?}"
    );
    if reader.reads().await.is_none() {
        // That the copy outlives its writer is another rule.
        return;
    }
    next.ends_without_update(FetchOutcome::failed(
        FetchErrorKind::Server,
        Some(&numbered(1)),
    ))
    .await;
    reader
        .assert_reads(
            &numbered(2),
            "after a failed load of a leader that serves an older set",
        )
        .await;
}

/// B8 67: while two workers publish at once, a reader sees whole sets, never a mix, a half or an error.
pub async fn concurrent_publishes_leave_a_whole_copy(store: &dyn TestStore) {
    const ROUNDS: u64 = 12;
    let writers = [Worker::join(store), Worker::join(store)];
    let reader = Worker::join(store);
    // Small and large in turn: a shorter set over a longer one leaves a tail in a store that writes in place.
    let sets: Vec<_> = (0..ROUNDS)
        .map(|number| large(number, if number % 2 == 0 { 32 } else { 1 }))
        .collect();
    let known = |copy: &FlagDefinitionCacheData| sets.iter().any(|set| set.same_content(copy));
    writers[0].loads(&sets[0]).await;

    let done = AtomicBool::new(false);
    let publishing = join_all(writers.iter().map(async |writer| {
        for set in &sets {
            writer.leads().await;
            // The store may refuse one of the two.
            let _ = writer.tries_to_publish(set).await;
            tokio::task::yield_now().await;
        }
    }));
    let reading = async {
        for reads in 1_u32.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let copy = reader.reads().await;
            let seen = answer(&Ok(copy.clone()));
            assert!(
                copy.as_ref().is_some_and(known),
                "a reader saw {seen} while two workers published whole sets"
            );
            // Often enough to see every state, and yet a paused clock gets its chance to move.
            match reads % 16 {
                0 => tokio::time::sleep(Duration::from_millis(1)).await,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    // The reader ends its last read: a call that is cut is another rule.
    tokio::join!(
        publishing.map(|_| done.store(true, Ordering::Relaxed)),
        reading
    );
    let copy = reader.reads().await;
    assert!(
        copy.as_ref().is_some_and(known),
        "two workers that published left {}",
        answer(&Ok(copy.clone()))
    );
}

/// B1 7: a worker that does not lead fills an empty store; what is there stays.
pub async fn follower_never_overwrites(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    // A third worker: a store may answer a read from what the decision of the same load has read.
    let reader = Worker::join(store);
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    assert!(!follower.leads().await, "there is a leader already");
    follower.publishes(&numbered(1)).await;
    reader
        .assert_reads(&numbered(1), "after a follower filled the empty store")
        .await;
    let _ = follower.tries_to_publish(&numbered(2)).await;
    reader
        .assert_reads(&numbered(1), "after a follower published over a copy")
        .await;
}

/// B1 7: of workers that fill an empty store at once, one does; from then on the copy stays.
///
/// First many workers publish at once. Then, if the test can take the copy away, one worker is held up in the middle of its
/// publish, at each point at which it waits, while another one publishes: a store that looks first and writes later, in two
/// steps, overwrites what came between the two.
pub async fn concurrent_creates_keep_the_first(store: &dyn TestStore) {
    let (leader, reader) = (Worker::join(store), Worker::join(store));
    assert!(
        leader.leads().await,
        "no other worker asked, so the first one leads"
    );
    let followers: Vec<_> = (0..8).map(|_| Worker::join(store)).collect();
    for follower in &followers {
        assert!(!follower.leads().await, "there is a leader already");
    }
    let published = join_all((0..).zip(&followers).map(|(number, follower)| {
        at_once(follower.clone(), move |follower| async move {
            let _ = follower.tries_to_publish(&numbered(number)).await;
            follower.reads().await
        })
    }));
    for copy in published.await {
        assert_stays(copy, &reader).await;
    }

    // Few waits are usual; more would only make the test long.
    for waits in 1..=32 {
        // Without the capability `damage` this does nothing. What an empty store reads is another rule.
        store.damage(None).await;
        if matches!(reader.tries_to_read().await, Ok(Some(_))) {
            break;
        }
        leader.leads().await;
        for follower in &followers[..2] {
            assert!(!follower.leads().await, "there is a leader already");
        }
        let (late, other) = (&followers[0], &followers[1]);
        let mut publish = Stepwise::new(async {
            let _ = late.tries_to_publish(&numbered(1)).await;
        });
        let has_ended = publish.waits(waits).await;
        let meanwhile = async {
            let _ = other.tries_to_publish(&numbered(2)).await;
            other.reads().await
        };
        let copy = publish.held_up_during(meanwhile).await;
        if copy.is_none() {
            // The store leaves a lost copy to its leader.
            break;
        }
        assert_stays(copy, &reader).await;
        if has_ended {
            break;
        }
    }
}

/// Fails unless `copy`, with which a follower filled an empty store, is still there.
async fn assert_stays(copy: Option<FlagDefinitionCacheData>, reader: &Worker) {
    let last = reader.reads().await;
    let stays = copy.as_ref().zip(last.as_ref());
    assert!(
        stays.is_some_and(|(copy, last)| copy.same_content(last)),
        "a copy that filled an empty store was overwritten: {}, then {}",
        answer(&Ok(copy)),
        answer(&Ok(last))
    );
}

/// B8 65: a leader that was suspended for longer than its lease cannot overwrite what its successor stored, also if it has
/// published before and so knows what it wrote last.
pub async fn late_leader_never_overwrites(store: &dyn TestStore) {
    let (late, successor) = (Worker::join(store), Worker::join(store));
    assert!(
        late.leads().await,
        "no other worker asked, so the first one leads"
    );
    // Twice: a store may write in two places in turn. Each of another length: a store that takes sets of one length for the
    // same breaks another rule.
    late.publishes(&numbered(1)).await;
    late.publishes(&numbered(10)).await;
    // How soon is another rule.
    let limit = lease_and_slack(store) * 8 + Duration::from_secs(2);
    assert!(
        successor.leads_within(limit).await.is_some(),
        "a silent leader was never replaced"
    );
    successor.publishes(&numbered(1_000)).await;
    let _ = late.tries_to_publish(&numbered(100)).await;
    successor
        .assert_reads(
            &numbered(1_000),
            "after a publish of a leader that lost its lead",
        )
        .await;
}

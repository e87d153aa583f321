//! During an outage of the server, and after it.

use std::time::Duration;

use flagcache_core::{FetchOutcome, PollerSchedule};
use tokio::time::{Instant, sleep};

use super::TestStore;
use super::difference::answer;
use super::notifications::listen;
use super::sample::numbered;
use super::stepwise::Stepwise;
use super::worker::{POLL_INTERVAL, Worker};
use crate::testing::Outage;

/// How long a provider may take to connect again after an outage: for its pauses between attempts.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// B1 9, 10: while the server cannot be reached, the calls that need it fail. A decision, a read or a publish that is
/// answered all the same hides the outage from the poller, which handles it by rules of its own.
pub async fn outage_is_an_error(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let data = numbered(1);
    leader.loads(&data).await;
    follower.follows().await;
    let gives_stored = leader.stored().await.is_some();
    cut(store).await;
    // It has not read anything yet, so it makes calls that the others no longer need, such as an unconditional read.
    let newcomer = Worker::join(store);
    for worker in [&leader, &follower, &newcomer] {
        let decision = worker.tries_to_decide().await;
        assert!(
            decision.is_err(),
            "should_fetch_flag_definitions gave {decision:?} while the server was cut off: return the error"
        );
        let copy = worker.tries_to_read().await;
        assert!(
            copy.is_err(),
            "get_flag_definitions gave {} while the server was cut off: return the error",
            answer(&copy)
        );
        let copy = worker.tries_stored().await;
        assert!(
            copy.is_err() || !gives_stored,
            "peek_flag_definitions gave {} while the server was cut off: return the error",
            answer(&copy)
        );
    }
    let published = leader.tries_to_publish(&numbered(2)).await;
    assert!(
        published.is_err(),
        "on_flag_definitions_received gave `Ok` while the server was cut off: return the error"
    );
    store.outage(Outage::Healed).await;
}

/// B8 64: a publish during which the server is cut off is stored, or it is an error. One that swallows the error of its write
/// lets the leader believe that the others have what it serves.
///
/// The publish is held up at each point at which it waits, and the server is cut off there.
pub async fn interrupted_publish_is_stored_or_an_error(store: &dyn TestStore) {
    // Few waits are usual; more would only make the test long.
    const MOST_WAITS: u32 = 16;
    let (leader, reader) = (Worker::join(store), Worker::join(store));
    for waits in 1..=MOST_WAITS {
        // Another length each time: a store that takes sets of one length for the same breaks another rule.
        let data = numbered(10_u64.pow(1 + waits % 16));
        let begin = Instant::now();
        while leader.tries_to_decide().await.is_err() {
            assert!(
                begin.elapsed() < BACK_WITHIN,
                "no decision {BACK_WITHIN:?} after an outage"
            );
            sleep(POLL_INTERVAL).await;
        }
        let mut published = None;
        let mut publish =
            Stepwise::new(async { published = Some(leader.tries_to_publish(&data).await) });
        let has_ended = publish.waits(waits).await;
        publish.held_up_during(cut(store)).await;
        store.outage(Outage::Healed).await;
        if matches!(published, Some(Ok(()))) {
            let begin = Instant::now();
            let copy = loop {
                match reader.tries_to_read().await {
                    Err(_) if begin.elapsed() < BACK_WITHIN => sleep(POLL_INTERVAL).await,
                    copy => break copy,
                }
            };
            assert!(
                matches!(&copy, Ok(Some(copy)) if copy.same_content(&data)),
                "on_flag_definitions_received gave `Ok` though the server was cut off before the copy was stored: return \
                 the error; the store gives {}",
                answer(&copy)
            );
        }
        if has_ended {
            break;
        }
    }
}

/// B8 64: a call to a server that accepts connections and never answers ends within the provider timeout.
pub async fn calls_to_a_hanging_server_are_bounded(store: &dyn TestStore) {
    let (leader, follower, leaving) = (
        Worker::join(store),
        Worker::join(store),
        Worker::join(store),
    );
    let data = numbered(1);
    leader.loads(&data).await;
    follower.follows().await;
    leaving.follows().await;
    begin(store, Outage::Hang).await;
    for worker in [&leader, &follower] {
        // Each fails the test if it takes too long.
        let decision = worker.tries_to_decide().await;
        assert!(
            decision.is_err(),
            "should_fetch_flag_definitions gave {decision:?} while the server hung: return an error"
        );
        let copy = worker.tries_to_read().await;
        assert!(
            copy.is_err(),
            "get_flag_definitions gave {} while the server hung: return an error",
            answer(&copy)
        );
        let _ = worker.tries_stored().await;
        let _ = worker.tries_to_publish(&data).await;
        let _ = worker
            .tries_to_end_without_update(FetchOutcome::unchanged(&data))
            .await;
    }
    let _ = leaving.tries_to_shut_down().await;
    store.outage(Outage::Healed).await;
}

/// B8 64: when the server is back, so is the provider, by itself.
pub async fn calls_work_again_after_an_outage(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    let mut number = 1;
    leader.loads(&numbered(number)).await;
    follower.follows().await;
    for outage in [Outage::Cut, Outage::Hang] {
        begin(store, outage).await;
        for worker in [&leader, &follower] {
            let _ = worker.tries_to_decide().await;
            let _ = worker.tries_to_read().await;
        }
        store.outage(Outage::Healed).await;
        number *= 10;
        let begin = Instant::now();
        loop {
            let error = match works(&leader, &follower, number).await {
                Ok(()) => break,
                Err(error) => error,
            };
            assert!(
                begin.elapsed() < BACK_WITHIN,
                "{BACK_WITHIN:?} after an outage ({outage:?}): {error}"
            );
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// B8 64: what changed while a worker was cut off caused no notification for it, so it loads when it is connected again,
/// without a call that makes it connect.
pub async fn changes_during_an_outage_are_notified_after_it(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    cut(store).await;
    follower.is_quiet_for(POLL_INTERVAL * 2, BACK_WITHIN).await;
    store.outage(Outage::Healed).await;
    let noticed = follower.is_notified_within(BACK_WITHIN).await;
    assert!(
        noticed,
        "no notification within {BACK_WITHIN:?} after an outage: connect again in the background, then call \
         `notify_changed`, since a change may have been missed"
    );
}

/// B8 64: after an outage, notifications are received again.
pub async fn notifications_come_back_after_an_outage(store: &dyn TestStore) {
    let (leader, follower) = (Worker::join(store), Worker::join(store));
    listen(store, &leader, &follower).await;
    let mut attempt = 0;
    for outage in [Outage::Cut, Outage::Hang] {
        match outage {
            Outage::Cut => cut(store).await,
            _ => begin(store, outage).await,
        }
        let _ = follower.tries_to_decide().await;
        store.outage(Outage::Healed).await;
        let begin = Instant::now();
        loop {
            // Another length each time: a store that takes sets of one length for the same breaks another rule.
            attempt += 1;
            let number = 10_u64.pow(3 + attempt % 4);
            // The notification that there was an outage is another one.
            follower.is_quiet_for(POLL_INTERVAL * 4, BACK_WITHIN).await;
            let works = works(&leader, &follower, number).await;
            if works.is_ok() && follower.is_notified_within(store.notification_time()).await {
                break;
            }
            let cause = works
                .err()
                .unwrap_or_else(|| "a publish is not notified".to_owned());
            assert!(
                begin.elapsed() < BACK_WITHIN,
                "{BACK_WITHIN:?} after an outage ({outage:?}): {cause}; subscribe again"
            );
        }
    }
}

/// B5 45, 49: a provider that was shut down and dropped leaves no connection behind.
pub async fn shutdown_closes_the_connections(store: &dyn TestStore) {
    const WITHIN: Duration = Duration::from_secs(5);
    let worker = Worker::join(store);
    worker.loads(&numbered(1)).await;
    worker.follows().await;
    assert_connects(store);
    worker.shuts_down().await;
    drop(worker);
    let begin = Instant::now();
    while store.connections().open > 0 {
        let open = store.connections().open;
        assert!(
            begin.elapsed() < WITHIN,
            "{open} connections are open {WITHIN:?} after the only worker was shut down and dropped: end what listens in \
             the background in `shutdown`"
        );
        sleep(POLL_INTERVAL / 5).await;
    }
}

/// A load of each: the leader, whichever it is, publishes, and the follower reads it. Says what does not work.
async fn works(leader: &Worker, follower: &Worker, number: u64) -> Result<(), String> {
    let said = |error: flagcache_core::ProviderError| error.to_string();
    leader.tries_to_decide().await.map_err(said)?;
    leader
        .tries_to_publish(&numbered(number))
        .await
        .map_err(said)?;
    // Without a decision: that might take the lead.
    let copy = follower.tries_to_read().await.map_err(said)?;
    if copy.is_some_and(|copy| copy.same_content(&numbered(number))) {
        Ok(())
    } else {
        Err("what was published is not read".to_owned())
    }
}

/// Begins an outage, of a server to which the workers are connected.
async fn begin(store: &dyn TestStore, outage: Outage) {
    assert_connects(store);
    store.outage(outage).await;
}

/// Cuts off the server, and waits until that has reached every connection.
async fn cut(store: &dyn TestStore) {
    begin(store, Outage::Cut).await;
    let (begin, limit) = (
        Instant::now(),
        PollerSchedule::new(POLL_INTERVAL).provider_timeout,
    );
    while store.connections().open > 0 && begin.elapsed() < limit {
        sleep(POLL_INTERVAL / 10).await;
    }
}

fn assert_connects(store: &dyn TestStore) {
    assert!(
        store.connections().opened > 0,
        "the test rig is at fault, not the provider: no worker has connected through what `TestStore::outage` cuts; \
         does `TestStore::provider` give the address of the proxy to the store?"
    );
}

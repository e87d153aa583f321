//! The memory store, seen from its pollers.
#![cfg(feature = "memory")]
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

use std::time::Duration;

use failures::{WINDOW, connect, failed, refusal, set_key};
use flagcache_core::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheProvider, PollerSchedule};
use flagcache_providers::{MemoryProvider, MemoryStore};
use sets::{fetched, foreign};
use tokio::time::advance;

const INTERVAL: Duration = Duration::from_secs(30);

type Worker = worker::Worker<MemoryProvider>;

impl Worker {
    fn of(store: &MemoryStore) -> Self {
        Self::with_schedule(store, PollerSchedule::new(INTERVAL))
    }

    fn with_schedule(store: &MemoryStore, schedule: PollerSchedule) -> Self {
        Self::attached(store.provider(), schedule)
    }

    fn with_key(store: &MemoryStore, secret_key: &str) -> Self {
        let worker = Self::of(store);
        set_key(&worker.poller, secret_key);
        worker
    }

    async fn was_notified(&self) -> bool {
        self.noticed(Duration::from_millis(1)).await
    }
}

#[tokio::test(start_paused = true)]
async fn b8_58_one_of_many_leads_and_the_others_read_its_copy() {
    let store = MemoryStore::new();
    let workers: Vec<Worker> = (0..16).map(|_| Worker::of(&store)).collect();
    let mut leaders = Vec::new();
    for worker in &workers {
        if worker.leads().await {
            leaders.push(worker);
        }
    }
    let [leader] = leaders[..] else {
        panic!("{} leaders", leaders.len())
    };
    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await;
    for worker in &workers {
        assert!(worker.reads().await.unwrap().same_content(&data));
        assert_eq!(worker.was_notified().await, !std::ptr::eq(worker, leader));
    }
}

#[tokio::test(start_paused = true)]
async fn b8_59_a_tick_of_the_leader_renews_its_lease_past_the_next() {
    let store = MemoryStore::with_lease(Duration::from_secs(1));
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    for _ in 0..5 {
        assert!(leader.leads().await);
        advance(INTERVAL * 2 - Duration::from_millis(1)).await;
        assert!(!follower.leads().await);
    }
    advance(Duration::from_millis(1)).await;
    assert!(follower.leads().await);
    assert!(!leader.leads().await);
}

#[tokio::test(start_paused = true)]
async fn the_lease_outlasts_the_backoff_of_the_leader() {
    let store = MemoryStore::new();
    let mut schedule = PollerSchedule::new(INTERVAL);
    schedule.fetch_backoff = Duration::from_secs(600);
    let (leader, follower) = (Worker::with_schedule(&store, schedule), Worker::of(&store));
    assert!(leader.leads().await);
    advance(Duration::from_secs(659)).await;
    assert!(!follower.leads().await);
    advance(Duration::from_secs(1)).await;
    assert!(follower.leads().await);
}

#[tokio::test(start_paused = true)]
async fn a_manual_poller_leads_for_one_lease_only() {
    let store = MemoryStore::new();
    let mut schedule = PollerSchedule::new(INTERVAL);
    schedule.manual = true;
    let (leader, follower) = (Worker::with_schedule(&store, schedule), Worker::of(&store));
    assert!(leader.leads().await);
    advance(MemoryStore::DEFAULT_LEASE).await;
    assert!(follower.leads().await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_beyond_the_clock_is_a_long_one() {
    let store = MemoryStore::with_lease(Duration::MAX);
    let (leader, follower) = (store.provider(), store.provider());
    assert!(leader.should_fetch_flag_definitions().await.unwrap());
    assert!(!follower.should_fetch_flag_definitions().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn b8_60_followers_know_when_the_lease_ends() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    assert_eq!(leader.poller.take_report().unwrap().lease_ends_in, None);
    advance(Duration::from_secs(20)).await;
    assert!(!follower.leads().await);
    assert_eq!(
        follower.poller.take_report().unwrap().lease_ends_in,
        Some(Duration::from_secs(40))
    );
}

#[tokio::test(start_paused = true)]
async fn b8_60_a_leader_that_shuts_down_hands_over_at_once() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    leader.provider.shutdown().await.unwrap();
    assert!(follower.was_notified().await);
    assert!(follower.leads().await);
    assert!(!leader.leads().await);
}

#[test]
fn b5_49_dropping_the_leader_outside_a_runtime_hands_over_at_once() {
    let store = MemoryStore::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(runtime.block_on(leader.leads()));
    drop(leader);
    assert!(runtime.block_on(follower.was_notified()));
    assert!(runtime.block_on(follower.leads()));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_follower_sends_no_notification() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    drop(follower);
    assert!(!leader.was_notified().await);
    assert!(leader.leads().await);
}

#[tokio::test(start_paused = true)]
async fn b8_61_a_leader_that_cannot_fetch_steps_down_for_the_requested_time() {
    let store = MemoryStore::new();
    let (first, second) = (Worker::of(&store), Worker::of(&store));
    assert!(first.leads().await);
    let minute = Duration::from_secs(60);
    first
        .fetches_without_update(
            FetchOutcome::failed(FetchErrorKind::Unauthorized, None)
                .with_step_down_for(Some(minute)),
        )
        .await;
    assert!(second.was_notified().await);
    assert!(
        !first.leads().await,
        "stepped down, and no other worker leads"
    );
    assert!(second.leads().await);
    second.provider.shutdown().await.unwrap();
    advance(minute).await;
    assert!(first.leads().await);
}

#[tokio::test(start_paused = true)]
async fn b8_62_a_confirmation_reaches_followers_and_readers() {
    let store = MemoryStore::new();
    let (leader, follower, reader) = (Worker::of(&store), Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    assert_eq!(leader.poller.take_report().unwrap().confirmed_ago, None);
    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await;
    advance(Duration::from_secs(7)).await;
    assert!(!follower.leads().await);
    assert_eq!(
        follower.poller.take_report().unwrap().confirmed_ago,
        Some(Duration::from_secs(7))
    );

    leader
        .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await;
    reader.reads().await;
    assert_eq!(
        reader.poller.take_report().unwrap().confirmed_ago,
        Some(Duration::from_secs(7))
    );

    leader
        .fetches_without_update(FetchOutcome::unchanged(&data))
        .await;
    reader.reads().await;
    assert_eq!(
        reader.poller.take_report().unwrap().confirmed_ago,
        Some(Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn b2_29_a_used_up_quota_is_reported_until_the_next_success() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    let data = fetched("beta", "\"1\"", 0);
    let quota_seen = async || {
        assert!(!follower.leads().await);
        follower.poller.take_report().unwrap().quota_limited
    };
    assert!(leader.leads().await);
    leader
        .fetches_without_update(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    assert!(quota_seen().await);
    leader
        .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await;
    assert!(quota_seen().await, "a 5xx says nothing about the quota");
    leader
        .fetches_without_update(FetchOutcome::unchanged(&data))
        .await;
    assert!(!quota_seen().await);
    leader
        .fetches_without_update(FetchOutcome::failed(
            FetchErrorKind::QuotaLimited,
            Some(&data),
        ))
        .await;
    leader.publishes(&data).await;
    assert!(!quota_seen().await);
}

#[tokio::test(start_paused = true)]
async fn b2_27_an_unchanged_publish_or_confirmation_sends_no_notification() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    leader.publishes(&fetched("beta", "\"1\"", 9)).await;
    assert!(follower.was_notified().await);
    let again = fetched("beta", "\"1\"", 0);
    leader.publishes(&again).await;
    leader
        .fetches_without_update(FetchOutcome::unchanged(&again))
        .await;
    assert!(!follower.was_notified().await);
    leader.publishes(&fetched("beta", "\"2\"", 0)).await;
    assert!(
        follower.was_notified().await,
        "the ETag travels with the copy"
    );
}

#[tokio::test(start_paused = true)]
async fn b1_07_a_worker_that_does_not_lead_fills_an_empty_store_and_overwrites_nothing() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    let (first, second) = (fetched("first", "\"1\"", 9), fetched("second", "\"2\"", 0));
    follower.publishes(&first).await;
    assert!(leader.was_notified().await);
    follower.publishes(&second).await;
    assert!(leader.reads().await.unwrap().same_content(&first));
}

#[tokio::test(start_paused = true)]
async fn b8_65_a_leader_suspended_beyond_its_lease_overwrites_nothing() {
    let store = MemoryStore::new();
    let (sleeper, successor) = (Worker::of(&store), Worker::of(&store));
    assert!(sleeper.leads().await);
    advance(INTERVAL * 3).await;
    assert!(successor.leads().await);
    let (old, new) = (fetched("old", "\"1\"", 90), fetched("new", "\"2\"", 0));
    successor.publishes(&new).await;
    sleeper.publishes(&old).await;
    sleeper
        .fetches_without_update(FetchOutcome::unchanged(&old))
        .await;
    assert!(successor.reads().await.unwrap().same_content(&new));
}

#[tokio::test(start_paused = true)]
async fn b8_63_a_lost_copy_is_restored_on_a_304_and_on_a_5xx() {
    for failure in [None, Some(FetchErrorKind::Server)] {
        // A new store is what a worker finds when the copy is lost.
        let store = MemoryStore::new();
        let (leader, follower) = (Worker::of(&store), Worker::of(&store));
        assert!(leader.leads().await);
        let data = fetched("beta", "\"1\"", 0);
        leader
            .fetches_without_update(failure.map_or(FetchOutcome::unchanged(&data), |kind| {
                FetchOutcome::failed(kind, Some(&data))
            }))
            .await;
        assert!(follower.was_notified().await);
        assert!(follower.reads().await.unwrap().same_content(&data));
    }
}

#[tokio::test(start_paused = true)]
async fn b8_66_a_foreign_copy_is_replaced_on_a_304_and_on_a_5xx() {
    for failure in [None, Some(FetchErrorKind::Server)] {
        let store = MemoryStore::new();
        let (leader, follower) = (Worker::of(&store), Worker::of(&store));
        follower.publishes(&foreign()).await;
        assert!(leader.leads().await);
        let data = fetched("beta", "\"1\"", 0);
        leader
            .fetches_without_update(failure.map_or(FetchOutcome::unchanged(&data), |kind| {
                FetchOutcome::failed(kind, Some(&data))
            }))
            .await;
        assert!(follower.reads().await.unwrap().same_content(&data));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_failed_to_fetch_leaves_its_predecessors_younger_copy() {
    let store = MemoryStore::new();
    let (predecessor, leader) = (Worker::of(&store), Worker::of(&store));
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

#[tokio::test(start_paused = true)]
async fn b1_04_a_cold_leader_gets_the_stored_copy() {
    let store = MemoryStore::new();
    let leader = Worker::of(&store);
    assert!(leader.leads().await);
    assert!(
        leader
            .provider
            .peek_flag_definitions()
            .await
            .unwrap()
            .is_none()
    );
    leader.publishes(&fetched("beta", "W/\"1\"", 0)).await;
    let stored = leader
        .provider
        .peek_flag_definitions()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.etag(), Some("W/\"1\""));
}

#[tokio::test(start_paused = true)]
async fn b8_61_only_the_leader_stores_a_failure_with_its_age_until_the_first_success() {
    let store = MemoryStore::new();
    let (leader, follower) = (Worker::of(&store), Worker::of(&store));
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await && !follower.leads().await);
    leader.publishes(&data).await;
    follower
        .fetches_without_update(failed(Some(&data), connect()))
        .await;
    assert_eq!(leader.failure().await, None, "it is the leader's to write");

    for ends_by_a_publish in [false, true] {
        leader
            .fetches_without_update(failed(Some(&data), connect()))
            .await;
        assert_eq!(follower.failure().await, Some(connect()));
        advance(Duration::from_secs(5)).await;
        assert_eq!(
            follower.failure().await,
            Some(connect().with_age(Duration::from_secs(5)))
        );
        leader
            .fetches_without_update(FetchOutcome::failed(FetchErrorKind::Connect, Some(&data)))
            .await;
        assert!(follower.failure().await.is_some(), "no request was sent");
        if ends_by_a_publish {
            leader.publishes(&fetched("beta", "\"2\"", 0)).await;
        } else {
            leader
                .fetches_without_update(FetchOutcome::unchanged(&data))
                .await;
        }
        assert_eq!(follower.failure().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn b8_61_a_refused_key_does_not_lead_in_the_window_and_another_does() {
    let store = MemoryStore::new();
    let [first, second] = [(); 2].map(|()| Worker::with_key(&store, "phs_old"));
    assert!(first.leads().await);
    first
        .fetches_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await;
    assert!(second.was_notified().await);
    let restarted = Worker::with_key(&store, "phs_old");
    advance(WINDOW - Duration::from_millis(1)).await;
    for worker in [&first, &second, &restarted] {
        assert!(!worker.leads().await);
        assert_eq!(
            worker.failure().await.map(|failure| failure.kind()),
            Some(FetchErrorKind::Unauthorized)
        );
    }
    let renewed = Worker::with_key(&store, "phs_new");
    assert!(renewed.leads().await, "a rotation heals at once");
    drop(renewed);
    assert!(!second.leads().await);
    set_key(&second.poller, "phs_new");
    assert!(second.leads().await, "the key may change under way");

    let store = MemoryStore::new();
    let [first, second] = [(); 2].map(|()| Worker::with_key(&store, "phs_old"));
    assert!(first.leads().await);
    first
        .fetches_without_update(failed(None, refusal("phs_old", WINDOW)))
        .await;
    advance(WINDOW).await;
    assert!(second.leads().await, "the window is over");
}

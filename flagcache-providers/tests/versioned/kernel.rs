//! What the kernel does, on the paused clock.

use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FleetFailure, FleetStatus, PollerContextOwner, PollerSchedule, ProviderError,
    ProviderErrorKind,
};
use flagcache_providers::{Versioned, VersionedConfigError, VersionedProvider};
use tokio::time::{advance, sleep, timeout};

use crate::failures::{WINDOW, connect, failed, refusal, set_key};
use crate::memory::Memory;
use crate::records::{head, key, put};
use crate::sets::fetched;

const INTERVAL: Duration = Duration::from_secs(30);
const LEASE_TTL: Duration = Versioned::DEFAULT_LEASE_TTL;
const SERVICE: &str = "checkout";

struct Worker {
    provider: VersionedProvider,
    poller: PollerContextOwner,
}

impl Worker {
    /// A worker of another process: with a kernel of its own.
    fn of(memory: &Memory) -> Self {
        Self::in_process(&Versioned::new(memory.clone(), SERVICE).unwrap())
    }

    fn in_process(store: &Versioned) -> Self {
        let provider = store.provider();
        let poller = PollerContextOwner::new(PollerSchedule::new(INTERVAL));
        provider.on_poller_attached(poller.context());
        Self { provider, poller }
    }

    /// A worker that asks the API with this key.
    fn with_key(memory: &Memory, secret_key: &str) -> Self {
        let worker = Self::of(memory);
        set_key(&worker.poller, secret_key);
        worker
    }

    async fn leads(&self) -> bool {
        self.provider.should_fetch_flag_definitions().await.unwrap()
    }

    async fn reads(&self) -> Option<FlagDefinitionCacheData> {
        self.tries_to_read().await.unwrap()
    }

    async fn tries_to_read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.provider.get_flag_definitions().await
    }

    async fn publishes(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        self.provider.on_flag_definitions_received(data).await
    }

    async fn hears(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.provider.on_fetch_without_update(outcome).await
    }

    async fn status(&self) -> FleetStatus {
        self.leads().await;
        self.poller.take_report().unwrap()
    }

    /// What the store reports to it of a leader's failure.
    async fn failure(&self) -> Option<FleetFailure> {
        self.reads().await;
        self.status().await.fleet_failure
    }

    async fn was_notified(&self) -> bool {
        timeout(Duration::from_millis(1), self.poller.changed())
            .await
            .is_ok()
    }
}

/// Lets timers run on the way.
async fn pass(duration: Duration) {
    sleep(duration).await;
}

#[tokio::test(start_paused = true)]
async fn b11_82_one_of_many_leads_and_the_others_read_its_copy() {
    let memory = Memory::default();
    let workers: Vec<Worker> = (0..16).map(|_| Worker::of(&memory)).collect();
    let asked = futures_util::future::join_all(workers.iter().map(Worker::leads)).await;
    assert_eq!(asked.iter().filter(|leads| **leads).count(), 1);
    let leader = &workers[asked.iter().position(|leads| *leads).unwrap()];
    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await.unwrap();
    for worker in &workers {
        assert_eq!(worker.was_notified().await, !std::ptr::eq(worker, leader));
        worker.leads().await;
        assert!(worker.reads().await.unwrap().same_content(&data));
    }
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_leader_that_polls_rarely_keeps_leadership_by_renewing() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    let renewal = async || {
        head(&memory, SERVICE).await.unwrap()["renewal"]
            .as_u64()
            .unwrap()
    };
    let before = renewal().await;
    for _ in 0..7 {
        pass(INTERVAL / 8).await;
        assert!(!follower.leads().await);
    }
    let renewed = renewal().await - before;
    let wanted = u64::try_from((INTERVAL * 7 / 8).as_millis() * 6 / LEASE_TTL.as_millis()).unwrap();
    assert!(renewed.abs_diff(wanted) <= 1, "{renewed} renewals");
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_killed_leader_is_replaced_within_the_lease_ttl() {
    for phase in 0..10 {
        let memory = Memory::default();
        let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
        assert!(leader.leads().await);
        pass(Duration::from_millis(phase * 377)).await;
        // As a poller does: it asks again when the lease would end.
        let mut left = follower.status().await.lease_ends_in.unwrap();
        drop(leader);
        let mut waited = Duration::ZERO;
        loop {
            pass(left).await;
            waited += left;
            if follower.leads().await {
                break;
            }
            left = follower.status().await.lease_ends_in.unwrap();
        }
        assert!(waited <= LEASE_TTL, "{waited:?} in phase {phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn b11_81_a_lease_is_measured_only_by_the_observers_own_clock() {
    let memory = Memory::default();
    let leader = Worker::of(&memory);
    assert!(leader.leads().await);
    drop(leader);
    // However long ago that was, who comes now has observed nothing yet.
    advance(Duration::from_secs(3_600)).await;
    let follower = Worker::of(&memory);
    assert!(!follower.leads().await);
    pass(LEASE_TTL / 2 - Duration::from_millis(1)).await;
    assert!(!follower.leads().await);
    pass(Duration::from_millis(1)).await;
    assert!(follower.leads().await);
    // The lease that counts is the one that the leader states, not the observer's own.
    let short = Versioned::new(memory.clone(), SERVICE).unwrap();
    let short = short.with_lease_ttl(Duration::from_millis(100)).unwrap();
    let hasty = Worker::in_process(&short);
    drop(follower);
    assert!(!hasty.leads().await);
    pass(LEASE_TTL / 2 - Duration::from_millis(1)).await;
    assert!(!hasty.leads().await);
}

#[tokio::test(start_paused = true)]
async fn b11_80_a_leader_suspended_beyond_its_lease_writes_nothing() {
    let memory = Memory::default();
    let (sleeper, successor, reader) = (
        Worker::of(&memory),
        Worker::of(&memory),
        Worker::of(&memory),
    );
    assert!(sleeper.leads().await);
    sleeper
        .publishes(&fetched("first", "\"1\"", 9))
        .await
        .unwrap();
    assert!(sleeper.leads().await);
    // Suspended: its timers do not run either.
    lease_ends(&memory).await;
    assert!(successor.leads().await);
    let (old, new) = (fetched("old", "\"2\"", 5), fetched("new", "\"3\"", 0));
    successor.publishes(&new).await.unwrap();
    let error = sleeper.publishes(&old).await.unwrap_err();
    assert!(error.to_string().contains("leadership was lost"), "{error}");
    assert!(sleeper.was_notified().await);
    assert!(sleeper.hears(FetchOutcome::unchanged(&old)).await.is_err());
    assert!(reader.reads().await.unwrap().same_content(&new));
}

/// What a successor finds once the leader's lease has ended: the same record, of a lease of no time.
async fn lease_ends(memory: &Memory) {
    let mut record = head(memory, SERVICE).await.unwrap();
    record["lease_ms"] = 0.into();
    put(memory, &key(SERVICE, "head"), record.to_string().into()).await;
}

#[tokio::test(start_paused = true)]
async fn b11_82_shutdown_and_step_down_hand_over_at_once() {
    let memory = Memory::default();
    let (first, second) = (Worker::of(&memory), Worker::of(&memory));
    assert!(first.leads().await);
    assert!(!second.leads().await);
    let minute = Duration::from_secs(60);
    let unauthorized =
        FetchOutcome::failed(FetchErrorKind::Unauthorized, None).with_step_down_for(Some(minute));
    first.hears(unauthorized).await.unwrap();
    assert!(second.was_notified().await);
    assert!(!first.leads().await, "stepped down, and no one else leads");
    assert!(second.leads().await);
    second.provider.shutdown().await.unwrap();
    assert!(first.was_notified().await);
    assert!(!first.leads().await);
    pass(minute).await;
    assert!(first.leads().await);
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_failed_release_is_repeated() {
    let memory = Memory::default();
    let (first, second) = (Worker::of(&memory), Worker::of(&memory));
    assert!(first.leads().await);
    memory.set_down(true);
    let step_down =
        FetchOutcome::failed(FetchErrorKind::Unauthorized, None).with_step_down_for(Some(INTERVAL));
    assert!(first.hears(step_down).await.is_err());
    memory.set_down(false);
    assert!(!first.leads().await);
    assert!(second.leads().await);
}

#[tokio::test(start_paused = true)]
async fn b11_82_an_unchanged_tick_writes_nothing_and_transfers_no_value() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    leader
        .publishes(&fetched("beta", "\"1\"", 0))
        .await
        .unwrap();
    follower.leads().await;
    let first = follower.reads().await.unwrap();
    let cost = || memory.with(|state| (state.writes.values().sum::<u64>(), state.moved));
    let before = cost();
    for _ in 0..3 {
        assert!(!follower.leads().await);
        assert!(follower.reads().await.unwrap().same_content(&first));
    }
    assert_eq!(cost(), before);
    let size = memory.with(|state| state.values[&key(SERVICE, "head")].0.len());
    assert!(size <= 260, "{size} bytes");
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_confirmations_age_is_its_stored_age_plus_the_time_since_it_was_read() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    assert_eq!(follower.status().await.confirmed_ago, None);
    let data = fetched("beta", "\"1\"", 0);
    leader.publishes(&data).await.unwrap();
    let close = |ago: Option<Duration>, wanted: Duration| {
        let ago = ago.unwrap();
        // The leader states it at each renewal, and how long ago that was an observer does not know.
        let slack = LEASE_TTL / 6 + Duration::from_millis(20);
        assert!(
            ago <= wanted && wanted - ago <= slack,
            "{ago:?}, not {wanted:?}"
        );
    };
    pass(Duration::from_secs(7)).await;
    close(
        follower.status().await.confirmed_ago,
        Duration::from_secs(7),
    );
    drop(leader);
    pass(Duration::from_secs(20)).await;
    close(
        follower.status().await.confirmed_ago,
        Duration::from_secs(27),
    );
    // The follower leads by now: a change of leader confirms nothing, a 304 does.
    assert!(follower.leads().await);
    follower
        .hears(FetchOutcome::failed(FetchErrorKind::Server, Some(&data)))
        .await
        .unwrap();
    close(
        follower.status().await.confirmed_ago,
        Duration::from_secs(27),
    );
    follower
        .hears(FetchOutcome::unchanged(&data))
        .await
        .unwrap();
    close(follower.status().await.confirmed_ago, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_used_up_quota_is_marked_until_the_next_success() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    for served in [None, Some(fetched("beta", "\"1\"", 0))] {
        let used_up = FetchOutcome::failed(FetchErrorKind::QuotaLimited, served.as_ref());
        leader.hears(used_up).await.unwrap();
        assert!(follower.status().await.quota_limited);
    }
    let data = fetched("beta", "\"1\"", 0);
    leader.hears(FetchOutcome::unchanged(&data)).await.unwrap();
    assert!(!follower.status().await.quota_limited);
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_slot_that_another_program_wrote_is_repaired_by_the_leader() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    let data = fetched("beta", "\"1\"", 0);
    for failure in [None, Some(FetchErrorKind::Server)] {
        for damage in [r#"{"flags":[]}"#, "garbage"] {
            assert!(leader.leads().await);
            leader.publishes(&data).await.unwrap();
            follower.reads().await.unwrap();
            let slot = head(&memory, SERVICE).await.unwrap()["copy"]["slot"].clone();
            let slot = key(SERVICE, slot.as_str().unwrap());
            put(&memory, &slot, Bytes::from_static(damage.as_bytes())).await;
            // Who holds the copy goes on; who does not is given no other one for it.
            assert!(follower.reads().await.unwrap().same_content(&data));
            let error = Worker::of(&memory).tries_to_read().await.unwrap_err();
            assert_eq!(error.kind(), ProviderErrorKind::InvalidData, "{error}");
            assert!(error.to_string().contains(&slot), "{error}");

            assert!(leader.leads().await);
            let outcome = match failure {
                None => FetchOutcome::unchanged(&data),
                Some(kind) => FetchOutcome::failed(kind, Some(&data)),
            };
            leader.hears(outcome).await.unwrap();
            assert!(
                Worker::of(&memory)
                    .reads()
                    .await
                    .unwrap()
                    .same_content(&data)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_store_that_lost_everything_is_filled_by_the_leaders_next_load() {
    for failure in [None, Some(FetchErrorKind::Server)] {
        let memory = Memory::default();
        let (leader, reader) = (Worker::of(&memory), Worker::of(&memory));
        let data = fetched("beta", "\"1\"", 0);
        assert!(leader.leads().await);
        leader.publishes(&data).await.unwrap();
        memory.with(|state| state.values.clear());
        assert!(reader.reads().await.is_none());
        assert!(leader.leads().await);
        let outcome = match failure {
            None => FetchOutcome::unchanged(&data),
            Some(kind) => FetchOutcome::failed(kind, Some(&data)),
        };
        leader.hears(outcome).await.unwrap();
        assert!(reader.reads().await.unwrap().same_content(&data));
    }
}

#[tokio::test(start_paused = true)]
async fn b11_82_an_invalid_leader_record_is_replaced_after_one_lease() {
    let memory = Memory::default();
    let worker = Worker::of(&memory);
    put(&memory, &key(SERVICE, "head"), Bytes::from_static(b"[]")).await;
    assert!(!worker.leads().await);
    let error = worker.tries_to_read().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::InvalidData, "{error}");
    pass(LEASE_TTL / 2).await;
    assert!(worker.leads().await);
    let later = Bytes::from_static(
        br#"{"schema":2,"leader":null,"term":1,"renewal":1,"lease_ms":1,"copy":null}"#,
    );
    put(&memory, &key(SERVICE, "head"), later).await;
    let error = worker
        .provider
        .should_fetch_flag_definitions()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("update this worker"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_worker_that_does_not_lead_fills_an_empty_store_and_overwrites_nothing() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    assert!(!follower.leads().await);
    let (first, second) = (fetched("first", "\"1\"", 9), fetched("second", "\"2\"", 0));
    follower.publishes(&first).await.unwrap();
    assert!(follower.status().await.lease_ends_in.unwrap() > Duration::ZERO);
    follower.publishes(&second).await.unwrap();
    assert!(leader.leads().await);
    assert!(leader.reads().await.unwrap().same_content(&first));
    // It is provisional: what the leader's request brings replaces it.
    assert!(leader.leads().await);
    leader.publishes(&second).await.unwrap();
    assert!(!follower.leads().await);
    assert!(follower.reads().await.unwrap().same_content(&second));
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_new_leader_that_cannot_fetch_keeps_its_predecessors_newer_copy() {
    let memory = Memory::default();
    let (predecessor, leader) = (Worker::of(&memory), Worker::of(&memory));
    let (old, new) = (fetched("old", "\"1\"", 90), fetched("new", "\"2\"", 0));
    assert!(predecessor.leads().await);
    predecessor.publishes(&new).await.unwrap();
    predecessor.provider.shutdown().await.unwrap();
    assert!(leader.leads().await);
    leader
        .hears(FetchOutcome::failed(FetchErrorKind::Server, Some(&old)))
        .await
        .unwrap();
    assert!(leader.reads().await.unwrap().same_content(&new));
    leader.hears(FetchOutcome::unchanged(&old)).await.unwrap();
    assert!(
        leader.reads().await.unwrap().same_content(&old),
        "the API rolled back"
    );
}

#[tokio::test(start_paused = true)]
async fn the_pollers_of_one_process_share_one_copy() {
    let memory = Memory::default();
    let store = Versioned::new(memory.clone(), SERVICE).unwrap();
    let (leader, follower) = (Worker::in_process(&store), Worker::in_process(&store));
    assert!(leader.leads().await);
    leader
        .publishes(&fetched("beta", "\"1\"", 0))
        .await
        .unwrap();
    let before = memory.with(|state| state.moved);
    assert!(!follower.leads().await);
    assert!(follower.reads().await.is_some());
    let moved = memory.with(|state| state.moved) - before;
    assert_eq!(moved, 0, "it was read from the store");
}

#[tokio::test(start_paused = true)]
async fn b11_82_only_the_leader_stores_a_failure_with_its_age_until_the_first_success() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    let data = fetched("beta", "\"1\"", 0);
    assert!(leader.leads().await && !follower.leads().await);
    leader.publishes(&data).await.unwrap();
    follower
        .hears(failed(Some(&data), connect()))
        .await
        .unwrap();
    assert_eq!(leader.failure().await, None, "it is the leader's to write");

    for ends_by_a_publish in [false, true] {
        assert!(leader.leads().await);
        leader.hears(failed(Some(&data), connect())).await.unwrap();
        assert_eq!(follower.failure().await, Some(connect()));
        pass(Duration::from_secs(5)).await;
        let age = follower.failure().await.unwrap().age();
        // The leader states it at each renewal, and how long ago that was an observer does not know.
        let slack = LEASE_TTL / 6 + Duration::from_millis(20);
        let five = Duration::from_secs(5);
        assert!(age <= five && five - age <= slack, "{age:?}");
        leader
            .hears(FetchOutcome::failed(FetchErrorKind::Connect, Some(&data)))
            .await
            .unwrap();
        assert!(follower.failure().await.is_some(), "no request was sent");
        if ends_by_a_publish {
            leader
                .publishes(&fetched("beta", "\"2\"", 0))
                .await
                .unwrap();
        } else {
            leader.hears(FetchOutcome::unchanged(&data)).await.unwrap();
        }
        assert_eq!(follower.failure().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn b11_82_a_refused_key_does_not_lead_in_the_window_and_another_does() {
    let memory = Memory::default();
    let [first, second] = [(); 2].map(|()| Worker::with_key(&memory, "phs_old"));
    assert!(first.leads().await);
    first
        .hears(failed(None, refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    assert!(second.was_notified().await);
    let restarted = Worker::with_key(&memory, "phs_old");
    assert!(!second.leads().await && !restarted.leads().await);
    pass(WINDOW - Duration::from_secs(1)).await;
    for worker in [&first, &second, &restarted] {
        assert!(!worker.leads().await);
        assert_eq!(
            worker.failure().await.map(|failure| failure.kind()),
            Some(FetchErrorKind::Unauthorized)
        );
    }
    let renewed = Worker::with_key(&memory, "phs_new");
    assert!(renewed.leads().await, "a rotation heals at once");
    renewed.provider.shutdown().await.unwrap();
    assert!(!second.leads().await);
    set_key(&second.poller, "phs_new");
    assert!(second.leads().await, "the key may change under way");

    let memory = Memory::default();
    let [first, second] = [(); 2].map(|()| Worker::with_key(&memory, "phs_old"));
    assert!(first.leads().await && !second.leads().await);
    first
        .hears(failed(None, refusal("phs_old", WINDOW)))
        .await
        .unwrap();
    assert!(!second.leads().await);
    pass(WINDOW).await;
    assert!(second.leads().await, "the window is over");
}

#[tokio::test(start_paused = true)]
async fn b11_82_an_invalid_failure_text_is_ignored_and_replaced() {
    let memory = Memory::default();
    let worker = Worker::of(&memory);
    assert!(worker.leads().await);
    let mut record = head(&memory, SERVICE).await.unwrap();
    record["failure"] = serde_json::json!({"text": "nonsense", "age_ms": u64::MAX});
    put(&memory, &key(SERVICE, "head"), record.to_string().into()).await;
    assert_eq!(worker.failure().await, None);
    assert!(worker.leads().await);
    worker.hears(failed(None, connect())).await.unwrap();
    assert_eq!(worker.failure().await, Some(connect()));
}

#[test]
fn what_cannot_be_set_up_is_refused() {
    let store = |service: &str| Versioned::new(Memory::default(), service);
    assert!(matches!(
        store("a/b"),
        Err(VersionedConfigError::Service(_))
    ));
    for ttl in [Duration::ZERO, Duration::from_millis(99), Duration::MAX] {
        let refused = store("a").unwrap().with_lease_ttl(ttl);
        assert_eq!(refused.unwrap_err(), VersionedConfigError::LeaseTtl(ttl));
    }
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_request_marks_the_record_once_until_the_leader_takes_it() {
    let memory = Memory::default();
    let (leader, follower, other) = (
        Worker::of(&memory),
        Worker::of(&memory),
        Worker::of(&memory),
    );
    // Without a record there is no leader, and the next one fetches anyway.
    assert!(follower.provider.request_refresh().await.unwrap());
    assert!(leader.leads().await);
    assert!(follower.provider.request_refresh().await.unwrap());
    let marked = head(&memory, SERVICE).await.unwrap();
    assert_eq!(marked["refresh"], true);
    for worker in [&other, &follower, &leader] {
        assert!(worker.provider.request_refresh().await.unwrap());
    }
    assert_eq!(head(&memory, SERVICE).await.unwrap(), marked);
    assert!(!follower.status().await.refresh_requested);
    assert!(leader.status().await.refresh_requested);
    let taken = head(&memory, SERVICE).await.unwrap();
    assert!(taken["refresh"].is_null(), "{taken}");
    assert!(!leader.status().await.refresh_requested);
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_leader_finds_a_request_when_it_renews_its_lease() {
    let memory = Memory::default();
    let (leader, follower) = (Worker::of(&memory), Worker::of(&memory));
    assert!(leader.leads().await);
    assert!(follower.provider.request_refresh().await.unwrap());
    // Whether or not the watched key woke it.
    let woken = timeout(LEASE_TTL / 2, leader.poller.refresh_requested()).await;
    assert!(woken.is_ok());
}

#[tokio::test(start_paused = true)]
async fn b12_84_requests_do_not_make_a_confirmation_younger() {
    let memory = Memory::default();
    let leader = Worker::of(&memory);
    assert!(leader.leads().await);
    leader
        .publishes(&fetched("beta", "\"1\"", 0))
        .await
        .unwrap();
    for _ in 0..50 {
        pass(Duration::from_secs(2)).await;
        let caller = Worker::of(&memory);
        assert!(caller.provider.request_refresh().await.unwrap());
        assert!(leader.leads().await);
    }
    let age = leader.status().await.confirmed_ago.unwrap();
    assert!(age >= Duration::from_secs(100), "{age:?}");
}

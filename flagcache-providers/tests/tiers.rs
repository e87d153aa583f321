//! Stores behind a store, as a poller meets them.
#![cfg(all(feature = "memory", feature = "testing"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, SystemTime};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FlagDefinitionPoller, PollerContextOwner, PollerSchedule, PollerState, ProviderError,
    ProviderErrorKind,
};
use flagcache_providers::testing::{
    Fault, FaultInjector, ProviderMethod, Reply, ScriptedProvider, ScriptedSource, Times,
};
use flagcache_providers::{MemoryStore, ReadOnly, Tiered};
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(30);
const DOWN: Fault = Fault::Error(ProviderErrorKind::Unavailable);
const FAULTS: [Fault; 3] = [DOWN, Fault::Hang, Fault::Panic];

fn set(key: &str) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_api_response(body(key), Some(&etag(key)), SystemTime::now(), None)
        .unwrap()
}

fn body(key: &str) -> String {
    format!(r#"{{"flags":[{{"key":"{key}"}}],"group_type_mapping":{{}},"cohorts":{{}}}}"#)
}

fn etag(key: &str) -> String {
    format!("\"{key}\"")
}

fn holds(copy: Result<Option<FlagDefinitionCacheData>, ProviderError>, key: &str) -> bool {
    copy.unwrap().is_some_and(|copy| copy.flag(key).is_some())
}

async fn filled(key: &str) -> MemoryStore {
    let store = MemoryStore::new();
    store
        .provider()
        .on_flag_definitions_received(&set(key))
        .await
        .unwrap();
    store
}

fn attached(provider: &dyn FlagDefinitionCacheProvider) -> PollerContextOwner {
    let poller = PollerContextOwner::new(PollerSchedule::new(INTERVAL));
    provider.on_poller_attached(poller.context());
    poller
}

#[tokio::test(start_paused = true)]
async fn only_the_first_tier_elects() {
    let (first, second) = (ScriptedProvider::new(), ScriptedProvider::new());
    let tiered = Tiered::new(first.clone()).fallback(second.clone());
    first.decision().then(true).then(false).then_fault(DOWN);
    assert!(tiered.should_fetch_flag_definitions().await.unwrap());
    assert!(!tiered.should_fetch_flag_definitions().await.unwrap());
    assert!(tiered.should_fetch_flag_definitions().await.is_err());
    assert!(second.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_publish_goes_to_all_and_the_first_tiers_result_is_the_result() {
    let (first, second, third) = (
        ScriptedProvider::new(),
        ScriptedProvider::new(),
        ScriptedProvider::new(),
    );
    let tiered = Tiered::new(first.clone())
        .fallback(second.clone())
        .fallback(third.clone());
    first.publish().then_fault(DOWN);
    assert!(
        tiered
            .on_flag_definitions_received(&set("a"))
            .await
            .is_err()
    );
    second.publish().then_fault(DOWN);
    tiered
        .on_flag_definitions_received(&set("b"))
        .await
        .unwrap();
    for provider in [first, second, third] {
        assert_eq!(provider.count(ProviderMethod::Received), 2);
        provider.assert_contract_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn no_fault_behind_hides_what_the_first_tier_answers() {
    for method in ProviderMethod::ASYNC {
        for fault in FAULTS {
            let first = ScriptedProvider::new();
            first.read().always(Some(set("a")));
            first.stored().always(Some(set("a")));
            let second = FaultInjector::new(ScriptedProvider::new());
            second.inject(method, fault, Times::UntilCleared);
            let tiered = Tiered::new(first).fallback(second);
            let _poller = attached(&tiered);
            let limit = PollerSchedule::new(INTERVAL).provider_timeout;
            let all = async {
                assert!(tiered.should_fetch_flag_definitions().await.unwrap());
                assert!(holds(tiered.get_flag_definitions().await, "a"));
                assert!(holds(tiered.peek_flag_definitions().await, "a"));
                tiered
                    .on_flag_definitions_received(&set("b"))
                    .await
                    .unwrap();
                tiered
                    .on_fetch_without_update(FetchOutcome::unchanged(&set("b")))
                    .await
                    .unwrap();
                tiered.shutdown().await.unwrap();
            };
            let begin = Instant::now();
            all.await;
            assert!(
                begin.elapsed() < limit * 5,
                "{method} {fault:?}: a call took longer than its limit"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_fallback_at_attachment_is_contained() {
    let (first, second) = (ScriptedProvider::new(), ScriptedProvider::new());
    second.panic_when_attached();
    let tiered = Tiered::new(first.clone()).fallback(second);
    let _poller = attached(&tiered);
    assert!(first.context().unwrap().is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_changed_copy_is_written_to_the_fallback_once_and_an_unchanged_one_costs_no_call() {
    let (first, second) = (ScriptedProvider::new(), ScriptedProvider::new());
    let tiered = Tiered::new(first.clone()).fallback(second.clone());
    for (key, written) in [("a", 1), ("b", 2)] {
        first.read().always(Some(set(key)));
        for _ in 0..3 {
            assert!(holds(tiered.get_flag_definitions().await, key));
            let calls = [
                ProviderMethod::ShouldFetch,
                ProviderMethod::FetchWithoutUpdate,
                ProviderMethod::Get,
                ProviderMethod::Received,
            ];
            assert_eq!(
                second.methods(),
                calls.repeat(written),
                "a store that puts nothing back is published to"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_to_the_fallback_is_retried_at_the_next_read() {
    let (first, second) = (ScriptedProvider::new(), ScriptedProvider::new());
    first.read().always(Some(set("a")));
    second.publish().then_fault(DOWN).then_fault(Fault::Panic);
    let tiered = Tiered::new(first).fallback(second.clone());
    for written in [1, 2, 3, 3] {
        assert!(holds(tiered.get_flag_definitions().await, "a"));
        assert_eq!(second.count(ProviderMethod::Received), written);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_write_access_to_the_fallback_leads_when_no_other_is_left() {
    let fleet = filled("old").await;
    let machine = MemoryStore::new();
    let primary = Tiered::new(fleet.provider()).fallback(machine.provider());
    let other = Tiered::new(fleet.provider()).fallback(machine.provider());
    assert!(holds(primary.get_flag_definitions().await, "old"));
    let leader = fleet.provider();
    assert!(leader.should_fetch_flag_definitions().await.unwrap());
    leader
        .on_flag_definitions_received(&set("new"))
        .await
        .unwrap();
    let behind = machine.provider();
    assert!(holds(other.get_flag_definitions().await, "new"));
    assert!(
        holds(behind.get_flag_definitions().await, "old"),
        "it is the other's to write"
    );
    drop(primary);
    assert!(holds(other.get_flag_definitions().await, "new"));
    assert!(holds(behind.get_flag_definitions().await, "new"));
}

#[tokio::test(start_paused = true)]
async fn a_load_without_news_fills_a_tier_that_missed_the_publish() {
    let (first, second) = (ScriptedProvider::new(), ScriptedProvider::new());
    let tiered = Tiered::new(first).fallback(second.clone());
    let data = set("a");
    second.publish().then_fault(DOWN);
    tiered.on_flag_definitions_received(&data).await.unwrap();
    tiered
        .on_fetch_without_update(FetchOutcome::unchanged(&data))
        .await
        .unwrap();
    assert_eq!(
        (
            second.count(ProviderMethod::Received),
            second.count(ProviderMethod::FetchWithoutUpdate)
        ),
        (2, 0)
    );
    let outcome = FetchOutcome::unchanged(&data).with_step_down_for(Some(INTERVAL));
    tiered.on_fetch_without_update(outcome).await.unwrap();
    let told = second.calls().pop().unwrap();
    assert_eq!(
        (told.method, told.step_down_for),
        (ProviderMethod::FetchWithoutUpdate, None),
        "that lead is not the fleet's"
    );
}

#[tokio::test(start_paused = true)]
async fn b1_10_a_warm_worker_sees_that_the_first_tier_fails_or_is_empty() {
    let first = ScriptedProvider::new();
    first
        .read()
        .then(Some(set("new")))
        .then_fault(DOWN)
        .then(None);
    let tiered = Tiered::new(first).fallback(filled("old").await.provider());
    assert!(holds(tiered.get_flag_definitions().await, "new"));
    assert!(tiered.get_flag_definitions().await.is_err());
    assert!(tiered.get_flag_definitions().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn b1_09_a_cold_follower_sees_the_failure_first_and_gets_the_fallback_copy_as_a_last_resort()
{
    for fault in FAULTS {
        let first = ScriptedProvider::new();
        first.decision().always(false);
        first.read().always_fault(fault);
        let tiered = Tiered::new(first).fallback(filled("old").await.provider());
        let _poller = attached(&tiered);
        assert!(!tiered.should_fetch_flag_definitions().await.unwrap());
        assert!(tiered.get_flag_definitions().await.is_err());
        assert!(holds(tiered.get_flag_definitions().await, "old"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_follower_of_an_empty_first_tier_gets_the_fallback_copy_with_its_age() {
    let first = ScriptedProvider::new();
    first.decision().always(false);
    let machine = filled("old").await;
    let tiered = Tiered::new(first).fallback(machine.provider());
    let poller = attached(&tiered);
    tokio::time::advance(Duration::from_secs(77)).await;
    assert!(!tiered.should_fetch_flag_definitions().await.unwrap());
    assert!(holds(tiered.get_flag_definitions().await, "old"));
    assert_eq!(
        poller.take_report().unwrap().confirmed_ago,
        Some(Duration::from_secs(77))
    );
}

/// The copy was read from the first tier, where it may have been unconfirmed for long.
#[tokio::test(start_paused = true)]
async fn b9_72_a_copy_that_is_written_behind_during_a_read_is_not_confirmed_there() {
    let long = Duration::from_secs(1_000);
    let confirmed_ago = async |store: &MemoryStore| {
        let follower = store.provider();
        let poller = attached(&follower);
        follower.get_flag_definitions().await.unwrap().unwrap();
        poller.take_report().unwrap().confirmed_ago
    };
    // In this order: a younger copy is not replaced.
    let (machine, empty) = (filled("older").await, MemoryStore::new());
    let fleet = filled("old").await;
    tokio::time::advance(long).await;
    let tiered = Tiered::new(fleet.provider())
        .fallback(machine.provider())
        .fallback(empty.provider());
    assert!(holds(tiered.get_flag_definitions().await, "old"));
    for store in [&machine, &empty] {
        assert!(holds(store.provider().get_flag_definitions().await, "old"));
        assert!(
            confirmed_ago(store).await.is_none_or(|ago| ago >= long),
            "{:?}",
            confirmed_ago(store).await
        );
    }
    // A failed request confirms nothing; one that brought no news does.
    let data = tiered.get_flag_definitions().await.unwrap().unwrap();
    let failed = FetchOutcome::failed(FetchErrorKind::Server, Some(&data));
    tiered.on_fetch_without_update(failed).await.unwrap();
    assert!(confirmed_ago(&machine).await.is_some_and(|ago| ago >= long));
    tiered
        .on_fetch_without_update(FetchOutcome::unchanged(&data))
        .await
        .unwrap();
    assert!(confirmed_ago(&machine).await.is_some_and(|ago| ago < long));
    assert!(confirmed_ago(&empty).await.is_some_and(|ago| ago < long));
}

#[tokio::test(start_paused = true)]
async fn a_store_is_never_called_empty_because_it_failed() {
    let first = ScriptedProvider::new();
    first.read().always_fault(DOWN);
    first.stored().always_fault(DOWN);
    let tiered = Tiered::new(first.clone()).fallback(MemoryStore::new().provider());
    assert!(tiered.get_flag_definitions().await.is_err());
    assert!(tiered.peek_flag_definitions().await.is_err());
    first.read().always(None);
    first.stored().always(None);
    assert!(tiered.get_flag_definitions().await.unwrap().is_none());
    assert!(tiered.peek_flag_definitions().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn notifications_of_a_fallback_do_not_reach_the_poller() {
    let machine = filled("old").await;
    let tiered = Tiered::new(ScriptedProvider::new()).fallback(machine.provider());
    let poller = attached(&tiered);
    let other = machine.provider();
    assert!(other.should_fetch_flag_definitions().await.unwrap());
    other
        .on_flag_definitions_received(&set("new"))
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), poller.changed())
            .await
            .is_err()
    );
}

/// The first tier and the API are both down when a worker boots, in every way a store can be down.
#[tokio::test(start_paused = true)]
async fn b1_05_a_worker_boots_on_the_fallback_copy_and_is_valid_again_within_one_tick() {
    for fault in FAULTS {
        let fleet = FaultInjector::new(MemoryStore::new().provider());
        for method in ProviderMethod::ASYNC {
            fleet.inject(method, fault, Times::UntilCleared);
        }
        let api = ScriptedSource::new();
        api.serve(body("old"), Some(&etag("old")))
            .always(Reply::failure(FetchErrorKind::Connect));
        let begin = Instant::now();
        let flags = FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(
                Tiered::new(fleet.clone()).fallback(filled("old").await.provider()),
            )
            .poll_interval(INTERVAL)
            .start()
            .unwrap();
        flags.wait_ready(Duration::from_millis(1500)).await.unwrap();
        assert!(
            flags.definitions().unwrap().flag("old").is_some(),
            "{fault:?}, after {:?}",
            begin.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(flags.status().state, PollerState::Stale, "{fault:?}");

        fleet.clear_all();
        api.always(Reply::current());
        tokio::time::sleep(INTERVAL * 2).await;
        assert_eq!(flags.status().state, PollerState::Ready, "{fault:?}");
        assert_eq!(
            api.units(),
            api.etags_sent().iter().flatten().count() as u64 - 1,
            "all conditional, all 304"
        );
        flags.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn read_only_reads_and_shuts_down_and_does_nothing_else() {
    let store = ScriptedProvider::new();
    store.read().always(Some(set("a")));
    let reader = ReadOnly(store.clone());
    let _poller = attached(&reader);
    assert!(!reader.should_fetch_flag_definitions().await.unwrap());
    assert!(holds(reader.get_flag_definitions().await, "a"));
    assert!(reader.peek_flag_definitions().await.unwrap().is_none());
    reader
        .on_flag_definitions_received(&set("b"))
        .await
        .unwrap();
    reader
        .on_fetch_without_update(FetchOutcome::unchanged(&set("b")))
        .await
        .unwrap();
    reader.shutdown().await.unwrap();
    assert_eq!(
        store.methods(),
        [
            ProviderMethod::Attached,
            ProviderMethod::Get,
            ProviderMethod::Peek,
            ProviderMethod::Shutdown
        ]
    );
}

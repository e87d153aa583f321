//! B7: readiness, change events, and pollers beside one another.

use std::time::Duration;

use flagcache::{
    DefinitionsOrigin, FetchErrorKind, FlagDefinitionPoller, FleetStatus, MemoryStore,
    NotReadyError, OnUnauthorized, PollerState,
};
use flagcache_providers::testing::{ProviderMethod, Reply, ScriptedProvider};
use tokio::time::{Instant, sleep};

use crate::support::{Rig, body, millis, secs, set, stored};

#[tokio::test(start_paused = true)]
async fn b7_55_there_are_no_definitions_until_the_first_load_that_brought_some() {
    let rig = Rig::new();
    rig.api
        .then(Reply::failure(FetchErrorKind::Connect))
        .then(Reply::current().after(secs(1)));
    let worker = rig.start();
    assert!(worker.poller.definitions().is_none());
    let begin = Instant::now();
    let not_ready = worker.poller.wait_ready(secs(3)).await.unwrap_err();
    assert_eq!(begin.elapsed(), secs(3));
    let NotReadyError::Timeout {
        timeout: limit,
        last_error: Some(error),
    } = not_ready
    else {
        panic!("{not_ready:?}")
    };
    assert_eq!(
        (limit, format!("{error:#}")),
        (
            secs(3),
            "the flag definitions could not be fetched: scripted failure: connect".to_owned()
        )
    );
    assert_eq!(worker.poller.status().state, PollerState::Starting);
    worker.poller.wait_ready(secs(60)).await.unwrap();
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.poller.wait_ready(Duration::ZERO).await.unwrap();
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b7_55_empty_definitions_are_ready_and_a_cleared_memory_is_not() {
    let rig = Rig::following(set(r#"{"flags":[]}"#));
    let worker = rig.start_with(|builder| builder.on_unauthorized(OnUnauthorized::Clear));
    worker.poller.wait_ready(secs(1)).await.unwrap();
    assert_eq!(worker.poller.status().flags, Some(0));
    worker.provider.decision().always(true);
    worker
        .api
        .always(Reply::failure(FetchErrorKind::Unauthorized));
    worker.loads(2).await;
    assert!(worker.poller.wait_ready(secs(1)).await.is_err());
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b7_55_a_worker_without_a_key_learns_why_an_empty_store_leaves_it_without_definitions() {
    let rig = Rig::new();
    rig.provider.decision().always(false);
    rig.api.set_has_key(false);
    let worker = rig.start();
    let not_ready = worker
        .poller
        .wait_ready(secs(10))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        not_ready.contains("no source with a secret key") && not_ready.contains("no definitions"),
        "{not_ready}"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b7_55_waiting_ends_with_the_poller() {
    let rig = Rig::new();
    rig.api.always(Reply::hang());
    let worker = rig.start();
    let waiting = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.wait_ready(Duration::MAX).await }
    });
    worker.api.requested(1).await;
    worker.poller.shutdown().await.unwrap();
    assert!(matches!(
        waiting.await.unwrap(),
        Err(NotReadyError::Stopped)
    ));
    worker.finish().await;
}

/// `Duration::MAX` is how many write "never", or "as long as it takes".
#[tokio::test(start_paused = true)]
async fn b7_55_no_duration_is_too_long() {
    let rig = Rig::following_nothing();
    let worker = rig.start_with(|builder| {
        builder
            .poll_interval(Duration::MAX)
            .provider_timeout(Duration::MAX)
            .fetch_timeout(Duration::MAX)
            .shutdown_timeout(Duration::MAX)
            .cold_start_wait(Duration::MAX)
            .hedge_after(Duration::MAX)
            .fail_open_interval(Duration::MAX)
            .max_staleness(Duration::MAX)
    });
    worker.provider.called(ProviderMethod::Get, 2).await;
    worker.provider.context().unwrap().report(
        FleetStatus::new()
            .lease_ends_in(Duration::MAX)
            .confirmed_ago(Duration::MAX),
    );
    worker.provider.read().always(Some(stored("a", "\"a\"")));
    worker.poller.wait_ready(Duration::MAX).await.unwrap();
    worker.provider.decision().always(true);
    worker.api.then(Reply::failure_with_retry_after(
        FetchErrorKind::RateLimited,
        Duration::MAX,
    ));
    assert!(worker.poller.refresh().await.is_err());
    worker
        .poller
        .refresh_if_older_than(Duration::MAX)
        .await
        .unwrap();
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b7_56_each_applied_change_is_one_event() {
    let rig = Rig::new();
    rig.api.serve(
        r#"{"flags":[{"key":"keep"},{"key":"edit","v":1},{"key":"drop"}]}"#,
        Some("\"1\""),
    );
    rig.api.then(Reply::current().after(secs(1)));
    let worker = rig.start();
    let mut changes = worker.poller.subscribe();
    let first = changes.next().await.unwrap();
    assert_eq!(
        (first.version, first.origin),
        (1, Some(DefinitionsOrigin::Api))
    );
    assert_eq!(first.diff.added, ["keep", "edit", "drop"]);
    assert!(first.old.is_none());

    worker.loads(2).await;
    worker.api.serve(
        r#"{"flags":[{"key":"new"},{"key":"edit","v":2},{"key":"keep"}],"cohorts":{"1":{}}}"#,
        Some("\"2\""),
    );
    let second = changes.next().await.unwrap();
    assert_eq!(
        (second.version, second.origin),
        (2, Some(DefinitionsOrigin::Api))
    );
    assert_eq!(
        (second.diff.added, second.diff.removed, second.diff.changed),
        strings(["new"], ["drop"], ["edit"])
    );
    assert_eq!(second.diff.members, ["cohorts"]);
    assert_eq!(second.old, first.new);
    assert_eq!(second.new, worker.poller.definitions());

    worker.provider.decision().always(false);
    worker.provider.read().always(Some(stored("keep", "\"3\"")));
    let third = changes.next().await.unwrap();
    assert_eq!(
        (third.version, third.origin),
        (3, Some(DefinitionsOrigin::Cache))
    );
    assert_eq!(
        (third.diff.added, third.diff.removed, third.diff.changed),
        strings([], ["new", "edit"], ["keep"])
    );
    assert_eq!(worker.poller.status().version, 3);
    worker.poller.shutdown().await.unwrap();
    assert!(changes.next().await.is_none(), "the end");
    assert!(
        worker.poller.subscribe().next().await.is_none(),
        "a subscription after the end"
    );
    worker.finish().await;
}

fn strings<const A: usize, const B: usize, const C: usize>(
    added: [&str; A],
    removed: [&str; B],
    changed: [&str; C],
) -> (Vec<String>, Vec<String>, Vec<String>) {
    (
        added.map(str::to_owned).to_vec(),
        removed.map(str::to_owned).to_vec(),
        changed.map(str::to_owned).to_vec(),
    )
}

#[tokio::test(start_paused = true)]
async fn b7_56_a_lagging_subscriber_gets_the_sum_of_the_missed_changes() {
    let worker = Rig::new().start_with(|builder| builder.manual());
    worker.poller.refresh().await.unwrap();
    let mut changes = worker.poller.subscribe();
    for number in 0..100 {
        worker.api.serve(body(&format!("f{number}")), None);
        worker.poller.refresh().await.unwrap();
    }
    let mut events = Vec::new();
    while let Ok(Some(change)) = tokio::time::timeout(millis(1), changes.next()).await {
        events.push(change);
    }
    assert_eq!(events.len(), 64);
    assert_eq!(
        events[0].diff.removed,
        ["a"],
        "from the set that was seen last"
    );
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].new == pair[1].old && pair[0].version + 1 == pair[1].version)
    );
    assert_eq!(events[63].version, 101);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b7_57_two_pollers_are_independent() {
    let (one, other) = (
        Rig::new().start(),
        Rig::following(stored("b", "\"b\"")).start(),
    );
    one.loads(1).await;
    other.loads(1).await;
    assert_eq!(
        (one.key().as_deref(), other.key().as_deref()),
        (Some("a"), Some("b"))
    );
    one.poller.shutdown().await.unwrap();
    let loads = other.poller.status().counters.loads;
    other.loads(loads + 2).await;
    assert_eq!(
        (one.poller.status().state, other.poller.status().state),
        (PollerState::Stopped, PollerState::Ready)
    );
    one.finish().await;
    other.finish().await;
    // One store gives each its own.
    let store = MemoryStore::new();
    let api = Rig::new().api;
    let start = || {
        let builder = FlagDefinitionPoller::builder().source(api.clone());
        builder
            .flag_definition_cache_provider(store.provider())
            .start()
            .unwrap()
    };
    let pollers = [start(), start()];
    for poller in &pollers {
        poller.wait_ready(secs(1)).await.unwrap();
    }
    assert_eq!(api.count(), 1);
}

/// One provider serves one poller: it is handed over by value, and `flag_definition_cache_provider` has an example that
/// does not compile for one that is shared. Here: it is let go with its poller.
#[tokio::test(start_paused = true)]
async fn b7_57_a_dropped_poller_shuts_its_provider_down_once() {
    let rig = Rig::new();
    let scripted = ScriptedProvider::new();
    let poller = rig
        .builder()
        .flag_definition_cache_provider(scripted.clone())
        .start()
        .unwrap();
    poller.wait_ready(secs(1)).await.unwrap();
    drop(poller);
    sleep(secs(1)).await;
    assert_eq!(scripted.count(ProviderMethod::Attached), 1);
    assert_eq!(scripted.count(ProviderMethod::Shutdown), 1);
}

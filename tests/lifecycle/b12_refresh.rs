//! B12: requests for a refresh.

use std::time::Duration;

use flagcache::{
    FetchErrorKind, FlagDefinitionPoller, MemoryStore, ProviderErrorKind, RefreshError,
};
use flagcache_providers::testing::{
    Answer, CallEnd, Fault, Latch, ProviderMethod, Reply, ScriptedSource,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Logs, Rig, body, millis, secs, stored};

use ProviderMethod::{RequestRefresh, ShouldFetch, Shutdown};

const MINUTES: Duration = Duration::from_secs(600);

/// A fleet over one memory store, whose members poll every ten minutes.
async fn fleet(api: &ScriptedSource, members: usize) -> Vec<FlagDefinitionPoller> {
    let store = MemoryStore::new();
    let start = || {
        FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(store.provider())
            .poll_interval(MINUTES)
            .start()
            .unwrap()
    };
    let fleet: Vec<_> = (0..members).map(|_| start()).collect();
    for member in &fleet {
        member.wait_ready(secs(10)).await.unwrap();
    }
    sleep(secs(10)).await;
    fleet
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_request_of_any_worker_reaches_all_at_once() {
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let fleet = fleet(&api, 5).await;
    for (number, member) in fleet.iter().enumerate() {
        let key = format!("after-{number}");
        api.serve(body(&key), Some(&format!("\"{key}\"")));
        let begin = Instant::now();
        member.request_refresh().await.unwrap();
        let all = async {
            while fleet
                .iter()
                .any(|member| member.definitions().unwrap().flags().next().unwrap().key() != key)
            {
                sleep(millis(1)).await;
            }
        };
        timeout(secs(1), all).await.unwrap();
        assert!(begin.elapsed() < millis(100), "{:?}", begin.elapsed());
        sleep(secs(10)).await;
    }
    assert_eq!(api.count(), 1 + fleet.len(), "one request each");
    join_all(fleet.iter().map(FlagDefinitionPoller::shutdown)).await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_the_leader_asks_again_after_one_and_three_seconds() {
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let fleet = fleet(&api, 2).await;
    let before = api.count();
    let begin = Instant::now();
    fleet[1].request_refresh().await.unwrap();
    sleep(secs(60)).await;
    let requests = api.requests();
    let asked: Vec<_> = requests[before..]
        .iter()
        .map(|request| (request.started - begin).as_secs())
        .collect();
    assert_eq!(asked, [0, 1, 3]);
    join_all(fleet.iter().map(FlagDefinitionPoller::shutdown)).await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_storm_from_every_worker_costs_one_request_a_second() {
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let fleet = fleet(&api, 5).await;
    let before = api.count();
    let storm = fleet.iter().map(|member| async move {
        let end = Instant::now() + secs(10);
        while Instant::now() < end {
            let _ = timeout(millis(1), member.request_refresh()).await;
            sleep(millis(1)).await;
        }
    });
    join_all(storm).await;
    let during = api.count() - before;
    assert!((9..=11).contains(&during), "{during} requests in 10 s");
    sleep(secs(60)).await;
    assert!(
        api.count() - before <= during + 4,
        "{}",
        api.count() - before
    );
    join_all(fleet.iter().map(FlagDefinitionPoller::shutdown)).await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_the_next_leader_carries_out_what_none_could() {
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let mut fleet = fleet(&api, 2).await;
    let is_leader = |member: &FlagDefinitionPoller| member.status().role == flagcache::Role::Leader;
    let leader = fleet.swap_remove(fleet.iter().position(is_leader).unwrap());
    leader.shutdown().await.unwrap();
    api.serve(body("b"), Some("\"b\""));
    fleet[0].request_refresh().await.unwrap();
    // It may have fetched just before, when it acquired leadership: then one second later.
    sleep(millis(1_100)).await;
    let flags = fleet[0].definitions().unwrap();
    assert_eq!(flags.flags().next().unwrap().key(), "b");
    fleet[0].shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b12_84_no_request_is_sent_during_a_backoff() {
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let fleet = fleet(&api, 2).await;
    let before = api.count();
    api.then(Reply::failure_with_retry_after(
        FetchErrorKind::RateLimited,
        MINUTES * 3,
    ));
    fleet[0].request_refresh().await.unwrap();
    sleep(secs(1)).await;
    assert_eq!(api.count(), before + 1);
    for _ in 0..100 {
        fleet[1].request_refresh().await.unwrap();
        sleep(secs(1)).await;
    }
    assert_eq!(api.count(), before + 1);
    join_all(fleet.iter().map(FlagDefinitionPoller::shutdown)).await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_without_a_store_that_carries_it_the_worker_asks_itself() {
    let rig = Rig::following(stored("a", "\"a\""));
    rig.provider.refresh_request().always(false);
    rig.api.serve(body("b"), Some("\"b\""));
    let worker = rig.start();
    worker.loads(1).await;
    sleep(secs(1)).await;
    worker.poller.request_refresh().await.unwrap();
    worker.loads(2).await;
    assert_eq!(
        (worker.key().as_deref(), worker.api.count()),
        (Some("b"), 1)
    );
    worker.finish().await;

    // Without a provider at all.
    let api = ScriptedSource::new();
    api.serve(body("a"), Some("\"a\""));
    let alone = FlagDefinitionPoller::builder()
        .source(api.clone())
        .start()
        .unwrap();
    alone.wait_ready(secs(1)).await.unwrap();
    alone.request_refresh().await.unwrap();
    sleep(millis(10)).await;
    assert_eq!(api.count(), 2);
    alone.shutdown().await.unwrap();

    // Without a key either, there is no way.
    let rig = Rig::following(stored("a", "\"a\""));
    rig.provider.refresh_request().always(false);
    let reader = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(rig.provider.clone())
        .start()
        .unwrap();
    let error = reader.request_refresh().await.unwrap_err();
    let text = with_causes(&error);
    assert!(text.contains("no secret key"), "{text}");
    reader.shutdown().await.unwrap();
}

/// An error and its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn b12_84_an_error_of_the_store_is_returned_and_harms_nothing() {
    let (logs, _listening) = Logs::capture();
    let rig = Rig::new();
    rig.provider
        .refresh_request()
        .then_fault(Fault::Error(ProviderErrorKind::Unavailable))
        .then_fault(Fault::Panic)
        .then_fault(Fault::Hang);
    let worker = rig.start();
    worker.loads(1).await;
    for kind in ["unavailable", "panic", "timeout"] {
        let error = worker.poller.request_refresh().await.unwrap_err();
        let RefreshError::Failed(flagcache::LoadError::Provider { method, error }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((method, error.kind().as_str()), (RequestRefresh, kind));
    }
    assert_eq!(worker.key().as_deref(), Some("a"));
    let status = worker.poller.status();
    assert!(status.last_error.is_none(), "it belongs to no load");
    assert_eq!(status.counters.provider_faults, 3);
    assert_eq!(logs.warnings().len(), 3);
    worker.poller.request_refresh().await.unwrap();
    assert_eq!(worker.poller.status().counters.refresh_requests, 1);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_requests_share_a_call_and_calls_are_at_most_ten_a_second() {
    let worker = Rig::following(stored("a", "\"a\"")).start();
    worker.loads(1).await;
    let begin = Instant::now();
    let requests = (0..1000).map(|number| {
        let poller = worker.poller.clone();
        async move {
            sleep(millis(number)).await;
            poller.request_refresh().await.unwrap();
        }
    });
    join_all(requests).await;
    let calls = worker.provider.count(RequestRefresh);
    assert!((10..=12).contains(&calls), "{calls} calls");
    assert!(begin.elapsed() < millis(1200), "{:?}", begin.elapsed());
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_request_does_not_wait_for_a_load_and_goes_on_without_its_caller() {
    let rig = Rig::new();
    rig.provider.decision().always_fault(Fault::Hang);
    rig.provider
        .refresh_request()
        .always(Answer::value(true).after(millis(500)));
    let worker = rig.start();
    worker.provider.called(ShouldFetch, 1).await;
    let begin = Instant::now();
    assert!(
        timeout(millis(100), worker.poller.request_refresh())
            .await
            .is_err()
    );
    worker.provider.ended(RequestRefresh, 1).await;
    assert_eq!(begin.elapsed(), millis(500));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_a_shutdown_cancels_the_call_and_is_the_last_one() {
    let rig = Rig::following(stored("a", "\"a\""));
    rig.provider
        .refresh_request()
        .always(Answer::value(true).once_open(&Latch::new()));
    let worker = rig.start();
    worker.loads(1).await;
    let waiting = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.request_refresh().await }
    });
    worker.provider.called(RequestRefresh, 1).await;
    let begin = Instant::now();
    worker.poller.shutdown().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(matches!(waiting.await.unwrap(), Err(RefreshError::Stopped)));
    let calls = worker.provider.calls();
    let [.., request, shutdown] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(request.ended.unwrap().1, CallEnd::Dropped);
    assert_eq!(
        (request.method, shutdown.method),
        (RequestRefresh, Shutdown)
    );
    let after = worker.poller.request_refresh().await;
    assert!(matches!(after, Err(RefreshError::Stopped)));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b12_84_in_manual_mode_the_task_is_idle_again_after_the_request() {
    let worker = Rig::new().start_with(|builder| builder.manual());
    worker.poller.refresh().await.unwrap();
    worker.poller.request_refresh().await.unwrap();
    sleep(secs(60)).await;
    // It leads itself: the request, and two more because nothing was new.
    assert_eq!(worker.api.count(), 4);
    worker.finish().await;
}

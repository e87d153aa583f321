//! B1: the decision, and what a load does after it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flagcache::{
    DefinitionsOrigin, FetchError, FetchErrorKind, FlagDefinitionCacheData,
    FlagDefinitionCacheProvider, FlagDefinitionPoller, FlagDefinitionSource, LoadError,
    PollerState, PostHogApi, ProviderError, ProviderErrorKind, ReadFailure, RefreshError, Role,
};
use flagcache_providers::testing::{Answer, Fault, Latch, ProviderMethod, Reply};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Logs, Rig, TICK, body, foreign, millis, secs, stored};

use ProviderMethod::{FetchWithoutUpdate, Get, Peek, Received, ShouldFetch};

const DOWN: Fault = Fault::Error(ProviderErrorKind::Unavailable);

#[tokio::test(start_paused = true)]
async fn b1_01_the_decision_is_asked_once_per_load_before_any_http() {
    let rig = Rig::new();
    let gate = Latch::new();
    rig.provider
        .decision()
        .then(Answer::value(true).once_open(&gate));
    let worker = rig.start_with(|builder| builder.hedge_after(None));
    sleep(secs(1)).await;
    assert_eq!(
        (worker.methods(), worker.api.count()),
        (vec![ShouldFetch], 0)
    );
    gate.open();
    worker.loads(3).await;
    assert_eq!(
        (worker.provider.count(ShouldFetch), worker.api.count()),
        (3, 3)
    );
    for (decision, request) in worker
        .provider
        .calls()
        .iter()
        .filter(|call| call.method == ShouldFetch)
        .zip(worker.api.requests())
    {
        assert!(decision.ended.unwrap().0 <= request.started);
    }
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_02_true_and_warm_reads_nothing_and_publishes_once_what_memory_already_has() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    let before = worker.methods().len();
    let gate = Latch::new();
    worker
        .provider
        .publish()
        .then(Answer::value(()).once_open(&gate));
    worker.api.serve(body("b"), Some("\"b\""));
    worker.provider.called(Received, 2).await;
    assert_eq!(
        worker.key().as_deref(),
        Some("b"),
        "memory first, then publish"
    );
    gate.open();
    worker.loads(2).await;
    assert_eq!(worker.methods()[before..], [ShouldFetch, Received]);
    assert_eq!(worker.api.count(), 2);
    assert_eq!(
        worker.provider.published()[1],
        worker.poller.definitions().unwrap()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_03_false_and_hit_uses_no_http() {
    let worker = Rig::following(stored("a", "\"a\"")).start();
    worker.loads(1).await;
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.provider.read().always(Some(stored("b", "\"b\"")));
    worker.loads(3).await;
    assert_eq!(worker.key().as_deref(), Some("b"));
    assert_eq!(worker.methods(), [ShouldFetch, Get].repeat(3));
    assert_eq!(worker.api.count(), 0);
    let status = worker.poller.status();
    assert_eq!(
        (status.role, status.origin, status.state),
        (
            Role::Follower,
            Some(DefinitionsOrigin::Cache),
            PollerState::Ready
        )
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_04_a_cold_leader_asks_for_the_stored_copy_once_and_pays_one_unit() {
    for fault in [None, Some(DOWN)] {
        let rig = Rig::new();
        rig.provider.stored().always(Some(stored("a", "\"a\"")));
        if let Some(fault) = fault {
            rig.provider.decision().always_fault(fault);
        }
        let gate = Latch::new();
        rig.api.then(Reply::current().once_open(&gate));
        let worker = rig.start();
        worker.api.requested(1).await;
        assert_eq!(worker.methods(), [ShouldFetch, Peek], "{fault:?}");
        assert_eq!(
            worker.key().as_deref(),
            Some("a"),
            "{fault:?}: the stored copy serves meanwhile"
        );
        assert_eq!(
            worker.poller.status().state,
            PollerState::Stale,
            "{fault:?}: it is unconfirmed"
        );
        gate.open();
        worker.loads(2).await;
        assert_eq!(
            worker.api.etags_sent()[0].as_deref(),
            Some("\"a\""),
            "{fault:?}"
        );
        assert_eq!(
            worker.poller.status().state,
            PollerState::Ready,
            "{fault:?}"
        );
        assert_eq!(worker.api.units(), worker.api.count() as u64, "{fault:?}");
        assert_eq!(worker.provider.count(Peek), 1, "{fault:?}");
        worker.finish().await;
    }
}

/// A provider with the seed's methods and nothing else.
#[derive(Clone, Default)]
struct FourMethods {
    calls: Arc<[AtomicUsize; 4]>,
}

#[async_trait]
impl FlagDefinitionCacheProvider for FourMethods {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.calls[0].fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.calls[1].fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    async fn on_flag_definitions_received(
        &self,
        _: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.calls[2].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.calls[3].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn b1_04_a_provider_of_four_methods_sees_no_other_calls() {
    let rig = Rig::new();
    let provider = FourMethods::default();
    let worker = rig.start_with(|builder| builder.flag_definition_cache_provider(provider.clone()));
    worker.loads(3).await;
    worker.poller.shutdown().await.unwrap();
    // Three decisions; a new set once, then twice a 304; nothing read.
    assert_eq!(
        provider
            .calls
            .each_ref()
            .map(|calls| calls.load(Ordering::Relaxed)),
        [3, 0, 1, 1]
    );
    assert_eq!(worker.api.units(), 12);
}

#[tokio::test(start_paused = true)]
async fn b1_05_a_cold_worker_reads_once_after_a_failed_get() {
    for (fault, expected) in [
        (None, vec![ShouldFetch, Peek, Get, FetchWithoutUpdate]),
        (Some(DOWN), vec![ShouldFetch, Peek, Get]),
    ] {
        let rig = Rig::new();
        rig.api.always(Reply::failure(FetchErrorKind::Server));
        rig.provider.read().always(Some(stored("kept", "\"k\"")));
        if let Some(fault) = fault {
            rig.provider.decision().always_fault(fault);
        }
        let worker = rig.start();
        worker.loads(1).await;
        assert_eq!(worker.methods(), expected, "{fault:?}");
        assert_eq!(worker.key().as_deref(), Some("kept"), "{fault:?}");
        let status = worker.poller.status();
        assert_eq!(
            (status.state, status.origin),
            (PollerState::Stale, Some(DefinitionsOrigin::Cache)),
            "{fault:?}"
        );
        worker.finish().await;
    }
    // A follower without a copy, after its wait for the leader.
    let rig = Rig::following_nothing();
    rig.api.always(Reply::failure(FetchErrorKind::Server));
    let worker = rig.start_with(|builder| builder.cold_start_wait(Duration::ZERO));
    worker.loads(1).await;
    assert_eq!(worker.methods(), [ShouldFetch, Get, Get]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_06_a_cold_follower_repeats_short_loads_then_reads_once_more_then_fetches() {
    let rig = Rig::following_nothing();
    rig.api.then(Reply::current().after(millis(1)));
    let worker = rig.start();
    let begin = Instant::now();
    worker.api.requested(1).await;
    let waited = begin.elapsed();
    assert!(
        (secs(5)..secs(6) + millis(500)).contains(&waited),
        "{waited:?}"
    );
    let methods = worker.methods();
    let (short, last) = methods.split_at(methods.len() - 1);
    assert_eq!(last, [Get], "one more read before the request");
    assert!(
        short.chunks(2).all(|load| load == [ShouldFetch, Get]),
        "{methods:?}"
    );
    // 5 s of pauses of 200 to 400 ms.
    assert!(
        (13..=26).contains(&(short.len() / 2)),
        "{}",
        short.len() / 2
    );
    let decisions: Vec<Instant> = worker
        .provider
        .calls()
        .iter()
        .filter(|call| call.method == ShouldFetch)
        .map(|call| call.started)
        .collect();
    for pair in decisions.windows(2) {
        assert!(
            (millis(200)..=millis(402)).contains(&(pair[1] - pair[0])),
            "{:?}",
            pair[1] - pair[0]
        );
    }
    worker.loads(1).await;
    assert_eq!(
        (worker.api.count(), worker.key().as_deref()),
        (1, Some("a"))
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_06_workers_that_wait_for_a_hung_leader_fetch_with_jitter() {
    let begin = Instant::now();
    let workers: Vec<_> = (0..20).map(|_| Rig::following_nothing().start()).collect();
    for worker in &workers {
        worker.loads(1).await;
    }
    let mut sent: Vec<Duration> = workers
        .iter()
        .map(|worker| worker.api.requests()[0].started - begin)
        .collect();
    sent.sort();
    assert!(sent[19] - sent[0] > millis(400), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn b1_06_a_change_notification_ends_the_pause_at_once() {
    let worker = Rig::following_nothing().start();
    worker.provider.ended(Get, 3).await;
    sleep(millis(30)).await;
    worker.provider.read().always(Some(stored("new", "\"n\"")));
    let notified_at = Instant::now();
    worker.provider.context().unwrap().notify_changed();
    worker.loads(1).await;
    assert!(
        notified_at.elapsed() <= millis(2),
        "{:?}",
        notified_at.elapsed()
    );
    assert_eq!(
        (worker.key().as_deref(), worker.api.count()),
        (Some("new"), 0)
    );
    worker.finish().await;
}

/// The publish may fall between the read's look at the store and its answer.
#[tokio::test(start_paused = true)]
async fn b1_06_a_change_notification_during_a_short_load_is_not_missed() {
    let rig = Rig::following_nothing();
    let gate = Latch::new();
    rig.provider
        .read()
        .then(Answer::value(None).once_open(&gate))
        .always(Some(stored("new", "\"n\"")));
    let worker = rig.start_with(|builder| builder.hedge_after(None));
    worker.provider.called(Get, 1).await;
    worker.provider.context().unwrap().notify_changed();
    sleep(millis(5)).await;
    let notified_at = Instant::now();
    gate.open();
    worker.loads(1).await;
    assert!(
        notified_at.elapsed() <= millis(50),
        "{:?}",
        notified_at.elapsed()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_06_a_store_that_notifies_constantly_causes_no_busy_loop() {
    let worker = Rig::following_nothing().start();
    let context = worker.provider.context().unwrap();
    let shouting = tokio::spawn(async move {
        loop {
            context.notify_changed();
            sleep(millis(1)).await;
        }
    });
    sleep(secs(2)).await;
    shouting.abort();
    // Fifty loads a second at the most.
    assert!(
        worker.provider.count(ShouldFetch) <= 102,
        "{}",
        worker.provider.count(ShouldFetch)
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_06_no_cold_start_wait_fetches_at_once() {
    let rig = Rig::following_nothing();
    rig.api.then(Reply::current().after(millis(1)));
    let worker = rig.start_with(|builder| builder.cold_start_wait(Duration::ZERO));
    let begin = Instant::now();
    worker.api.requested(1).await;
    assert!(begin.elapsed() <= millis(5), "{:?}", begin.elapsed());
    assert_eq!(worker.methods(), [ShouldFetch, Get]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_07_a_direct_get_is_published_only_into_a_cache_that_is_still_empty() {
    let no_wait = |rig: &Rig| rig.start_with(|builder| builder.cold_start_wait(Duration::ZERO));
    let worker = no_wait(&Rig::following_nothing());
    worker.loads(1).await;
    assert_eq!(worker.methods(), [ShouldFetch, Get, Get, Received]);
    assert_eq!(worker.published(), ["a"]);
    worker.finish().await;

    let rig = Rig::following_nothing();
    rig.provider
        .read()
        .then(None)
        .then(Some(stored("theirs", "\"t\"")));
    let worker = no_wait(&rig);
    worker.loads(1).await;
    assert_eq!(worker.methods(), [ShouldFetch, Get, Get]);
    worker.finish().await;

    // A store that cannot be read is not known to be empty.
    let rig = Rig::following_nothing();
    rig.provider.read().then(None).then_fault(DOWN);
    let worker = no_wait(&rig);
    worker.loads(1).await;
    assert_eq!(worker.methods(), [ShouldFetch, Get, Get]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_08_false_and_empty_and_warm_keeps_memory_without_http() {
    let rig = Rig::following(stored("a", "\"a\""));
    rig.provider
        .read()
        .then(Some(stored("a", "\"a\"")))
        .always(None);
    let worker = rig.start();
    worker.loads(4).await;
    assert_eq!(
        (worker.key().as_deref(), worker.api.count()),
        (Some("a"), 0)
    );
    assert_eq!(worker.methods(), [ShouldFetch, Get].repeat(4));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_09_cold_and_the_read_fails_fetches_at_once() {
    for fault in [DOWN, Fault::Panic, Fault::Undecodable] {
        let rig = Rig::following_nothing();
        rig.provider.read().always_fault(fault);
        let worker = rig.start();
        let begin = Instant::now();
        worker.loads(1).await;
        assert!(
            begin.elapsed() <= millis(5),
            "{fault:?}: {:?}",
            begin.elapsed()
        );
        assert_eq!(
            (worker.key().as_deref(), worker.api.count()),
            (Some("a"), 1),
            "{fault:?}"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b1_09_a_hung_store_does_not_block_a_new_worker() {
    type Break = fn(&Rig);
    let cases: [(&str, Break); 3] = [
        ("decision", |rig| {
            rig.provider.decision().always_fault(Fault::Hang);
        }),
        ("read", |rig| {
            rig.provider.decision().always(false);
            rig.provider.read().always_fault(Fault::Hang);
        }),
        ("stored copy", |rig| {
            rig.provider.stored().always_fault(Fault::Hang);
        }),
    ];
    for (what, hang) in cases {
        let rig = Rig::new();
        hang(&rig);
        let worker = rig.start();
        let begin = Instant::now();
        worker.poller.wait_ready(secs(10)).await.unwrap();
        let ready = begin.elapsed();
        assert!(
            (secs(1)..secs(1) + millis(10)).contains(&ready),
            "{what}: {ready:?}"
        );
        worker.loads(1).await;
        assert_eq!(worker.api.count(), 1, "{what}: one request per load");
        worker.finish().await;
    }
}

/// The last read of a cold start is hedged as the others are.
#[tokio::test(start_paused = true)]
async fn b1_09_a_read_that_hangs_at_the_end_of_the_wait_is_hedged_too() {
    // Whether the pause after the first read ends before the moment drawn for the last one is chance.
    let workers: Vec<_> = (0..30)
        .map(|_| {
            let rig = Rig::following_nothing();
            rig.provider
                .decision()
                .then(false)
                .always_fault(Fault::Hang);
            rig.provider.read().then(None).always_fault(Fault::Hang);
            rig.start_with(|builder| builder.cold_start_wait(millis(100)))
        })
        .collect();
    for worker in workers {
        worker.poller.wait_ready(secs(10)).await.unwrap();
        let sent = worker.api.requests()[0].started;
        let calls = worker.provider.calls();
        let hung = calls.iter().rfind(|call| call.started < sent).unwrap();
        assert!(
            sent - hung.started <= millis(1005),
            "{:?} after {}",
            sent - hung.started,
            hung.method
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b1_09_a_decision_that_comes_back_true_late_adopts_the_request() {
    for (decision, answer) in [(1500, 10), (1500, 1000)] {
        let rig = Rig::new();
        rig.provider
            .decision()
            .then(Answer::value(true).after(millis(decision)));
        rig.api.then(Reply::current().after(millis(answer)));
        let worker = rig.start();
        worker.loads(1).await;
        assert_eq!(worker.api.count(), 1);
        assert_eq!(
            worker.methods(),
            [ShouldFetch, Received],
            "as a leader: no second read before it publishes"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b1_10_an_outage_fetches_once_and_then_keeps_to_the_fail_open_interval() {
    type Break = fn(&Rig);
    let cases: [(&str, Break); 2] = [
        ("decision", |rig| {
            rig.provider.decision().always_fault(DOWN);
        }),
        ("read", |rig| {
            rig.provider.read().always_fault(DOWN);
        }),
    ];
    for (what, fail) in cases {
        let rig = Rig::following(stored("a", "\"a\""));
        let worker = rig.start_with(|builder| builder.fail_open_interval(secs(300)));
        worker.loads(1).await;
        fail(&rig);
        worker.api.requested(1).await;
        assert_eq!(
            worker.api.etags_sent(),
            [Some("\"a\"".to_owned())],
            "{what}: soon, and conditional"
        );
        let snapshot = worker.poller.definitions().unwrap();
        let address =
            |set: &FlagDefinitionCacheData| set.flags().next().map(|flag| flag.json().as_ptr());
        sleep(secs(290)).await;
        assert_eq!(worker.api.count(), 1, "{what}");
        assert_eq!(
            address(&worker.poller.definitions().unwrap()),
            address(&snapshot),
            "{what}: the very same snapshot"
        );
        worker.api.requested(4).await;
        for gap in worker.gaps() {
            assert!(
                (secs(300)..=secs(330) + TICK).contains(&gap),
                "{what}: {gap:?}"
            );
        }
        assert_eq!(
            worker
                .methods()
                .iter()
                .filter(|method| **method == Received)
                .count(),
            0,
            "{what}"
        );
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b1_10_the_fail_open_interval_defaults_to_four_poll_intervals() {
    let worker = Rig::following(stored("a", "\"a\"")).start();
    worker.loads(1).await;
    worker.provider.read().always_fault(DOWN);
    worker.api.requested(4).await;
    for gap in worker.gaps() {
        assert!((secs(120)..=secs(132) + TICK).contains(&gap), "{gap:?}");
    }
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_10_a_notification_never_causes_a_fetch() {
    let rig = Rig::following(stored("a", "\"a\""));
    let worker = rig.start_with(|builder| builder.fail_open_interval(millis(1)));
    worker.loads(1).await;
    rig.provider.decision().always_fault(DOWN);
    for load in 2..6 {
        worker.provider.context().unwrap().notify_changed();
        worker.loads(load).await;
    }
    assert_eq!(worker.api.count(), 0);
    worker.api.requested(1).await;
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_10_read_failure_keep_sends_nothing_while_warm() {
    let rig = Rig::following(stored("a", "\"a\""));
    let worker = rig.start_with(|builder| builder.read_failure(ReadFailure::Keep));
    worker.loads(1).await;
    rig.provider.decision().always_fault(DOWN);
    worker.loads(10).await;
    assert_eq!(
        (worker.api.count(), worker.key().as_deref()),
        (0, Some("a"))
    );
    worker.finish().await;

    let rig = Rig::following_nothing();
    rig.provider.read().always_fault(DOWN);
    let worker = rig.start_with(|builder| builder.read_failure(ReadFailure::Keep));
    worker.loads(1).await;
    assert_eq!(
        worker.key().as_deref(),
        Some("a"),
        "a cold worker always fetches"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_11_without_a_key_the_worker_only_reads() {
    let rig = Rig::following(stored("a", "\"a\""));
    rig.api.set_has_key(false);
    let worker = rig.start();
    worker.loads(2).await;
    worker.provider.read().then_fault(DOWN).then(None);
    worker.loads(4).await;
    worker.poller.refresh().await.unwrap();
    assert_eq!(worker.methods(), [Get].repeat(5));
    assert_eq!(
        (worker.key().as_deref(), worker.poller.status().role),
        (Some("a"), Role::Reader)
    );
    assert_eq!(worker.api.count(), 0);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_11_a_reader_of_an_empty_store_sends_nothing_either() {
    let rig = Rig::following_nothing();
    rig.api.set_has_key(false);
    let worker = rig.start();
    worker.loads(3).await;
    assert!(
        worker.methods().iter().all(|method| *method == Get),
        "{:?}",
        worker.methods()
    );
    assert_eq!((worker.key(), worker.api.count()), (None, 0));
    worker.finish().await;
}

#[tokio::test]
async fn b1_12_the_source_itself_refuses_to_send_without_a_key() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    for key in [None, Some(""), Some("  ")] {
        let mut builder = PostHogApi::builder()
            .host(host.clone())
            .project_key("phc_project");
        if let Some(key) = key {
            builder = builder.secret_key(key);
        }
        let api = builder.build().unwrap();
        assert!(!api.can_fetch());
        assert_eq!(
            api.fetch(None).await.unwrap_err().kind(),
            FetchErrorKind::Unauthorized
        );
    }
    assert!(
        timeout(millis(100), listener.accept()).await.is_err(),
        "somebody connected"
    );
}

#[tokio::test(start_paused = true)]
async fn b1_13_without_a_provider_the_poller_polls() {
    let rig = Rig::new();
    let poller = FlagDefinitionPoller::builder()
        .source(rig.api.clone())
        .poll_interval(secs(30))
        .start()
        .unwrap();
    poller.wait_ready(secs(1)).await.unwrap();
    rig.api.serve(body("b"), Some("\"b\""));
    rig.api.requested(3).await;
    sleep(millis(1)).await;
    assert_eq!(
        poller.definitions().unwrap().flags().next().unwrap().key(),
        "b"
    );
    assert_eq!(rig.api.units(), 21, "a 200, another one, a 304");
    assert_eq!(poller.status().role, Role::Leader);
    poller.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b1_14_concurrent_refreshes_share_one_load() {
    for (rig, requests, reads) in [
        (Rig::new(), 1, 0),
        (Rig::following(stored("a", "\"a\"")), 0, 1),
    ] {
        let worker = rig.start();
        worker.loads(1).await;
        let (decided, read, sent) = (
            worker.provider.count(ShouldFetch),
            worker.provider.count(Get),
            worker.api.count(),
        );
        worker
            .provider
            .decision()
            .then(Answer::fault(Fault::Slow(millis(100))));
        let calls: Vec<_> = (0..5)
            .map(|_| {
                let poller = worker.poller.clone();
                tokio::spawn(async move { poller.refresh().await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(worker.provider.count(ShouldFetch) - decided, 1);
        assert_eq!(worker.provider.count(Get) - read, reads);
        assert_eq!(worker.api.count() - sent, requests);
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b1_15_the_next_tick_is_a_jittered_interval_after_the_end_of_a_load() {
    let rig = Rig::new();
    rig.api.always(Reply::current().after(secs(10)));
    let worker = rig.start();
    worker.loads(20).await;
    let requests = worker.api.requests();
    let gaps: Vec<Duration> = requests
        .windows(2)
        .map(|pair| pair[1].started - pair[0].ended.unwrap())
        .collect();
    assert!(
        gaps.iter()
            .all(|gap| (secs(27)..=secs(33) + millis(5)).contains(gap)),
        "{gaps:?}"
    );
    assert!(
        gaps.iter()
            .max()
            .unwrap()
            .abs_diff(*gaps.iter().min().unwrap())
            > secs(1),
        "jitter: {gaps:?}"
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_15_a_suspended_process_catches_up_with_one_load() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    tokio::time::advance(secs(3600)).await;
    worker.loads(2).await;
    sleep(secs(20)).await;
    assert_eq!(worker.poller.status().counters.loads, 2);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_15_a_slow_load_queues_no_second_one() {
    let rig = Rig::new();
    rig.api.then(Reply::current().after(secs(12)));
    let worker = rig.start_with(|builder| builder.poll_interval(secs(1)));
    worker.api.requested(1).await;
    for _ in 0..10 {
        worker.provider.context().unwrap().notify_changed();
        sleep(secs(1)).await;
    }
    assert_eq!(
        (worker.provider.count(ShouldFetch), worker.api.count()),
        (1, 1)
    );
    worker.loads(1).await;
    let ended = Instant::now();
    sleep(millis(500)).await;
    // Ten notifications are one load, which is no reason to send a request.
    assert_eq!(
        (worker.provider.count(ShouldFetch), worker.api.count()),
        (2, 1),
        "{:?}",
        ended.elapsed()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_15_a_shutdown_during_a_load_schedules_none() {
    let rig = Rig::new();
    rig.api.always(Reply::hang());
    let worker = rig.start();
    worker.api.requested(1).await;
    worker.poller.shutdown().await.unwrap();
    let calls = worker.methods();
    sleep(secs(300)).await;
    assert_eq!((worker.methods(), worker.api.count()), (calls, 1));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_16_in_manual_mode_loads_run_only_on_demand() {
    let worker = Rig::new().start_with(|builder| builder.manual());
    sleep(secs(600)).await;
    worker.provider.context().unwrap().notify_changed();
    sleep(secs(600)).await;
    assert_eq!((worker.methods().len(), worker.api.count()), (0, 0));

    worker.poller.refresh().await.unwrap();
    assert_eq!(
        (worker.key().as_deref(), worker.api.count()),
        (Some("a"), 1)
    );
    sleep(secs(59)).await;
    worker.poller.refresh_if_older_than(secs(60)).await.unwrap();
    assert_eq!(worker.api.count(), 1, "young enough");
    sleep(secs(2)).await;
    worker.poller.refresh_if_older_than(secs(60)).await.unwrap();
    assert_eq!(worker.api.count(), 2);
    sleep(secs(3600)).await;
    assert_eq!(worker.api.count(), 2);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_16_in_manual_mode_a_failure_is_returned_to_the_caller_and_the_next_call_tries_again() {
    let rig = Rig::new();
    rig.api.then(Reply::failure(FetchErrorKind::Connect));
    let worker = rig.start_with(|builder| builder.manual());
    let error = worker
        .poller
        .refresh_if_older_than(secs(60))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RefreshError::Failed(LoadError::Fetch(cause)) if cause.kind() == FetchErrorKind::Connect),
        "{error:?}"
    );
    worker.poller.refresh_if_older_than(secs(60)).await.unwrap();
    assert_eq!(worker.key().as_deref(), Some("a"));
    worker.finish().await;
}

/// A refresh that the backoff turned into nothing has not refreshed.
#[tokio::test(start_paused = true)]
async fn b1_16_a_refresh_that_the_backoff_defers_is_an_error() {
    let rig = Rig::new();
    rig.api.then(Reply::failure(FetchErrorKind::QuotaLimited));
    let (logs, _guard) = Logs::capture();
    let worker = rig.start_with(|builder| builder.manual());
    assert!(worker.poller.refresh().await.is_err());
    let error = worker.poller.refresh().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no request was sent because of the backoff after an earlier failure"
    );
    assert!(format!("{error:#}").contains("quota_limited"), "{error:#}");
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    assert_eq!(
        cause.map(FetchError::kind),
        Some(FetchErrorKind::QuotaLimited)
    );
    assert_eq!(worker.api.count(), 1, "put off");
    let status = worker.poller.status();
    assert_eq!(status.last_success_ago, None);
    assert!(status.last_error.is_some());
    assert_eq!(
        status.counters.units_saved, 0,
        "what was not allowed is not saved"
    );
    assert_eq!(logs.warnings().len(), 1, "{:?}", logs.warnings());
    sleep(secs(600)).await;
    worker.poller.refresh().await.unwrap();
    assert!(worker.poller.status().last_error.is_none());
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b1_10_a_copy_of_another_sdk_makes_the_request_of_an_outage_unconditional() {
    let worker = Rig::following(foreign("a")).start();
    worker.loads(1).await;
    worker.provider.read().always_fault(DOWN);
    worker.api.requested(1).await;
    assert_eq!(worker.api.etags_sent(), [None]);
    worker.finish().await;
}

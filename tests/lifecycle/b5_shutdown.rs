//! B5: the end, in whatever way it comes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use flagcache::{
    FlagDefinitionCacheData, FlagDefinitionPoller, NotReadyError, PollerState, ProviderErrorKind,
    RefreshError, ShutdownError, StartError, flag_cache_provider,
};
use flagcache_providers::testing::{
    Answer, CallEnd, Fault, Latch, ProviderMethod, Reply, ScriptedProvider,
};
use flagcache_test_support::{Process, wait_until};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Rig, millis, secs, stored};

use ProviderMethod::{Get, Received, ShouldFetch, Shutdown};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Waits on the real clock, from any thread.
fn until(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, secs(20), condition);
}

#[tokio::test(start_paused = true)]
async fn b5_45_provider_shutdown_is_called_once_after_repeated_shutdowns() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let poller = worker.poller.clone();
            tokio::spawn(async move { poller.shutdown().await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    worker.poller.shutdown().await.unwrap();
    let provider = worker.provider.clone();
    drop(worker);
    sleep(secs(100)).await;
    assert_eq!(provider.count(Shutdown), 1);
    provider.assert_contract_kept();
}

#[tokio::test(start_paused = true)]
async fn b5_45_provider_shutdown_comes_once_without_leadership_and_without_a_load() {
    let worker = Rig::following(stored("a", "\"a\"")).start();
    worker.loads(3).await;
    worker.finish().await;
    // Before the first load has begun.
    let worker = Rig::new().start();
    worker.poller.shutdown().await.unwrap();
    assert_eq!(worker.methods().last(), Some(&Shutdown));
    worker.finish().await;
    let worker = Rig::new().start_with(|builder| builder.manual());
    worker.poller.shutdown().await.unwrap();
    assert_eq!(worker.methods(), [Shutdown]);
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_46_the_running_call_ends_first() {
    for method in [
        ShouldFetch,
        ProviderMethod::Peek,
        Get,
        Received,
        ProviderMethod::FetchWithoutUpdate,
    ] {
        let rig = Rig::new();
        let slow = Answer::value(()).after(secs(1));
        match method {
            ShouldFetch => rig
                .provider
                .decision()
                .always(Answer::value(true).after(secs(1))),
            ProviderMethod::Peek => {
                rig.provider
                    .stored()
                    .always(Answer::value(None).after(secs(1)));
                rig.provider.decision()
            }
            Get => {
                rig.provider
                    .read()
                    .always(Answer::value(None).after(secs(1)));
                rig.provider.decision().always(false)
            }
            Received => {
                rig.provider.publish().always(slow);
                rig.provider.decision()
            }
            _ => {
                rig.provider.fetch_without_update().always(slow);
                rig.provider.decision()
            }
        };
        let worker = rig.start_with(|builder| builder.poll_interval(secs(1)).hedge_after(None));
        worker.provider.called(method, 1).await;
        sleep(millis(300)).await;
        let begin = Instant::now();
        worker.poller.shutdown().await.unwrap();
        assert!(
            (millis(690)..=millis(710)).contains(&begin.elapsed()),
            "{method}: {:?}",
            begin.elapsed()
        );
        let calls = worker.provider.calls();
        let [.., running, shutdown] = &calls[..] else {
            panic!("{calls:?}")
        };
        assert_eq!(
            (running.method, running.ended.unwrap().1),
            (method, CallEnd::Answered)
        );
        assert_eq!(shutdown.method, Shutdown);
        worker.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b5_46_a_call_that_hangs_is_cut_at_its_timeout_and_then_the_provider_is_shut_down() {
    let rig = Rig::new();
    rig.provider.decision().always_fault(Fault::Hang);
    let worker = rig.start();
    worker.provider.called(ShouldFetch, 1).await;
    let begin = Instant::now();
    worker.poller.shutdown().await.unwrap();
    assert!(
        (secs(2)..secs(2) + millis(5)).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_46_shutdown_returns_at_its_timeout_and_provider_shutdown_follows_when_the_call_ends() {
    let rig = Rig::new();
    rig.provider.decision().always_fault(Fault::Hang);
    let worker =
        rig.start_with(|builder| builder.provider_timeout(secs(30)).shutdown_timeout(secs(1)));
    worker.provider.called(ShouldFetch, 1).await;
    let begin = Instant::now();
    let error = worker.poller.shutdown().await.unwrap_err();
    assert!(
        matches!(error, ShutdownError::Timeout { timeout } if timeout == secs(1)),
        "{error:?}"
    );
    assert_eq!(begin.elapsed(), secs(1));
    assert_eq!(worker.provider.count(Shutdown), 0);
    // What is asked meanwhile does not wait for it.
    assert!(matches!(
        worker.poller.refresh().await,
        Err(RefreshError::Stopped)
    ));
    assert!(begin.elapsed() < secs(2), "{:?}", begin.elapsed());
    sleep(secs(30)).await;
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_47_a_request_in_flight_is_cancelled() {
    let rig = Rig::new();
    rig.api.always(Reply::hang());
    let worker = rig.start();
    worker.api.requested(1).await;
    let refresh = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.refresh().await }
    });
    sleep(millis(10)).await;
    let begin = Instant::now();
    worker.poller.shutdown().await.unwrap();
    assert!(begin.elapsed() <= millis(2), "{:?}", begin.elapsed());
    assert!(worker.api.requests()[0].ended.is_some());
    assert!(matches!(refresh.await.unwrap(), Err(RefreshError::Stopped)));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_47_a_hedge_in_flight_is_cancelled_too() {
    let rig = Rig::new();
    rig.provider.decision().always_fault(Fault::Hang);
    rig.api.always(Reply::hang());
    let worker = rig.start();
    worker.api.requested(1).await;
    let begin = Instant::now();
    let ending = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.shutdown().await }
    });
    sleep(millis(1)).await;
    assert!(worker.api.requests()[0].ended.is_some());
    ending.await.unwrap().unwrap();
    assert!(
        begin.elapsed() <= secs(1) + millis(5),
        "the rest of the call's limit: {:?}",
        begin.elapsed()
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_47_a_failing_provider_shutdown_is_reported_and_the_rest_completes() {
    for (fault, expected) in [
        (
            Fault::Error(ProviderErrorKind::Unavailable),
            "injected fault: unavailable",
        ),
        (Fault::Panic, "`shutdown` panicked: injected fault: panic"),
        (
            Fault::Hang,
            "`shutdown` did not return within the provider timeout of 2s",
        ),
    ] {
        let rig = Rig::new();
        rig.provider.at_shutdown().always_fault(fault);
        let worker = rig.start();
        worker.loads(1).await;
        for _ in 0..2 {
            let error = worker.poller.shutdown().await.unwrap_err();
            assert!(matches!(error, ShutdownError::Provider(_)), "{error:?}");
            assert_eq!(
                format!("{error:#}"),
                format!("the provider's shutdown failed: {expected}")
            );
        }
        assert_eq!(worker.poller.status().state, PollerState::Stopped);
        assert_eq!(worker.provider.count(Shutdown), 1);
        worker.provider.assert_contract_kept();
    }
}

#[tokio::test(start_paused = true)]
async fn b5_48_after_shutdown_nothing_is_called_and_the_snapshot_still_reads() {
    let worker = Rig::new().start();
    worker.loads(1).await;
    let context = worker.provider.context().unwrap();
    worker.poller.shutdown().await.unwrap();
    let (methods, requests) = (worker.methods(), worker.api.count());
    context.notify_changed();
    assert!(!context.is_connected() && context.schedule().is_none());
    assert!(matches!(
        worker.poller.refresh().await,
        Err(RefreshError::Stopped)
    ));
    worker.poller.wait_ready(secs(1)).await.unwrap();
    sleep(secs(600)).await;
    assert_eq!((worker.methods(), worker.api.count()), (methods, requests));
    assert_eq!(
        (worker.key().as_deref(), worker.poller.status().state),
        (Some("a"), PollerState::Stopped)
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b5_49_a_dropped_poller_stops_its_task() {
    for manual in [false, true] {
        let rig = Rig::new();
        let worker = rig.start_with(|builder| if manual { builder.manual() } else { builder });
        worker.poller.refresh().await.unwrap();
        drop(worker);
        timeout(secs(1), rig.provider.ended(Shutdown, 1))
            .await
            .unwrap();
        // Without a load before it.
        let rig = Rig::new();
        drop(rig.start_with(|builder| if manual { builder.manual() } else { builder }));
        timeout(secs(1), rig.provider.ended(Shutdown, 1))
            .await
            .unwrap();
        rig.provider.assert_contract_kept();
    }
}

/// The task waits for the call asleep: on the paused clock one that spins would stop the time.
#[test]
fn b5_49_a_drop_during_a_call_waits_for_its_end_without_spinning() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            rig.provider.decision().always_fault(Fault::Hang);
            let worker = rig.start();
            worker.provider.called(ShouldFetch, 1).await;
            drop(worker);
            rig.provider.ended(Shutdown, 1).await;
            rig.provider.assert_contract_kept();
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(secs(20)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn b5_49_clones_keep_it_running_until_the_last_is_dropped() {
    let worker = Rig::new().start();
    let clone = worker.poller.clone();
    let provider = worker.provider.clone();
    drop(worker);
    sleep(secs(100)).await;
    assert_eq!(provider.count(Shutdown), 0);
    drop(clone);
    sleep(millis(1)).await;
    assert_eq!(provider.count(Shutdown), 1);
}

#[test]
fn b5_49_a_poller_dropped_outside_a_runtime_ends() {
    for manual in [false, true] {
        let runtime = runtime();
        let rig = Rig::new();
        let worker = runtime.block_on(async {
            let worker = rig.start_with(|builder| if manual { builder.manual() } else { builder });
            worker.poller.refresh().await.unwrap();
            worker
        });
        drop(worker);
        until("provider shutdown", || rig.provider.count(Shutdown) == 1);
        drop(runtime);
        rig.provider.assert_contract_kept();
    }
}

#[test]
fn b5_49_the_runtime_ends_before_the_handle() {
    for (manual, current_thread) in [(false, false), (false, true), (true, false), (true, true)] {
        let first = if current_thread {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        } else {
            runtime()
        };
        let rig = Rig::new();
        let worker = first.block_on(async {
            let worker = rig.start_with(|builder| if manual { builder.manual() } else { builder });
            worker.poller.refresh().await.unwrap();
            worker
        });
        let mut changes = worker.poller.subscribe();
        drop(first);
        assert_eq!(worker.key().as_deref(), Some("a"));
        runtime().block_on(async {
            let begin = Instant::now();
            assert!(matches!(
                worker.poller.refresh().await,
                Err(RefreshError::Stopped)
            ));
            worker.poller.shutdown().await.unwrap();
            assert!(changes.next().await.is_none());
            assert!(
                begin.elapsed() < secs(2),
                "nothing runs that could be waited for: {:?}",
                begin.elapsed()
            );
        });
        assert_eq!(worker.poller.status().state, PollerState::Stopped);
        drop(worker);
        rig.provider.assert_contract_kept();
    }
}

#[test]
fn b5_49_waiting_for_a_poller_whose_runtime_is_gone_ends() {
    let first = runtime();
    let rig = Rig::new();
    rig.api.always(Reply::hang());
    let worker = first.block_on(async { rig.start() });
    until("the request", || rig.api.count() == 1);
    drop(first);
    let waited = runtime().block_on(worker.poller.wait_ready(secs(30)));
    assert!(matches!(waited, Err(NotReadyError::Stopped)));
}

#[test]
fn b5_49_a_poller_dropped_on_a_current_thread_runtime_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rig = Rig::new();
    runtime.block_on(async {
        let worker = rig.start();
        worker.poller.wait_ready(secs(5)).await.unwrap();
        worker.finish().await;
    });
}

#[test]
fn b5_49_after_a_failed_start_nothing_was_called() {
    let rig = Rig::new();
    assert_eq!(rig.builder().start().unwrap_err(), StartError::NoRuntime);
    runtime().block_on(async {
        for (option, builder) in [
            ("poll_interval", rig.builder().poll_interval(Duration::ZERO)),
            (
                "provider_timeout",
                rig.builder().provider_timeout(Duration::ZERO),
            ),
            ("fetch_timeout", rig.builder().fetch_timeout(Duration::ZERO)),
        ] {
            assert_eq!(
                builder.start().unwrap_err(),
                StartError::ZeroDuration { option }
            );
        }
        assert_eq!(
            FlagDefinitionPoller::builder().start().unwrap_err(),
            StartError::NothingToLoadFrom
        );
        rig.api.set_has_key(false);
        let keyless = FlagDefinitionPoller::builder()
            .source(rig.api.clone())
            .start();
        assert_eq!(keyless.unwrap_err(), StartError::NothingToLoadFrom);
        rig.api.set_has_key(true);
        let failed = rig
            .builder()
            .flag_definition_cache_provider(rig.provider.clone());
        failed.poll_interval(Duration::ZERO).start().unwrap_err();
        assert!(rig.provider.calls().is_empty() && rig.api.count() == 0);
        let poller = rig
            .builder()
            .flag_definition_cache_provider(rig.provider.clone())
            .start()
            .unwrap();
        poller.shutdown().await.unwrap();
    });
    rig.provider.assert_contract_kept();
}

/// A provider whose decision blocks its thread until the test lets it go.
#[derive(Clone)]
struct Blocking {
    inside: Arc<AtomicUsize>,
    shutdowns: Arc<AtomicUsize>,
    release: Arc<std::sync::Mutex<mpsc::Receiver<()>>>,
}

impl Blocking {
    fn new() -> (Self, mpsc::Sender<()>) {
        let (sender, receiver) = mpsc::channel();
        let blocking = Self {
            inside: Arc::default(),
            shutdowns: Arc::default(),
            release: Arc::new(receiver.into()),
        };
        (blocking, sender)
    }
}

#[flag_cache_provider]
impl Blocking {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        self.inside.fetch_add(1, Ordering::SeqCst);
        // An error says that the test is over.
        let _ = self.release.lock().map(|release| release.recv());
        self.inside.fetch_sub(1, Ordering::SeqCst);
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    fn shutdown(&self) {
        assert_eq!(
            self.inside.load(Ordering::SeqCst),
            0,
            "shutdown beside a running body"
        );
        self.shutdowns.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn b5_46_provider_shutdown_waits_for_a_blocking_body_and_the_handle_does_not() {
    let runtime = runtime();
    let (provider, release) = Blocking::new();
    let rig = Rig::new();
    let poller = runtime.block_on(async {
        let builder = rig
            .builder()
            .flag_definition_cache_provider(provider.clone());
        let poller = builder
            .provider_timeout(millis(50))
            .shutdown_timeout(millis(300))
            .start()
            .unwrap();
        poller.wait_ready(secs(10)).await.unwrap();
        let begin = Instant::now();
        assert!(matches!(
            poller.shutdown().await,
            Err(ShutdownError::Timeout { timeout }) if timeout == millis(300)
        ));
        assert!(begin.elapsed() < secs(5), "{:?}", begin.elapsed());
        // The shutdown goes on; other calls do not wait for it.
        assert!(matches!(
            timeout(secs(5), poller.refresh()).await.unwrap(),
            Err(RefreshError::Stopped)
        ));
        poller
    });
    assert_eq!(
        (
            provider.inside.load(Ordering::SeqCst),
            provider.shutdowns.load(Ordering::SeqCst)
        ),
        (1, 0)
    );
    release.send(()).unwrap();
    until("provider shutdown", || {
        provider.shutdowns.load(Ordering::SeqCst) == 1
    });
    runtime.block_on(poller.shutdown()).unwrap();
    assert_eq!(provider.shutdowns.load(Ordering::SeqCst), 1);
}

/// Runs the ignored test below, whose process must end although a body in it never does.
#[test]
fn b5_47_a_process_with_a_hung_blocking_body_ends() {
    let mut child = Process::start(
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "b5_shutdown::child_with_a_hung_blocking_body",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    )
    .unwrap();
    let status = child.wait(secs(30)).unwrap();
    let status = status.expect("the process did not end");
    assert!(status.success(), "{status}");
    let said: String = child.lines().collect();
    assert!(said.contains("hung, ready and ending"), "{said}");
}

#[test]
#[ignore = "runs in a process of its own, started by b5_47_a_process_with_a_hung_blocking_body_ends"]
fn child_with_a_hung_blocking_body() {
    let (provider, _release) = Blocking::new();
    // The runtime's drop waits for its own threads: none of them may be the body's.
    let runtime = runtime();
    runtime.block_on(async {
        let rig = Rig::new();
        let builder = rig
            .builder()
            .flag_definition_cache_provider(provider.clone());
        let poller = builder
            .provider_timeout(millis(50))
            .shutdown_timeout(millis(100))
            .start()
            .unwrap();
        poller.wait_ready(secs(10)).await.unwrap();
        assert_eq!(provider.inside.load(Ordering::SeqCst), 1);
        assert!(poller.shutdown().await.is_err());
        println!("hung, ready and ending");
    });
    drop(runtime);
    // `_release` still holds the body back.
}

#[tokio::test(start_paused = true)]
async fn b5_45_shutdown_beside_a_slow_one_waits_for_the_same_end() {
    let rig = Rig::new();
    let gate = Latch::new();
    rig.provider
        .at_shutdown()
        .then(Answer::value(()).once_open(&gate));
    let worker = rig.start();
    worker.loads(1).await;
    let first = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.shutdown().await }
    });
    worker.provider.called(Shutdown, 1).await;
    let second = tokio::spawn({
        let poller = worker.poller.clone();
        async move { poller.shutdown().await }
    });
    sleep(millis(100)).await;
    assert!(!first.is_finished() && !second.is_finished());
    gate.open();
    second.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    worker.finish().await;
}

/// A caller that gives up waiting changes nothing about the end.
#[tokio::test(start_paused = true)]
async fn b5_45_a_shutdown_whose_caller_goes_away_still_ends_the_poller() {
    let provider = ScriptedProvider::new();
    provider
        .at_shutdown()
        .then(Answer::value(()).after(secs(1)));
    let rig = Rig::new();
    let poller = rig
        .builder()
        .flag_definition_cache_provider(provider.clone())
        .start()
        .unwrap();
    assert!(timeout(millis(10), poller.shutdown()).await.is_err());
    provider.ended(Shutdown, 1).await;
    poller.shutdown().await.unwrap();
    assert_eq!(provider.count(Shutdown), 1);
}

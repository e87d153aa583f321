//! `#[flag_cache(blocking)]` outside of a poller: threads of its own, a few per provider.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flagcache::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderErrorKind, flag_cache_provider,
};
use futures_util::FutureExt;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

/// Bodies wait here until the test opens it.
#[derive(Default)]
struct Latch {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Latch {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        while !state.0 {
            state = self.changed.wait(state).unwrap();
        }
        state.1 -= 1;
        self.changed.notify_all();
    }

    fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    fn wait_for(&self, waiting: usize) {
        let state = self.state.lock().unwrap();
        let (state, timeout) = self
            .changed
            .wait_timeout_while(state, LIMIT, |state| state.1 != waiting)
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "{} bodies instead of {waiting}",
            state.1
        );
    }
}

#[derive(Clone)]
struct Slow {
    gate: Arc<Latch>,
    thread: Arc<Mutex<Option<String>>>,
}

impl Slow {
    fn new() -> Self {
        Self {
            gate: Arc::default(),
            thread: Arc::default(),
        }
    }
}

#[flag_cache_provider]
impl Slow {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        *self.thread.lock().unwrap() = thread::current().name().map(str::to_owned);
        self.gate.pass();
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

#[tokio::test]
async fn b4_42_a_blocking_body_never_stalls_the_runtime() {
    let slow = Slow::new();
    let gate = Arc::clone(&slow.gate);
    let thread = Arc::clone(&slow.thread);
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(slow);
    // One thread runs this test and the call: the other tasks of the runtime go on while the body waits.
    let call = tokio::spawn(async move { provider.should_fetch_flag_definitions().await });
    let started = Instant::now();
    while gate.state.lock().unwrap().1 == 0 {
        assert!(started.elapsed() < LIMIT);
        tokio::task::yield_now().await;
    }
    gate.open();
    assert!(timeout(LIMIT, call).await.unwrap().unwrap().unwrap());
    assert_eq!(thread.lock().unwrap().as_deref(), Some("flagcache-call"));
}

#[tokio::test]
async fn b4_42_a_call_beyond_the_limit_of_bodies_fails_at_once() {
    let slow = Slow::new();
    let gate = Arc::clone(&slow.gate);
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(slow);
    for running in 1..=4 {
        // Cut, as the poller does at its timeout; the body goes on.
        let mut call = provider.should_fetch_flag_definitions();
        assert!((&mut call).now_or_never().is_none());
        drop(call);
        gate.wait_for(running);
    }
    let error = timeout(LIMIT, provider.should_fetch_flag_definitions())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Busy);

    // Another provider has threads of its own.
    let other = Slow::new();
    other.gate.open();
    let other: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(other);
    assert!(
        timeout(LIMIT, other.should_fetch_flag_definitions())
            .await
            .unwrap()
            .unwrap()
    );

    // Bodies that end free their slots, though no future awaits them.
    gate.open();
    gate.wait_for(0);
    let started = Instant::now();
    while let Err(error) = timeout(LIMIT, provider.should_fetch_flag_definitions())
        .await
        .unwrap()
    {
        assert_eq!(error.kind(), ProviderErrorKind::Busy);
        assert!(started.elapsed() < LIMIT);
    }
}

#[test]
fn b4_42_a_hung_body_does_not_keep_the_runtime_from_ending() {
    let slow = Slow::new();
    let gate = Arc::clone(&slow.gate);
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(slow);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.spawn(async move { provider.should_fetch_flag_definitions().await });
    gate.wait_for(1);
    let started = Instant::now();
    drop(runtime);
    assert!(started.elapsed() < LIMIT);
    gate.open();
}

//! The end, in whatever way it comes.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use flagcache::blocking::BlockingError;
use flagcache::{
    FlagDefinitionCacheData, PollerContext, PollerState, RefreshError, ShutdownError,
    flag_cache_provider,
};
use flagcache_providers::testing::{CallEnd, Fault, ProviderMethod, ScriptedProvider};
use flagcache_test_support::Process;
use tokio::runtime::Builder;

use crate::support::{ELSEWHERE, LIMIT, flags_of, millis, stub, until, worker};

#[test]
fn a_dropped_handle_ends_the_poller_in_the_background() {
    let stub = stub(5);
    for manual in [false, true] {
        let provider = ScriptedProvider::new();
        let builder = worker(&stub).flag_definition_cache_provider(provider.clone());
        let flags = if manual { builder.manual() } else { builder }
            .start()
            .unwrap();
        if manual {
            flags.refresh().unwrap();
        }
        flags.wait_ready(LIMIT).unwrap();
        let clone = flags.clone();
        drop(flags);
        assert_eq!(
            provider.count(ProviderMethod::Shutdown),
            0,
            "a clone is left"
        );
        // The last one goes in a task, where no thread may wait.
        Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async move { drop(clone) });
        ELSEWHERE.block_on(provider.ended(ProviderMethod::Shutdown, 1));
        provider.assert_contract_kept();
    }
}

#[test]
fn a_handle_dropped_at_once_has_no_effect() {
    let stub = stub(5);
    for _ in 0..20 {
        let provider = ScriptedProvider::new();
        drop(
            worker(&stub)
                .flag_definition_cache_provider(provider.clone())
                .start()
                .unwrap(),
        );
        ELSEWHERE.block_on(provider.ended(ProviderMethod::Shutdown, 1));
        provider.assert_contract_kept();
    }
}

/// Leaves a task behind, and a thread for blocking calls that hangs.
struct Litter(Mutex<Option<mpsc::Sender<()>>>);

#[flag_cache_provider]
impl Litter {
    fn on_poller_attached(&self, _: PollerContext) {
        let held = self.0.lock().unwrap().take();
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        tokio::task::spawn_blocking(|| thread::sleep(LIMIT * 100));
    }

    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

#[test]
fn the_thread_and_its_runtime_end_with_the_poller() {
    let (stub, (held, gone)) = (stub(5), mpsc::channel());
    let flags = worker(&stub)
        .flag_definition_cache_provider(Litter(Mutex::new(Some(held))))
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    assert_eq!(gone.try_recv(), Err(mpsc::TryRecvError::Empty));
    flags.shutdown().unwrap();
    assert_eq!(gone.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    flags.shutdown().unwrap();
    assert_eq!(
        (flags.status().state, flags_of(&flags)),
        (PollerState::Stopped, Some(5))
    );
    assert!(matches!(
        flags.refresh(),
        Err(BlockingError::Failed(RefreshError::Stopped))
    ));
}

#[test]
fn shutdown_returns_at_its_timeout_from_a_call_that_hangs() {
    let (stub, provider) = (stub(5), ScriptedProvider::new());
    provider.publish().always_fault(Fault::Hang);
    let builder = worker(&stub).flag_definition_cache_provider(provider.clone());
    let flags = builder
        .provider_timeout(LIMIT)
        .shutdown_timeout(millis(100))
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    ELSEWHERE.block_on(provider.called(ProviderMethod::Received, 1));
    assert!(matches!(
        flags.shutdown(),
        Err(BlockingError::Failed(ShutdownError::Timeout { timeout })) if timeout == millis(100)
    ));
    assert_eq!(
        provider.count(ProviderMethod::Shutdown),
        0,
        "the call still runs"
    );
}

#[test]
fn a_failed_provider_shutdown_is_reported() {
    let (stub, provider) = (stub(5), ScriptedProvider::new());
    provider.at_shutdown().then_fault(Fault::Panic);
    let flags = worker(&stub)
        .flag_definition_cache_provider(provider.clone())
        .start()
        .unwrap();
    for _ in 0..2 {
        assert!(matches!(
            flags.shutdown(),
            Err(BlockingError::Failed(ShutdownError::Provider { .. }))
        ));
    }
    assert_eq!(
        provider
            .calls()
            .last()
            .unwrap()
            .ended
            .as_ref()
            .map(|(_, end)| *end),
        Some(CallEnd::Panicked)
    );
}

/// Holds up the thread that calls it until the test lets it go: a plain `fn` the poller's own, a blocking one another.
#[derive(Clone)]
struct Stuck {
    inside: Arc<AtomicUsize>,
    shutdowns: Arc<AtomicUsize>,
    release: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Stuck {
    fn new() -> (Self, mpsc::Sender<()>) {
        let (sender, receiver) = mpsc::channel();
        (
            Self {
                inside: Arc::default(),
                shutdowns: Arc::default(),
                release: Arc::new(Mutex::new(receiver)),
            },
            sender,
        )
    }

    fn hold(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        // An error says that the test is over.
        let _ = self.release.lock().map(|release| release.recv());
    }
}

struct StuckInline(Stuck);

#[flag_cache_provider]
impl StuckInline {
    fn should_fetch_flag_definitions(&self) -> bool {
        self.0.hold();
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    fn shutdown(&self) {
        self.0.shutdowns.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct StuckBlocking(Stuck);

#[flag_cache_provider]
impl StuckBlocking {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        self.0.hold();
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    fn shutdown(&self) {
        self.0.shutdowns.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_body_that_blocks_the_pollers_thread_blocks_no_other_thread() {
    let (stub, (stuck, release)) = (stub(5), Stuck::new());
    let builder = worker(&stub).flag_definition_cache_provider(StuckInline(stuck.clone()));
    let flags = builder.shutdown_timeout(millis(100)).start().unwrap();
    until("the body runs", || stuck.inside.load(Ordering::SeqCst) == 1);
    assert!(flags.wait_ready(millis(50)).is_err() && flags.definitions().is_none());
    assert!(matches!(
        flags.shutdown(),
        Err(BlockingError::Failed(ShutdownError::Timeout { timeout })) if timeout == millis(100)
    ));
    release.send(()).unwrap();
    until("the provider is shut down", || {
        stuck.shutdowns.load(Ordering::SeqCst) == 1
    });
    flags.shutdown().unwrap();
}

#[test]
fn a_blocking_body_that_hangs_keeps_no_worker_from_its_flags() {
    let (stub, (stuck, release)) = (stub(5), Stuck::new());
    let builder = worker(&stub).flag_definition_cache_provider(StuckBlocking(stuck.clone()));
    let flags = builder
        .provider_timeout(millis(50))
        .shutdown_timeout(millis(100))
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    assert!(matches!(
        flags.shutdown(),
        Err(BlockingError::Failed(ShutdownError::Timeout { timeout })) if timeout == millis(100)
    ));
    assert_eq!(
        stuck.shutdowns.load(Ordering::SeqCst),
        0,
        "a body still runs"
    );
    while stuck.shutdowns.load(Ordering::SeqCst) == 0 {
        // There may be several: each call that was cut has left one behind.
        let _ = release.send(());
        thread::sleep(millis(2));
    }
    flags.shutdown().unwrap();
    assert_eq!(stuck.shutdowns.load(Ordering::SeqCst), 1);
}

/// Runs one of the ignored tests below, whose process must end although a call in it never does.
fn ends_in_time(child: &str) {
    let mut process = Process::start(
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("end::{child}"),
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    )
    .unwrap();
    let status = process.wait(LIMIT * 2).unwrap();
    let status = status.expect("the process did not end");
    assert!(status.success(), "{status}");
    let said: String = process.lines().collect();
    assert!(said.contains("hung and ending"), "{said}");
}

#[test]
fn a_process_ends_while_its_pollers_thread_is_held_up() {
    ends_in_time("child_with_a_held_thread");
}

#[test]
#[ignore = "runs in a process of its own, started by a_process_ends_while_its_pollers_thread_is_held_up"]
fn child_with_a_held_thread() {
    let (stub, (stuck, _release)) = (stub(5), Stuck::new());
    let flags = worker(&stub)
        .flag_definition_cache_provider(StuckInline(stuck.clone()))
        .start()
        .unwrap();
    until("the body runs", || stuck.inside.load(Ordering::SeqCst) == 1);
    println!("hung and ending");
    drop(flags);
    // `_release` still holds the body back.
    std::process::exit(0);
}

#[test]
fn a_process_ends_while_a_blocking_body_hangs() {
    ends_in_time("child_with_a_hung_blocking_body");
}

#[test]
#[ignore = "runs in a process of its own, started by a_process_ends_while_a_blocking_body_hangs"]
fn child_with_a_hung_blocking_body() {
    let (stub, (stuck, _release)) = (stub(5), Stuck::new());
    let builder = worker(&stub).flag_definition_cache_provider(StuckBlocking(stuck.clone()));
    let flags = builder
        .provider_timeout(millis(50))
        .shutdown_timeout(millis(100))
        .start()
        .unwrap();
    flags.wait_ready(LIMIT).unwrap();
    assert!(flags.shutdown().is_err());
    println!("hung and ending");
    // The harness returns from `main` by itself.
}

//! Used inside a runtime, on purpose and by mistake.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use flagcache::blocking::{BlockingError, FlagDefinitionPoller, refresh_once};
use flagcache::{FlagDefinitionCacheData, PollerState, RefreshError, flag_cache_provider};
use flagcache_providers::testing::ScriptedProvider;
use tokio::runtime::{Builder, Handle};
use tokio::task::{block_in_place, spawn_blocking, unconstrained};

use crate::support::{LIMIT, api, flags_of, stub, worker};

/// Every call that may wait.
fn waits(flags: &FlagDefinitionPoller) {
    let mut changes = flags.subscribe();
    assert!(matches!(
        flags.wait_ready(LIMIT),
        Err(BlockingError::InsideRuntime)
    ));
    assert!(matches!(flags.refresh(), Err(BlockingError::InsideRuntime)));
    assert!(matches!(
        flags.refresh_if_older_than(Duration::MAX),
        Err(BlockingError::InsideRuntime)
    ));
    assert_eq!(
        changes.next_within(LIMIT).unwrap_err(),
        BlockingError::InsideRuntime
    );
    assert!(matches!(
        flags.shutdown(),
        Err(BlockingError::InsideRuntime)
    ));
}

#[test]
fn a_call_that_waits_is_refused_in_a_task_and_the_others_work() {
    let stub = stub(5);
    for runtime in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = { runtime }.enable_all().build().unwrap();
        let before = stub.stats().requests;
        runtime.block_on(async {
            let flags = worker(&stub).poll_interval(LIMIT).start().unwrap();
            waits(&flags);
            tokio::spawn({
                let flags = flags.clone();
                async move { waits(&flags) }
            })
            .await
            .unwrap();
            flags.as_async().wait_ready(LIMIT).await.unwrap();
            assert_eq!(
                (flags_of(&flags), flags.status().state),
                (Some(5), PollerState::Ready)
            );
            flags.as_async().refresh().await.unwrap();
            flags.as_async().shutdown().await.unwrap();
        });
        assert_eq!(
            stub.stats().requests,
            before + 2,
            "what was refused has loaded nothing"
        );
    }
}

#[test]
fn the_error_says_what_to_do() {
    let said = BlockingError::<RefreshError>::InsideRuntime.to_string();
    assert!(
        said.contains("as_async") && said.contains("spawn_blocking"),
        "{said}"
    );
}

#[test]
fn a_thread_that_may_block_may_wait() {
    let stub = stub(5);
    let flags = worker(&stub).start().unwrap();
    let all = |flags: &FlagDefinitionPoller| {
        flags.wait_ready(LIMIT).unwrap();
        flags.refresh().unwrap();
        let change = flags.subscribe().next_within(Duration::ZERO);
        assert!(!matches!(change, Err(BlockingError::InsideRuntime)));
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    {
        let _inside = runtime.enter();
        all(&flags);
    }
    runtime.block_on(async {
        let clone = flags.clone();
        spawn_blocking(move || all(&clone)).await.unwrap();
        block_in_place(|| all(&flags));
    });
    flags.shutdown().unwrap();
}

#[test]
fn a_job_is_refused_in_a_task_before_it_begins() {
    let (stub, provider) = (stub(5), ScriptedProvider::new());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async { refresh_once(api(&stub), provider.clone()) });
    assert!(matches!(refused, Err(BlockingError::InsideRuntime)));
    assert!(provider.calls().is_empty() && stub.stats().requests == 0);
}

type Answer = Result<(), BlockingError<RefreshError>>;

/// Calls its own poller from within a load.
#[derive(Clone, Default)]
struct Inward {
    flags: Arc<OnceLock<FlagDefinitionPoller>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Inward {
    fn call(&self) {
        if let Some(flags) = self.flags.get() {
            let answer = flags.refresh();
            self.answers.lock().unwrap().push(answer);
        }
    }
}

#[flag_cache_provider]
impl Inward {
    fn should_fetch_flag_definitions(&self) -> bool {
        self.call();
        true
    }

    /// Without a budget only the thread shows that this is a task.
    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        unconstrained(async { self.call() }).await;
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {
        self.call();
    }
}

#[test]
fn a_provider_that_waits_for_its_own_poller_gets_an_error() {
    let (stub, inward) = (stub(5), Inward::default());
    let flags = worker(&stub)
        .flag_definition_cache_provider(inward.clone())
        .manual()
        .start()
        .unwrap();
    assert!(inward.flags.set(flags.clone()).is_ok());
    flags.refresh().unwrap();
    let reader = Inward::default();
    let follower = FlagDefinitionPoller::builder()
        .flag_definition_cache_provider(reader.clone())
        .manual();
    let follower = follower.cold_start_wait(Duration::ZERO).start().unwrap();
    assert!(reader.flags.set(follower.clone()).is_ok());
    follower.refresh().unwrap();
    for provider in [inward, reader] {
        let answers = provider.answers.lock().unwrap().clone();
        assert!(!answers.is_empty());
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(BlockingError::InsideRuntime))),
            "{answers:?}"
        );
    }
    flags.shutdown().unwrap();
    follower.shutdown().unwrap();
    assert!(
        Handle::try_current().is_err(),
        "nothing of a runtime is left on this thread"
    );
}

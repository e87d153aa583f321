use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// Starts a body that waits for the sender, and abandons it.
fn hang(calls: &Arc<BlockingCalls>) -> mpsc::Sender<()> {
    let (open, wait) = mpsc::channel();
    let mut call = Box::pin(Arc::clone(calls).run(move || wait.recv()));
    assert!(call.as_mut().now_or_never().is_none());
    open
}

#[tokio::test]
async fn b4_42_a_body_runs_on_a_separate_thread() {
    let calls = Arc::new(BlockingCalls::default());
    let here = thread::current().id();
    let there = timeout(LIMIT, calls.run(|| thread::current().id()))
        .await
        .unwrap()
        .unwrap();
    assert_ne!(here, there);
}

#[tokio::test]
async fn b4_42_the_fifth_body_is_refused_until_one_ends() {
    let calls = Arc::new(BlockingCalls::default());
    let mut gates: Vec<_> = (0..MAX_RUNNING).map(|_| hang(&calls)).collect();

    let error = Arc::clone(&calls)
        .run(|| ())
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Busy);
    assert!(error.is_retryable());

    drop(gates.pop());
    let started = Instant::now();
    while Arc::clone(&calls).run(|| ()).await.is_err() {
        assert!(started.elapsed() < LIMIT, "an ended body keeps its place");
    }
}

#[tokio::test]
async fn b5_46_idle_waits_for_abandoned_bodies() {
    let calls = Arc::new(BlockingCalls::default());
    timeout(LIMIT, calls.idle()).await.unwrap();

    let gate = hang(&calls);
    let idle = tokio::spawn({
        let calls = Arc::clone(&calls);
        async move { calls.idle().await }
    });
    tokio::task::yield_now().await;
    assert!(calls.idle().now_or_never().is_none());
    drop(gate);
    timeout(LIMIT, idle).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_is_out_only_when_the_place_is_free() {
    let calls = Arc::new(BlockingCalls::default());
    for _ in 0..200 {
        Arc::clone(&calls).run(|| ()).await.unwrap();
        assert_eq!(calls.running.load(Ordering::Acquire), 0);
    }
}

#[tokio::test]
async fn b4_40_a_panic_is_propagated_to_the_awaiting_future() {
    let calls = Arc::new(BlockingCalls::default());
    let call = AssertUnwindSafe(Arc::clone(&calls).run(|| panic!("out of ink"))).catch_unwind();
    let Err(panic) = timeout(LIMIT, call).await.unwrap() else {
        panic!("the panic was lost")
    };
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "out of ink");
    timeout(LIMIT, calls.idle()).await.unwrap();
}

#[tokio::test]
async fn b4_40_a_panic_without_an_awaiting_future_frees_its_slot() {
    let calls = Arc::new(BlockingCalls::default());
    let (open, wait) = mpsc::channel::<()>();
    let mut call = Box::pin(Arc::clone(&calls).run(move || wait.recv().unwrap()));
    assert!(call.as_mut().now_or_never().is_none());
    drop(call);
    drop(open);
    timeout(LIMIT, calls.idle()).await.unwrap();
}

#[tokio::test]
async fn calls_are_counted_with_the_poller_that_makes_them() {
    let calls = Arc::new(BlockingCalls::default());
    let provider = 1_u8;
    let found = calls
        .scope(async { BlockingCalls::of_this_call(&provider) })
        .await;
    assert!(Arc::ptr_eq(&calls, &found));
    // A nested provider has another address and the same poller.
    let inner = 2_u8;
    let found = calls
        .scope(async { BlockingCalls::of_this_call(&inner) })
        .await;
    assert!(Arc::ptr_eq(&calls, &found));
}

#[tokio::test]
async fn without_a_poller_calls_are_counted_by_provider() {
    let (one, other) = (1_u8, 2_u8);
    let calls = BlockingCalls::of_this_call(&one);
    assert!(Arc::ptr_eq(&calls, &BlockingCalls::of_this_call(&one)));
    assert!(!Arc::ptr_eq(&calls, &BlockingCalls::of_this_call(&other)));

    let gate = hang(&calls);
    let weak = Arc::downgrade(&calls);
    drop(calls);
    assert!(
        Weak::ptr_eq(&weak, &Arc::downgrade(&BlockingCalls::of_this_call(&one))),
        "a running body holds the count"
    );
    drop(gate);
}

//! Waits for futures on plain threads.
//!
//! These futures are messages between threads. They need neither a timer nor a reactor, so a wait works without a
//! runtime, and after the poller's runtime has ended.

use parking_lot::{Condvar, Mutex};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::poll_proceed;

use crate::duration::clamped;

/// Waits for `future`, for at most `timeout`. Polls it at least once, so that a result that is ready is always
/// returned.
pub(super) fn wait_timeout<F: Future>(timeout: Duration, future: F) -> Option<F::Output> {
    wait_pinned(timeout, pin!(future))
}

/// Waits for `future` without a timeout.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = wait_pinned(Duration::MAX, future.as_mut()) {
            return output;
        }
    }
}

fn wait_pinned<F: Future>(timeout: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let deadline = Instant::now() + clamped(timeout);
    let thread_waker = Arc::new(ThreadWaker::default());
    let waker = Waker::from(Arc::clone(&thread_waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !thread_waker.wait_until(deadline) {
            return None;
        }
    }
}

/// Wakes one waiting thread. Not `thread::park`, because a wait would then consume an `unpark` that the program sent.
#[derive(Default)]
struct ThreadWaker {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl ThreadWaker {
    /// Waits for a wake-up and resets it.
    fn wait_until(&self, deadline: Instant) -> bool {
        let mut woken = self.woken.lock();
        self.condvar
            .wait_while_until(&mut woken, |woken| !*woken, deadline);
        std::mem::take(&mut *woken)
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.condvar.notify_one();
    }
}

/// Whether this thread is running a task of a tokio runtime, so that a wait would block the runtime's other tasks.
///
/// `Handle::try_current` cannot tell: there is also a current runtime in `spawn_blocking`, in `block_in_place` and
/// under a guard of `Handle::enter`, where a thread may block. Only a task has a cooperative budget, which fits into a
/// byte.
pub(super) fn in_a_task() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut taken = Vec::new();
    let exhausted = (0..=u8::MAX).any(|_| match poll_proceed(&mut context) {
        Poll::Ready(step) => {
            taken.push(step);
            false
        }
        Poll::Pending => true,
    });
    // Each step restores the budget that it found, so drop them in reverse order.
    while taken.pop().is_some() {}
    exhausted
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::thread;

    use tokio::runtime;
    use tokio::sync::oneshot;
    use tokio::task::coop::has_budget_remaining;
    use tokio::task::{block_in_place, spawn_blocking};

    use super::*;

    #[test]
    fn what_is_there_is_taken_without_a_wait() {
        assert_eq!(wait_timeout(Duration::ZERO, ready(1)), Some(1));
        assert_eq!(wait_timeout(Duration::ZERO, pending::<()>()), None);
        assert_eq!(
            wait_timeout(Duration::from_millis(5), pending::<()>()),
            None
        );
    }

    #[test]
    fn another_thread_ends_a_wait() {
        let (sender, receiver) = oneshot::channel();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            sender.send(7).unwrap();
        });
        assert_eq!(wait(receiver), Ok(7));
        other.join().unwrap();
    }

    #[test]
    fn a_wait_takes_no_wake_up_of_the_programs_own() {
        thread::current().unpark();
        assert_eq!(
            wait_timeout(Duration::from_millis(5), pending::<()>()),
            None
        );
        // Returns at once, or never.
        thread::park();
    }

    #[test]
    fn a_task_is_distinguished_from_a_thread_that_may_block() {
        assert!(!in_a_task());
        for runtime in [
            runtime::Builder::new_current_thread(),
            runtime::Builder::new_multi_thread(),
        ] {
            let runtime = { runtime }.build().unwrap();
            {
                let _inside = runtime.enter();
                assert!(!in_a_task(), "a guard");
            }
            runtime.block_on(async {
                assert!(in_a_task(), "the root");
                assert!(tokio::spawn(async { in_a_task() }).await.unwrap(), "a task");
                assert!(!spawn_blocking(in_a_task).await.unwrap(), "spawn_blocking");
                let nested =
                    spawn_blocking(|| runtime::Handle::current().block_on(async { in_a_task() }));
                assert!(nested.await.unwrap(), "a task inside spawn_blocking");
            });
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        assert!(
            !runtime.block_on(async { block_in_place(in_a_task) }),
            "block_in_place, in the root"
        );
        let task = runtime.spawn(async { (block_in_place(in_a_task), in_a_task()) });
        assert_eq!(
            runtime.block_on(task).unwrap(),
            (false, true),
            "block_in_place, in a task"
        );
    }

    #[tokio::test]
    async fn a_look_costs_a_task_nothing_of_its_budget() {
        tokio::task::yield_now().await;
        let mut steps = 0;
        while has_budget_remaining() {
            assert!(in_a_task());
            tokio::task::coop::consume_budget().await;
            steps += 1;
        }
        assert!(in_a_task(), "with an exhausted budget");
        assert_eq!(steps, 128);
    }
}

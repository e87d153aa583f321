//! Waiting on a plain thread.
//!
//! What is waited for here are messages between threads. They need no timer and no reactor, so a wait needs no runtime
//! either, and does not care whether the poller's is still there.

use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::poll_proceed;

use crate::duration::clamped;

/// Waits for `future`, at most for `limit`. It is polled once at least, so that what is there already is never missed.
pub(super) fn wait_at_most<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    wait_pinned(limit, pin!(future))
}

/// Waits for `future`, for as long as it takes.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = wait_pinned(Duration::MAX, future.as_mut()) {
            return output;
        }
    }
}

fn wait_pinned<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let deadline = Instant::now() + clamped(limit);
    let bell = Arc::new(ThreadWaker::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !bell.rings_before(deadline) {
            return None;
        }
    }
}

/// Wakes one waiting thread. Not `thread::park`: a program that parks its threads would lose a wake-up to a wait of ours.
#[derive(Default)]
struct ThreadWaker {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl ThreadWaker {
    fn rung(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a ring, and forgets it.
    fn rings_before(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = self
            .ring
            .wait_timeout_while(self.rung(), left, |rung| !*rung);
        let (mut rung, _) = wait.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        *self.rung() = true;
        self.ring.notify_one();
    }
}

/// Whether this thread is in the middle of a task of a tokio runtime, whose other tasks would stand still for a wait.
///
/// `Handle::try_current` does not tell that: there is a current runtime also in `spawn_blocking`, in `block_in_place` and
/// beside a guard of `Handle::enter`, and a thread may block in all of these. What a task has and they have not is a budget
/// of steps, which fits into a byte.
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
    // Each puts back what it found, so the last one goes first.
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
        assert_eq!(wait_at_most(Duration::ZERO, ready(1)), Some(1));
        assert_eq!(wait_at_most(Duration::ZERO, pending::<()>()), None);
        assert_eq!(
            wait_at_most(Duration::from_millis(5), pending::<()>()),
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
            wait_at_most(Duration::from_millis(5), pending::<()>()),
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
                assert!(
                    !spawn_blocking(in_a_task).await.unwrap(),
                    "a thread for blocking"
                );
                let nested =
                    spawn_blocking(|| runtime::Handle::current().block_on(async { in_a_task() }));
                assert!(nested.await.unwrap(), "a task on such a thread");
            });
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        assert!(
            !runtime.block_on(async { block_in_place(in_a_task) }),
            "a place for blocking, in the root"
        );
        let task = runtime.spawn(async { (block_in_place(in_a_task), in_a_task()) });
        assert_eq!(
            runtime.block_on(task).unwrap(),
            (false, true),
            "a place for blocking, in a task"
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
        assert!(in_a_task(), "without a step left");
        assert_eq!(steps, 128);
    }
}

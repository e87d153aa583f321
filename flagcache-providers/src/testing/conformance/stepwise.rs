//! A call that is held up where it waits, as by a scheduler that gives its worker no time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a call is held up at most: a store may hold a lock meanwhile, for which others then wait.
const HELD_UP: Duration = Duration::from_millis(250);

/// A call that goes on only when it is polled.
pub(super) struct Stepwise<'a> {
    call: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    woken: Arc<Woken>,
    has_ended: bool,
}

#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl<'a> Stepwise<'a> {
    pub(super) fn new(call: impl Future<Output = ()> + Send + 'a) -> Self {
        Self {
            call: Box::pin(call),
            woken: Arc::default(),
            has_ended: false,
        }
    }

    /// Lets the call run until it has waited this many times. What it waits for last has come, but the call does not know
    /// that yet. Returns whether it has ended before.
    pub(super) async fn waits(&mut self, times: u32) -> bool {
        for _ in 0..times {
            if self.goes_on() {
                break;
            }
            // What does not come by itself may come once others have gone on.
            let _ = timeout(HELD_UP, self.woken.0.notified()).await;
        }
        self.has_ended
    }

    /// Holds the call up while `others` run, and then lets it run to its end.
    pub(super) async fn held_up_during<T>(mut self, others: impl Future<Output = T>) -> T {
        let mut others = pin!(others);
        let in_time = timeout(HELD_UP, &mut others).await;
        let end = async {
            while !self.goes_on() {
                self.woken.0.notified().await;
            }
        };
        match in_time {
            Ok(value) => {
                end.await;
                value
            }
            Err(_) => tokio::join!(others, end).0,
        }
    }

    /// Lets the call run until it waits again. Returns whether it has ended.
    fn goes_on(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.has_ended = self.has_ended
            || self
                .call
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready();
        self.has_ended
    }
}

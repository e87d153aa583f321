//! Scripted answers of one method.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::time::Duration;

use flagcache_core::ProviderError;

use super::{Fault, Latch};

/// One answer: a value or a fault, at once or later.
///
/// A plain value is an answer: wherever one is asked for, `true`, `Some(data)` or `()` will do.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    outcome: Result<T, Fault>,
    delay: Option<Duration>,
    gate: Option<Latch>,
}

impl<T> Answer<T> {
    /// The call gives this value.
    pub fn value(value: T) -> Self {
        Self {
            outcome: Ok(value),
            delay: None,
            gate: None,
        }
    }

    /// The call goes wrong. With [`Fault::Slow`] it gives the value of the method's standing answer, late.
    pub fn fault(fault: Fault) -> Self {
        Self {
            outcome: Err(fault),
            delay: None,
            gate: None,
        }
    }

    /// The answer comes this much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The answer comes once `gate` is open.
    #[must_use]
    pub fn once_open(mut self, gate: &Latch) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

impl<T> From<T> for Answer<T> {
    fn from(value: T) -> Self {
        Self::value(value)
    }
}

/// The answers of one method: a queue first, then the standing answer for ever.
#[derive(Debug)]
pub struct Script<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<Answer<T>>,
    standing: Answer<T>,
    standing_value: T,
}

impl<T: Clone> Script<T> {
    pub(crate) fn new(standing: T) -> Self {
        let state = State {
            queue: VecDeque::new(),
            standing: Answer::value(standing.clone()),
            standing_value: standing,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Adds an answer to the queue; each is given once, in order.
    pub fn then(&self, answer: impl Into<Answer<T>>) -> &Self {
        self.lock().queue.push_back(answer.into());
        self
    }

    /// [`then`](Self::then) for a fault.
    pub fn then_fault(&self, fault: Fault) -> &Self {
        self.then(Answer::fault(fault))
    }

    /// Sets the standing answer, given whenever the queue is empty.
    pub fn always(&self, answer: impl Into<Answer<T>>) -> &Self {
        let answer = answer.into();
        let mut state = self.lock();
        if let Ok(value) = &answer.outcome {
            state.standing_value = value.clone();
        }
        state.standing = answer;
        drop(state);
        self
    }

    /// [`always`](Self::always) for a fault. The value given before stands again with the next `always`.
    pub fn always_fault(&self, fault: Fault) -> &Self {
        self.always(Answer::fault(fault))
    }

    /// How many answers are still queued.
    pub fn queued(&self) -> usize {
        self.lock().queue.len()
    }

    pub(crate) async fn play(&self) -> Result<T, ProviderError> {
        let (answer, standing) = {
            let mut state = self.lock();
            let answer = state
                .queue
                .pop_front()
                .unwrap_or_else(|| state.standing.clone());
            (answer, state.standing_value.clone())
        };
        if let Some(delay) = answer.delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(gate) = answer.gate {
            gate.passed().await;
        }
        match answer.outcome {
            Ok(value) => Ok(value),
            Err(fault) => fault.strike().await.map(|()| standing),
        }
    }

    // Nothing panics while it is held; a poisoned lock is still whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }
}

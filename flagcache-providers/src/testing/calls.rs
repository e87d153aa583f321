//! What was called, when, and how it ended.

use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

use flagcache_core::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ProviderMethod;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It returned `Ok`.
    Answered,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// Its future was dropped before it was done.
    Dropped,
}

/// One call of a provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The method.
    pub method: ProviderMethod,
    /// When it began.
    pub started: Instant,
    /// When and how it ended; `None` while it runs.
    pub ended: Option<(Instant, CallEnd)>,
    /// The method whose call was still running when this one began. The poller promises that this never happens.
    pub during: Option<ProviderMethod>,
    /// What a publish was given, or what the worker served at a load that brought nothing new.
    pub data: Option<FlagDefinitionCacheData>,
    /// `on_fetch_without_update`: the kind of failure; `None` if unchanged.
    pub failure: Option<FetchErrorKind>,
    /// `on_fetch_without_update`: for how long the worker is to step down.
    pub step_down_for: Option<Duration>,
}

impl Call {
    fn new(method: ProviderMethod) -> Self {
        Self {
            method,
            started: Instant::now(),
            ended: None,
            during: None,
            data: None,
            failure: None,
            step_down_for: None,
        }
    }

    pub(crate) fn with_data(method: ProviderMethod, data: &FlagDefinitionCacheData) -> Self {
        Self {
            data: Some(data.clone()),
            ..Self::new(method)
        }
    }

    pub(crate) fn with_outcome(method: ProviderMethod, outcome: FetchOutcome) -> Self {
        Self {
            data: outcome.data().cloned(),
            failure: outcome.failure(),
            step_down_for: outcome.step_down_for(),
            ..Self::new(method)
        }
    }
}

impl From<ProviderMethod> for Call {
    fn from(method: ProviderMethod) -> Self {
        Self::new(method)
    }
}

#[derive(Debug)]
pub(crate) struct CallLog {
    calls: Mutex<Vec<Call>>,
    changed: watch::Sender<()>,
}

impl CallLog {
    pub(crate) fn new() -> Self {
        Self {
            calls: Mutex::new(Vec::new()),
            changed: watch::Sender::new(()),
        }
    }

    /// Records a call; it ends when the return value is marked as ended or dropped.
    pub(crate) fn begin(&self, call: impl Into<Call>) -> Running<'_> {
        let index = {
            let mut calls = self.lock();
            let call = call.into();
            // Decided here and not by the times: on a paused clock everything may happen at one instant.
            let during = calls
                .iter()
                .find(|earlier| {
                    earlier.ended.is_none() && must_not_overlap(call.method, earlier.method)
                })
                .map(|earlier| earlier.method);
            calls.push(Call { during, ..call });
            calls.len() - 1
        };
        self.changed.send_replace(());
        Running { log: self, index }
    }

    pub(crate) fn snapshot(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// Waits until what was called so far satisfies `enough`. Cancel safe.
    pub(crate) async fn wait_until(&self, enough: impl Fn(&[Call]) -> bool) {
        let mut changed = self.changed.subscribe();
        while !enough(&self.lock()) {
            // Cannot fail: `self` keeps the sender alive.
            let _ = changed.changed().await;
        }
    }

    // Nothing panics while it is held; a poisoned lock is still whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock()
    }
}

/// Only a request for a refresh may run beside the calls of a load, but not beside the shutdown or another request.
fn must_not_overlap(method: ProviderMethod, earlier: ProviderMethod) -> bool {
    let is_request = |method| method == ProviderMethod::RequestRefresh;
    is_request(method) == is_request(earlier) || method == ProviderMethod::Shutdown
}

#[derive(Debug)]
pub(crate) struct Running<'a> {
    log: &'a CallLog,
    index: usize,
}

impl Running<'_> {
    pub(crate) fn end<T, E>(self, result: Result<T, E>) -> Result<T, E> {
        self.mark(if result.is_ok() {
            CallEnd::Answered
        } else {
            CallEnd::Failed
        });
        result
    }

    fn mark(&self, end: CallEnd) {
        let now = Instant::now();
        if let Some(call) = self.log.lock().get_mut(self.index) {
            // The drop that follows `end` comes too late to matter.
            call.ended.get_or_insert((now, end));
        }
        self.log.changed.send_replace(());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.mark(if std::thread::panicking() {
            CallEnd::Panicked
        } else {
            CallEnd::Dropped
        });
    }
}

/// What of a provider's contract these calls break: overlaps, calls after `shutdown`, a second `shutdown` or attachment.
pub(crate) fn violations(calls: &[Call]) -> Vec<String> {
    let mut found = Vec::new();
    let mut shut_down = false;
    for (index, call) in calls.iter().enumerate() {
        if let Some(other) = call.during {
            found.push(format!("{} overlaps {other} (call {index})", call.method));
        }
        if shut_down {
            found.push(format!(
                "{} was called after shutdown (call {index})",
                call.method
            ));
        }
        shut_down |= call.method == ProviderMethod::Shutdown;
        if call.method == ProviderMethod::Attached && index > 0 {
            found.push(format!(
                "on_poller_attached was not the first call (call {index})"
            ));
        }
    }
    found
}

//! A source of definitions with scripted answers.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{
    FetchError, FetchErrorKind, FetchResponse, FlagDefinitionSource, KeyFingerprint,
    ProjectFingerprint,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Latch;
use super::fault::injected_panic;

/// What a [`ScriptedSource`] answers to one request, at once or later.
#[derive(Clone, Debug)]
pub struct Reply {
    kind: ReplyKind,
    delay: Option<Duration>,
    gate: Option<Latch>,
}

#[derive(Clone, Debug)]
enum ReplyKind {
    /// What the API holds now, or the word that it is unchanged.
    Current,
    Response(FetchResponse),
    Failure(FetchErrorKind, Option<Duration>),
    Panic,
    Hang,
}

impl Reply {
    fn new(kind: ReplyKind) -> Self {
        Self {
            kind,
            delay: None,
            gate: None,
        }
    }

    /// As a sound API would: what it holds now, or a 304 if the request has the ETag of that.
    pub fn current() -> Self {
        Self::new(ReplyKind::Current)
    }

    /// A 200 with this body, whatever it is.
    pub fn definitions(body: impl Into<Bytes>, etag: Option<&str>) -> Self {
        let response = FetchResponse::Definitions {
            body: body.into(),
            etag: etag.map(str::to_owned),
        };
        Self::new(ReplyKind::Response(response))
    }

    /// A 304, whatever ETag was sent.
    pub fn not_modified(etag: Option<&str>) -> Self {
        Self::new(ReplyKind::Response(FetchResponse::NotModified {
            etag: etag.map(str::to_owned),
        }))
    }

    /// The request fails.
    pub fn failure(failure: FetchErrorKind) -> Self {
        Self::new(ReplyKind::Failure(failure, None))
    }

    /// The request fails and the server says when to come again.
    pub fn failure_with_retry_after(failure: FetchErrorKind, retry_after: Duration) -> Self {
        Self::new(ReplyKind::Failure(failure, Some(retry_after)))
    }

    /// The request panics at its first poll.
    pub fn panic() -> Self {
        Self::new(ReplyKind::Panic)
    }

    /// The request never ends.
    pub fn hang() -> Self {
        Self::new(ReplyKind::Hang)
    }

    /// The reply comes this much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The reply comes once `gate` is open.
    #[must_use]
    pub fn once_open(mut self, gate: &Latch) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// One request to a [`ScriptedSource`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The ETag that was sent.
    pub etag: Option<String>,
    /// When it began.
    pub started: Instant,
    /// When it ended, also by being dropped; `None` while it runs.
    pub ended: Option<Instant>,
    /// Whether another request was still running when this one began. A poller has one at a time.
    pub overlaps: bool,
    /// What PostHog would bill: 10 for a 200, 1 for a 304, else 0.
    pub units: u64,
}

/// A source in memory whose replies are scripted, and which remembers every request.
///
/// Untouched it is a sound API that holds an empty set without an ETag: [`serve`](Self::serve) changes what it holds,
/// [`then`](Self::then) queues other replies, [`always`](Self::always) sets what it does when the queue is empty. Clones
/// share all of it, so a test hands one to a poller and keeps another.
///
/// ```
/// use flagcache_core::{FetchErrorKind, FetchResponse, FlagDefinitionSource};
/// use flagcache_providers::testing::{Reply, ScriptedSource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let api = ScriptedSource::new();
/// api.serve(r#"{"flags":[]}"#, Some("\"1\""));
/// api.then(Reply::failure(FetchErrorKind::Server));
/// assert!(api.fetch(None).await.is_err());
/// assert!(matches!(api.fetch(None).await?, FetchResponse::Definitions { .. }));
/// assert!(matches!(api.fetch(Some("\"1\"")).await?, FetchResponse::NotModified { .. }));
/// assert_eq!(api.units(), 11);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedSource {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    body: Bytes,
    etag: Option<String>,
    queue: VecDeque<Reply>,
    standing: Reply,
    has_key: bool,
    project: Option<ProjectFingerprint>,
    requests: Vec<Request>,
}

impl ScriptedSource {
    /// A sound API that holds an empty set.
    pub fn new() -> Self {
        let state = State {
            body: Bytes::from_static(br#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#),
            etag: None,
            queue: VecDeque::new(),
            standing: Reply::current(),
            has_key: true,
            project: None,
            requests: Vec::new(),
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                changed: watch::Sender::new(()),
            }),
        }
    }

    /// Replaces what the API holds.
    pub fn serve(&self, body: impl Into<Bytes>, etag: Option<&str>) -> &Self {
        let mut state = self.lock();
        state.body = body.into();
        state.etag = etag.map(str::to_owned);
        drop(state);
        self
    }

    /// Adds a reply to the queue; each is given once, in order.
    pub fn then(&self, reply: Reply) -> &Self {
        self.lock().queue.push_back(reply);
        self
    }

    /// Sets the reply given whenever the queue is empty; default [`Reply::current`].
    pub fn always(&self, reply: Reply) -> &Self {
        self.lock().standing = reply;
        self
    }

    /// Takes the secret key away or gives it back: without one `can_fetch` is `false` and a request is refused.
    pub fn set_has_key(&self, has_key: bool) -> &Self {
        self.lock().has_key = has_key;
        self
    }

    /// Sets the project that `project()` names; default `None`.
    pub fn set_project(&self, project: Option<ProjectFingerprint>) -> &Self {
        self.lock().project = project;
        self
    }

    /// Every request so far, in order of beginning.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The ETags sent so far, in order.
    pub fn etags_sent(&self) -> Vec<Option<String>> {
        self.lock()
            .requests
            .iter()
            .map(|request| request.etag.clone())
            .collect()
    }

    /// How many requests have begun.
    pub fn count(&self) -> usize {
        self.lock().requests.len()
    }

    /// What PostHog would have billed for the requests that ended.
    pub fn units(&self) -> u64 {
        self.lock()
            .requests
            .iter()
            .map(|request| request.units)
            .sum()
    }

    /// Waits until `times` requests have begun in all. Cancel safe; put a timeout around it.
    pub async fn requested(&self, times: usize) {
        let mut changed = self.inner.changed.subscribe();
        while self.count() < times {
            // Cannot fail: `self` keeps the sender alive.
            let _ = changed.changed().await;
        }
    }

    /// How many requests began while another one was still running. A poller has one at a time.
    pub fn overlaps(&self) -> usize {
        self.lock()
            .requests
            .iter()
            .filter(|request| request.overlaps)
            .count()
    }

    fn begin(&self, etag: Option<&str>) -> (Running<'_>, Option<Reply>) {
        let mut state = self.lock();
        let index = state.requests.len();
        // Decided here and not by the times: on a paused clock everything may happen at one instant.
        let overlaps = state.requests.iter().any(|earlier| earlier.ended.is_none());
        let etag = etag.map(str::to_owned);
        state.requests.push(Request {
            etag,
            started: Instant::now(),
            ended: None,
            overlaps,
            units: 0,
        });
        let reply = state.has_key.then(|| {
            state
                .queue
                .pop_front()
                .unwrap_or_else(|| state.standing.clone())
        });
        drop(state);
        self.inner.changed.send_replace(());
        (
            Running {
                source: self,
                index,
            },
            reply,
        )
    }

    fn current(&self, sent: Option<&str>) -> FetchResponse {
        let state = self.lock();
        match &state.etag {
            Some(etag) if sent == Some(etag) => FetchResponse::NotModified {
                etag: Some(etag.clone()),
            },
            etag => FetchResponse::Definitions {
                body: state.body.clone(),
                etag: etag.clone(),
            },
        }
    }

    // Nothing panics while it is held; a poisoned lock is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}

impl Default for ScriptedSource {
    fn default() -> Self {
        Self::new()
    }
}

/// A request in flight; it has ended when this is dropped.
struct Running<'a> {
    source: &'a ScriptedSource,
    index: usize,
}

impl Running<'_> {
    fn bill(&self, units: u64) {
        if let Some(request) = self.source.lock().requests.get_mut(self.index) {
            request.units = units;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.source.lock().requests.get_mut(self.index) {
            request.ended = Some(Instant::now());
        }
        self.source.inner.changed.send_replace(());
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl FlagDefinitionSource for ScriptedSource {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let (running, reply) = self.begin(etag);
        let Some(reply) = reply else {
            return Err(FetchError::new(
                FetchErrorKind::Unauthorized,
                "scripted: there is no secret key",
            ));
        };
        if let Some(delay) = reply.delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(gate) = reply.gate {
            gate.passed().await;
        }
        let response = match reply.kind {
            ReplyKind::Current => self.current(etag),
            ReplyKind::Response(response) => response,
            ReplyKind::Failure(failure, retry_after) => {
                let error = FetchError::new(failure, format!("scripted failure: {failure}"));
                // An unusable body came with a 200, and a 200 is billed.
                running.bill(if failure == FetchErrorKind::Unusable {
                    10
                } else {
                    0
                });
                return Err(error.with_retry_after(retry_after));
            }
            ReplyKind::Panic => injected_panic(),
            ReplyKind::Hang => std::future::pending().await,
        };
        running.bill(if matches!(response, FetchResponse::NotModified { .. }) {
            1
        } else {
            10
        });
        Ok(response)
    }

    fn can_fetch(&self) -> bool {
        self.lock().has_key
    }

    fn project(&self) -> Option<ProjectFingerprint> {
        self.lock().project
    }

    /// A scripted source has no key.
    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        None
    }

    async fn reload_key(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn replies_come_in_order_and_etags_are_remembered() {
        let api = ScriptedSource::new();
        let second = Duration::from_secs(1);
        api.then(Reply::failure_with_retry_after(
            FetchErrorKind::RateLimited,
            second,
        ))
        .then(Reply::hang());
        api.then(Reply::definitions("nonsense", None).after(second))
            .then(Reply::not_modified(None));
        assert_eq!(
            api.fetch(None).await.unwrap_err().retry_after(),
            Some(second)
        );
        assert!(timeout(second, api.fetch(Some("a"))).await.is_err());
        let begin = Instant::now();
        assert!(matches!(
            api.fetch(Some("b")).await.unwrap(),
            FetchResponse::Definitions { etag: None, .. }
        ));
        assert_eq!(begin.elapsed(), second);
        assert!(matches!(
            api.fetch(None).await.unwrap(),
            FetchResponse::NotModified { etag: None }
        ));
        assert_eq!(
            api.etags_sent(),
            [None, Some("a".to_owned()), Some("b".to_owned()), None]
        );
        assert_eq!((api.count(), api.units(), api.overlaps()), (4, 11, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn overlapping_requests_are_told() {
        let api = ScriptedSource::new();
        let (first, second) = tokio::join!(api.fetch(None), api.fetch(None));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(
            api.overlaps(),
            0,
            "a request that ends at its first poll overlaps nothing"
        );
        api.always(Reply::current().after(Duration::from_secs(1)));
        let (first, second) = tokio::join!(api.fetch(None), api.fetch(None));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(api.overlaps(), 1);
    }

    #[tokio::test]
    async fn without_a_key_a_request_is_refused_and_remembered() {
        let api = ScriptedSource::new();
        api.set_has_key(false);
        assert!(!api.can_fetch());
        assert_eq!(
            api.fetch(None).await.unwrap_err().kind(),
            FetchErrorKind::Unauthorized
        );
        assert_eq!((api.count(), api.units()), (1, 0));
    }
}

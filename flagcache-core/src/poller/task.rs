//! [`PollerTask`]: the one task of a poller. Carries out the machine's steps and feeds the results back; it decides
//! nothing.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::future::pending;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::state::{Outcome, Shared};
use crate::guard::{Interrupted, guarded};
use crate::lifecycle::{Call, CallError, Event, Fetched, Machine, Reply, RequestedBy, Step};
use crate::poller::changes::difference;
use crate::poller::guard::Guard;
use crate::poller::observer::{Billed, Observer};
use crate::poller::refresh_requests::{RefreshReply, RefreshRequests};
use crate::{
    DefinitionsChange, DefinitionsDiff, DefinitionsOrigin, FetchError, FetchErrorKind,
    FetchResponse, FlagDefinitionCacheData, FlagDefinitionSource, LoadError, PollerContextOwner,
    PollerSchedule, PollerState, ProjectFingerprint, ProviderError, ProviderErrorKind,
    ProviderMethod,
};

/// Larger definitions are compared on the blocking pool.
const COMPARE_INLINE: usize = 256 * 1024;

/// How long a source may take to read its key again.
const RELOAD_KEY_LIMIT: Duration = Duration::from_secs(1);

/// A request from a handle to the task.
#[derive(Debug)]
pub(super) enum Request {
    /// Load now, and reply with the error, if any.
    Refresh(oneshot::Sender<Option<LoadError>>),
    /// Pass a request for a refresh to the leader.
    Leader(RefreshReply),
    Stop,
}

type ProviderCall = BoxFuture<'static, (ProviderMethod, Reply<ProviderError>)>;

/// The result of a fetch, before the machine gets it.
struct Received {
    billed: Billed,
    fetched: Result<Fetched, FetchError>,
}

/// What a new task is made from.
pub(super) struct TaskConfig {
    pub(super) machine: Machine,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) source: Option<Arc<dyn FlagDefinitionSource>>,
    pub(super) fetch_timeout: Duration,
    pub(super) schedule: PollerSchedule,
    pub(super) context: PollerContextOwner,
    /// The result of `on_poller_attached`.
    pub(super) attached: Result<(), ProviderError>,
    pub(super) shared: Arc<Shared>,
    pub(super) changes: broadcast::Sender<DefinitionsChange>,
}

/// Owns the task while it is idle: in manual mode, between two loads. Otherwise the task runs on the runtime.
pub(super) struct TaskSlot {
    requests: mpsc::UnboundedSender<Request>,
    runtime: Handle,
    manual: bool,
    idle_task: Mutex<Option<PollerTask>>,
}

impl std::fmt::Debug for TaskSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSlot")
            .field("manual", &self.manual)
            .finish_non_exhaustive()
    }
}

impl TaskSlot {
    pub(super) fn new(config: TaskConfig, runtime: Handle) -> Arc<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let manual = config.schedule.manual;
        let task = PollerTask::new(config, inbox);
        let slot = Arc::new(Self {
            requests,
            runtime,
            manual,
            idle_task: Mutex::new(None),
        });
        if manual {
            *slot.idle_task() = Some(task);
        } else {
            slot.spawn(task, None);
        }
        slot
    }

    /// Spawns the task. On a runtime that has shut down it is dropped, which ends the poller too.
    fn spawn(&self, task: PollerTask, slot: Option<Weak<Self>>) {
        self.runtime.spawn(
            task.run(slot)
                .instrument(tracing::info_span!(target: "flagcache", "flagcache_poller")),
        );
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn idle_task(&self) -> MutexGuard<'_, Option<PollerTask>> {
        self.idle_task.lock()
    }

    /// Sends a request and wakes an idle task. If the task is gone, the request is dropped, which its caller notices.
    pub(super) fn send(self: &Arc<Self>, request: Request) {
        // Under the lock, so that a task that is about to become idle either sees the request or is woken here.
        let mut idle_task = self.idle_task();
        let _ = self.requests.send(request);
        if let Some(task) = idle_task.take() {
            self.spawn(task, Some(Arc::downgrade(self)));
        }
    }
}

/// The last handle was dropped: runs an idle task once more, so that it shuts its provider down.
impl Drop for TaskSlot {
    fn drop(&mut self) {
        if let Some(task) = self.idle_task().take() {
            self.spawn(task, None);
        }
    }
}

pub(super) struct PollerTask {
    machine: Machine,
    guard: Option<Arc<Guard>>,
    source: Option<Arc<dyn FlagDefinitionSource>>,
    project: Option<ProjectFingerprint>,
    fetch_timeout: Duration,
    schedule: PollerSchedule,
    context: PollerContextOwner,
    shared: Arc<Shared>,
    changes: broadcast::Sender<DefinitionsChange>,
    inbox: mpsc::UnboundedReceiver<Request>,
    /// The last handle was dropped: no more requests will come.
    orphaned: bool,
    callers: Vec<oneshot::Sender<Option<LoadError>>>,
    refresh_requests: RefreshRequests,
    observer: Observer,
    /// The provider call in progress.
    call: Option<ProviderCall>,
    /// The fetch in progress.
    fetch: Option<(u64, BoxFuture<'static, Received>)>,
    outcome: Outcome,
    ended: bool,
}

impl PollerTask {
    fn new(config: TaskConfig, inbox: mpsc::UnboundedReceiver<Request>) -> Self {
        let mut observer = Observer::default();
        observer.attached(&config.attached);
        Self {
            machine: config.machine,
            guard: config.guard,
            project: config.source.as_ref().and_then(|source| source.project()),
            source: config.source,
            fetch_timeout: config.fetch_timeout,
            schedule: config.schedule,
            context: config.context,
            shared: config.shared,
            changes: config.changes,
            inbox,
            orphaned: false,
            callers: Vec::new(),
            refresh_requests: RefreshRequests::default(),
            observer,
            call: None,
            fetch: None,
            outcome: Outcome::Clean,
            ended: false,
        }
    }

    /// Runs until the poller ends; with a slot, until the task is idle.
    async fn run(mut self, slot: Option<Weak<TaskSlot>>) {
        while !self.ended {
            if let Some(slot) = &slot
                && self.machine.is_idle()
                && self.refresh_requests.is_empty()
                && self.inbox.is_empty()
                && let Some(slot) = slot.upgrade()
            {
                let mut idle_task = slot.idle_task();
                if self.inbox.is_empty() {
                    *idle_task = Some(self);
                    return;
                }
            }
            if let Some(event) = self.next_event().await {
                self.apply(event).await;
            }
        }
    }

    /// The next event for the machine; `None` if what happened does not concern it.
    async fn next_event(&mut self) -> Option<Event> {
        let deadline = self.machine.deadline();
        let event = tokio::select! {
            // Results before requests: they are older.
            biased;
            (method, reply) = in_progress(self.call.as_mut()) => {
                self.call = None;
                Event::Replied(self.replied(method, reply))
            }
            received = in_progress(self.fetch.as_mut().map(|(_, future)| future)) => {
                let generation = self.fetch.take().map_or(0, |(generation, _)| generation);
                Event::Fetched { generation, fetched: self.received(received) }
            }
            request = self.inbox.recv(), if !self.orphaned => match request {
                Some(Request::Leader(reply)) => return self.request_refresh(reply),
                Some(Request::Refresh(reply)) => {
                    // Dropped while the poller stops, so that its caller learns that no load will follow.
                    if !self.machine.is_stopping() {
                        self.callers.push(reply);
                    }
                    Event::Refresh
                }
                request => {
                    self.orphaned = request.is_none();
                    self.callers.clear();
                    // Ends the provider call in progress, so that `shutdown` is the last one.
                    self.refresh_requests.stop();
                    Event::Stop
                }
            },
            carried = self.refresh_requests.carried(self.guard.as_ref()) => return self.refresh_carried(carried),
            () = self.context.changed() => Event::Notification,
            () = self.context.refresh_requested() => Event::RefreshRequested(RequestedBy::Store),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Event::Timer,
        };
        Some(event)
    }

    // ---- requests for a refresh of the fleet ---------------------------------------------------------------------

    fn request_refresh(&mut self, reply: RefreshReply) -> Option<Event> {
        if self.machine.is_stopping() {
            return None;
        }
        if self.guard.is_some() {
            self.refresh_requests.push(reply);
            return None;
        }
        self.observer.refresh_requested();
        let _ = reply.send(Ok(()));
        Some(Event::RefreshRequested(RequestedBy::HandleAlone))
    }

    /// The provider answered the call for the oldest requests.
    fn refresh_carried(&mut self, carried: Result<bool, ProviderError>) -> Option<Event> {
        let carried = match carried {
            Ok(false) if self.source.is_none() => Err(ProviderError::new(
                ProviderErrorKind::Other,
                "the store carries no requests for a refresh, and this worker has no secret key to ask the API itself",
            )),
            carried => carried,
        };
        let carried = carried.map_err(Arc::new);
        self.observer
            .provider_method_answered(ProviderMethod::RequestRefresh, &carried);
        let (event, answer) = match carried {
            Ok(carried) => {
                self.observer.refresh_requested();
                let by = if carried {
                    RequestedBy::Handle
                } else {
                    RequestedBy::HandleAlone
                };
                (Some(Event::RefreshRequested(by)), Ok(()))
            }
            Err(error) => {
                let method = ProviderMethod::RequestRefresh;
                (None, Err(LoadError::Provider { method, error }))
            }
        };
        self.refresh_requests.answer(&answer);
        if event.is_none() {
            self.publish_status();
        }
        event
    }

    /// Passes the event to the machine, and carries out its steps.
    async fn apply(&mut self, event: Event) {
        self.update_key();
        if let Some(report) = self.context.take_report() {
            if let Some(failure) = &report.fleet_failure
                && failure.refuses(self.schedule.key)
            {
                self.reload_key().await;
            }
            self.machine.handle(Instant::now(), Event::Reported(report));
        }
        let mut steps = VecDeque::from(self.machine.handle(Instant::now(), event));
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Notice(notice) => {
                    self.observer.noticed(notice, self.schedule.poll_interval);
                }
                Step::Call(call) => self.call = self.start_call(call),
                Step::Fetch { generation, etag } => self.start_fetch(generation, etag),
                Step::CancelFetch => {
                    let cancelled = self.fetch.take();
                    let _ = catch_unwind(AssertUnwindSafe(move || drop(cancelled)));
                }
                Step::Install { data, origin } => self.install(Some(data), Some(origin)).await,
                Step::Clear => self.install(None, None).await,
                Step::LoadEnded { ticked, unserved } => self.load_ended(ticked, unserved),
                Step::Ended => {
                    self.observer.stopped();
                    self.ended = true;
                }
            }
        }
        self.publish_status();
    }

    /// The key that the next request carries. Returns whether it has changed.
    fn update_key(&mut self) -> bool {
        let key = self
            .source
            .as_ref()
            .and_then(|source| source.key_fingerprint());
        self.machine.set_key(key);
        let changed = self.schedule.key != key;
        if changed {
            self.schedule.key = key;
            self.context.set_schedule(self.schedule);
        }
        changed
    }

    /// The API refused this worker's key to another worker. If it has been replaced, the worker may try to lead at once.
    async fn reload_key(&mut self) {
        let Some(source) = &self.source else { return };
        // A source that hangs or panics keeps its key.
        let _ = guarded(RELOAD_KEY_LIMIT, || source.reload_key()).await;
        if self.update_key() {
            self.context.context().notify_changed();
        }
    }

    // ---- provider calls ------------------------------------------------------------------------------------------

    fn start_call(&self, call: Call) -> Option<ProviderCall> {
        let guard = Arc::clone(self.guard.as_ref()?);
        Some(Box::pin(async move {
            let method = call.method();
            let reply = match call {
                Call::Decide => Reply::Decision(guard.should_fetch().await),
                Call::Stored => Reply::Definitions(guard.stored().await),
                Call::Read => Reply::Definitions(guard.get().await),
                Call::Publish(data) => Reply::Done(guard.received(&data).await),
                Call::FetchWithoutUpdate(outcome) => {
                    Reply::Done(guard.fetch_without_update(outcome).await)
                }
                Call::Shutdown => Reply::Done(guard.shutdown().await),
            };
            (method, reply)
        }))
    }

    /// Logs the reply, and reduces its error to what the machine needs.
    fn replied(&mut self, method: ProviderMethod, reply: Reply<ProviderError>) -> Reply<CallError> {
        match reply {
            Reply::Decision(decision) => {
                Reply::Decision(self.observed(method, decision.map_err(Arc::new)))
            }
            Reply::Definitions(copy) => {
                let copy = self.check_project(copy);
                Reply::Definitions(self.observed(method, copy.map_err(Arc::new)))
            }
            Reply::Done(done) => {
                let done = done.map_err(Arc::new);
                if let (ProviderMethod::Shutdown, Err(error)) = (method, &done) {
                    self.outcome = Outcome::ProviderFailed(Arc::clone(error));
                }
                Reply::Done(self.observed(method, done))
            }
        }
    }

    fn observed<T>(
        &mut self,
        method: ProviderMethod,
        result: Result<T, Arc<ProviderError>>,
    ) -> Result<T, CallError> {
        self.observer.provider_answered(method, &result);
        result.map_err(|error| match error.kind() {
            ProviderErrorKind::InvalidData => CallError::Damaged,
            _ => CallError::Failed,
        })
    }

    /// Rejects a copy of another project.
    fn check_project(
        &self,
        answer: Result<Option<FlagDefinitionCacheData>, ProviderError>,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let copy = answer?;
        let theirs = copy.as_ref().and_then(FlagDefinitionCacheData::project);
        match (self.project, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(ProviderError::new(
                ProviderErrorKind::InvalidData,
                "the store holds the flag definitions of another project; give each project a service name of its own",
            )),
            _ => Ok(copy),
        }
    }

    // ---- fetches -------------------------------------------------------------------------------------------------

    fn start_fetch(&mut self, generation: u64, etag: Option<String>) {
        let Some(source) = self.source.clone() else {
            return;
        };
        self.observer.request_sent();
        let (timeout, project) = (self.fetch_timeout, self.project);
        let shared = Arc::clone(&self.shared);
        let fetch = async move {
            let response = guarded(timeout, || async { source.fetch(etag.as_deref()).await })
                .await
                .unwrap_or_else(|interrupted| {
                    Err(match interrupted {
                        Interrupted::TimedOut => FetchError::new(
                            FetchErrorKind::Timeout,
                            format!(
                                "the source of flag definitions did not answer within the fetch timeout of {timeout:?}"
                            ),
                        ),
                        Interrupted::Panicked(_) => FetchError::new(
                            FetchErrorKind::Rejected,
                            "the source of flag definitions panicked",
                        ),
                    })
                });
            decode_response(response, project, shared.definitions().as_ref()).await
        };
        self.fetch = Some((generation, Box::pin(fetch)));
    }

    fn received(&mut self, received: Received) -> Fetched {
        self.observer.request_billed(received.billed);
        match received.fetched {
            Ok(fetched) => {
                self.observer.fetch_succeeded(received.billed);
                fetched
            }
            Err(error) => {
                let failed = Fetched::Failed {
                    failure: error.kind(),
                    retry_after: error.retry_after(),
                };
                self.observer.fetch_failed(error);
                failed
            }
        }
    }

    // ---- definitions in memory -----------------------------------------------------------------------------------

    /// Replaces the definitions in memory, and announces a change.
    async fn install(
        &mut self,
        new: Option<FlagDefinitionCacheData>,
        origin: Option<DefinitionsOrigin>,
    ) {
        let old = self.shared.definitions();
        let diff = compared(old.as_ref(), new.as_ref()).await;
        self.shared.install(new.clone());
        // The first definitions are a change even if they are empty.
        if diff.is_empty() && old.is_some() == new.is_some() {
            return;
        }
        let version = {
            let mut status = self.shared.task_status();
            status.version += 1;
            status.version
        };
        let change = DefinitionsChange {
            version,
            origin,
            diff,
            old,
            new,
        };
        self.observer.changed(&change);
        // Fails if there is no subscriber.
        let _ = self.changes.send(change);
    }

    // ---- reporting -----------------------------------------------------------------------------------------------

    fn load_ended(&mut self, ticked: bool, unserved: bool) {
        let error = self.observer.load_ended(ticked, unserved);
        if error.is_none() {
            self.shared.task_status().last_success_at = Some(Instant::now());
        }
        self.publish_status();
        for caller in self.callers.drain(..) {
            // Fails if the caller is gone.
            let _ = caller.send(error.clone());
        }
    }

    fn publish_status(&mut self) {
        let now = Instant::now();
        let backoff = self.machine.backoff(now);
        let (confirmed_at, unconfirmed) = self.machine.confirmation();
        self.observer.role(self.machine.role());
        self.observer.confirmed(confirmed_at);
        let mut status = self.shared.task_status();
        status.role = self.machine.role();
        status.origin = self.machine.origin();
        status.refusal = self.machine.refusal();
        status.api_failure = self.machine.last_failure();
        status.unconfirmed = unconfirmed;
        status.confirmed_at = confirmed_at;
        status.backoff_ends_at = (!backoff.is_zero()).then(|| now + backoff);
        status.last_error.clone_from(&self.observer.last_error);
        status.counters = self.observer.counters;
        status.units_per_day = self.observer.units_per_day(now);
        drop(status);
        self.shared.announce();
        self.observer.state(if self.ended {
            PollerState::Stopped
        } else {
            self.shared.status().state
        });
        if self.schedule.fetch_backoff != backoff {
            self.schedule.fetch_backoff = backoff;
            self.context.set_schedule(self.schedule);
        }
    }
}

/// However the task ends: by its last step, with the runtime, or by a panic.
impl Drop for PollerTask {
    fn drop(&mut self) {
        // Before waiters are woken, because they may attach the provider to another poller. A user's `drop` may panic.
        let foreign = (
            self.call.take(),
            self.fetch.take(),
            self.refresh_requests.stop(),
            self.guard.take(),
            self.source.take(),
        );
        let _ = catch_unwind(AssertUnwindSafe(move || drop(foreign)));
        self.shared
            .ended(mem::replace(&mut self.outcome, Outcome::Clean));
    }
}

/// Decodes the response, which probably differs little from `previous`, away from the runtime's threads if it is large.
async fn decode_response(
    response: Result<FetchResponse, FetchError>,
    project: Option<ProjectFingerprint>,
    previous: Option<&FlagDefinitionCacheData>,
) -> Received {
    match response {
        Ok(FetchResponse::Definitions { body, etag }) => {
            let data = FlagDefinitionCacheData::decode_api_response_after(
                body,
                etag.as_deref(),
                SystemTime::now(),
                project,
                previous,
            )
            .await;
            let fetched = data.map(Fetched::New).map_err(|error| {
                let message = "the API answered 200, but the body is not valid flag definitions";
                FetchError::new(FetchErrorKind::Unusable, message).with_source(error)
            });
            Received {
                billed: Billed::Full,
                fetched,
            }
        }
        Ok(FetchResponse::NotModified { etag }) => {
            let etag = etag.filter(|etag| !etag.is_empty());
            Received {
                billed: Billed::NotModified,
                fetched: Ok(Fetched::NotModified { etag }),
            }
        }
        Err(error) => {
            // PostHog bills a 200 even if the source could not use it.
            let billed = if error.kind() == FetchErrorKind::Unusable {
                Billed::Full
            } else {
                Billed::Nothing
            };
            Received {
                billed,
                fetched: Err(error),
            }
        }
    }
}

/// Awaits the future in progress; pending for ever if there is none.
async fn in_progress<T>(future: Option<&mut BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn compared(
    old: Option<&FlagDefinitionCacheData>,
    new: Option<&FlagDefinitionCacheData>,
) -> DefinitionsDiff {
    let size = |snapshot: Option<&FlagDefinitionCacheData>| {
        snapshot.map_or(0, FlagDefinitionCacheData::content_len)
    };
    let same = matches!((old, new), (Some(old), Some(new)) if old.same_content(new));
    if same || size(old).max(size(new)) <= COMPARE_INLINE {
        return difference(old, new);
    }
    let (old, new) = (old.cloned(), new.cloned());
    let comparison = tokio::task::spawn_blocking(move || difference(old.as_ref(), new.as_ref()));
    // Fails only when the runtime shuts down.
    comparison.await.unwrap_or_default()
}

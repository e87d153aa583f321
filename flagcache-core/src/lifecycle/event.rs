//! [`Event`] and [`Step`]: the input and output of the state machine.

use std::time::Duration;

use crate::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetStatus, ProviderMethod};

/// Why a provider call returned nothing. The observer has logged the error itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Error, panic or timeout.
    Failed,
    /// The store was reached, but its copy is unusable.
    Damaged,
}

/// The result of a provider call. At most one is in progress, so the machine's phase says which.
#[derive(Clone, Debug)]
pub(crate) enum Reply<E> {
    Decision(Result<bool, E>),
    Definitions(Result<Option<FlagDefinitionCacheData>, E>),
    Done(Result<(), E>),
}

/// The result of a GET.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    New(FlagDefinitionCacheData),
    NotModified {
        etag: Option<String>,
    },
    Failed {
        failure: FetchErrorKind,
        retry_after: Option<Duration>,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// [`Machine::deadline`](super::Machine::deadline) passed.
    Timer,
    /// A user requested a load.
    Refresh,
    /// The store notified: its copy, or the leader, may have changed.
    Notification,
    /// A refresh of the fleet is requested.
    RefreshRequested(RequestedBy),
    /// Shutdown was requested.
    Stop,
    /// The store reported its fleet status, in the call whose result comes next.
    Reported(FleetStatus),
    /// The provider call in progress returned.
    Replied(Reply<CallError>),
    Fetched {
        generation: u64,
        fetched: Fetched,
    },
}

/// The origin of a request for a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestedBy {
    /// The store passes it to the leader, perhaps to this worker.
    Store,
    /// This worker's handle; the store carries it to the leader, which may be this worker.
    Handle,
    /// This worker's handle; there is no store that carries it.
    HandleAlone,
}

/// Where the definitions in memory came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DefinitionsOrigin {
    /// Fetched from the API by this worker.
    Api,
    /// Read from the store.
    Cache,
}

impl DefinitionsOrigin {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cache => "cache",
        }
    }
}

/// A provider call. At most one is in progress.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Decide,
    Stored,
    Read,
    Publish(FlagDefinitionCacheData),
    FetchWithoutUpdate(FetchOutcome),
    Shutdown,
}

impl Call {
    /// The method that is called.
    pub(crate) fn method(&self) -> ProviderMethod {
        match self {
            Self::Decide => ProviderMethod::ShouldFetch,
            Self::Stored => ProviderMethod::Peek,
            Self::Read => ProviderMethod::Get,
            Self::Publish(_) => ProviderMethod::Received,
            Self::FetchWithoutUpdate(_) => ProviderMethod::FetchWithoutUpdate,
            Self::Shutdown => ProviderMethod::Shutdown,
        }
    }
}

/// What a change removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    /// How many of the `flags` in memory.
    pub(crate) removed: usize,
    pub(crate) flags: usize,
    /// All group types.
    pub(crate) group_types: bool,
    /// All cohorts.
    pub(crate) cohorts: bool,
}

/// What to count, and in some cases to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A 200 had the definitions that were already held.
    Wasted {
        /// It is the first time that this is certain since the server last knew its ETag.
        warn: bool,
        /// The interval of the requests, if the policy has stretched it.
        stretched: Option<Duration>,
    },
    /// A change is held back until the next answer.
    HeldBack(Removal),
}

/// What to do next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Notice(Notice),
    Call(Call),
    /// Send a GET. At most one is in progress; its result comes back with this generation.
    Fetch {
        generation: u64,
        etag: Option<String>,
    },
    CancelFetch,
    /// Replace the definitions in memory.
    Install {
        data: FlagDefinitionCacheData,
        origin: DefinitionsOrigin,
    },
    /// Drop the definitions in memory.
    Clear,
    /// The load is over; wake its callers.
    LoadEnded {
        /// The load was started by a tick.
        ticked: bool,
        /// The load needed the API, and its request failed or was suppressed by backoff.
        unserved: bool,
    },
    /// The last step.
    Ended,
}

//! [`Event`] and [`Step`]: the input and output of the state machine.

use std::time::Duration;

use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetFailure, FleetStatus};

/// A provider call failed: error, panic, timeout or undecodable data. The machine treats them alike; the observer has
/// logged which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

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
    /// Shutdown was requested.
    Stop,
    /// The store reported its fleet status, in the call whose result comes next.
    Reported(FleetStatus),
    /// `should_fetch_flag_definitions` returned.
    Decided(Result<bool, Failed>),
    /// `peek_flag_definitions` returned.
    Stored(Result<Option<FlagDefinitionCacheData>, Failed>),
    /// `get_flag_definitions` returned.
    Read(Result<Option<FlagDefinitionCacheData>, Failed>),
    /// `get_flag_definitions` returned, but the stored copy is unusable.
    Damaged,
    /// `on_flag_definitions_received` returned.
    Published(Result<(), Failed>),
    /// `on_fetch_without_update` returned, with or without an error.
    ReportSent,
    /// The provider's `shutdown` returned, with or without an error.
    ShutDown,
    Fetched {
        generation: u64,
        fetched: Fetched,
    },
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
    FetchWithoutUpdate {
        failure: Option<FetchErrorKind>,
        data: Option<FlagDefinitionCacheData>,
        step_down_for: Option<Duration>,
        /// The failure to keep beside the lock.
        fleet_failure: Option<FleetFailure>,
    },
    Shutdown,
}

/// What to do next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
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

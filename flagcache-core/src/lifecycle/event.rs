//! What the state machine is told, and what it answers.

use std::time::Duration;

use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetFailure, FleetStatus};

/// A provider call failed: error, panic, time limit or undecodable data. The machine treats all alike; the observer has
/// logged which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// What a GET brought.
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
    /// Somebody asked for a load.
    Refresh,
    /// The store says that its copy, or who leads, may have changed.
    Notification,
    /// Somebody asked for the end.
    Stop,
    /// The store told what it knows of the fleet, in the call whose answer comes next.
    Reported(FleetStatus),
    /// `should_fetch_flag_definitions` answered.
    Decided(Result<bool, Failed>),
    /// `peek_flag_definitions` answered.
    Stored(Result<Option<FlagDefinitionCacheData>, Failed>),
    /// `get_flag_definitions` answered.
    Read(Result<Option<FlagDefinitionCacheData>, Failed>),
    /// `get_flag_definitions` answered, and what the store holds is no usable copy.
    Damaged,
    /// `on_flag_definitions_received` answered.
    Published(Result<(), Failed>),
    /// `on_fetch_without_update` answered, well or not.
    ReportSent,
    /// The provider's `shutdown` ended, well or not.
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

/// A call to the provider. At most one is under way.
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
        /// What the store keeps beside the lock.
        fleet_failure: Option<FleetFailure>,
    },
    Shutdown,
}

/// What to do next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call(Call),
    /// Send a GET. At most one is under way; its answer comes back with this generation.
    Fetch {
        generation: u64,
        etag: Option<String>,
    },
    CancelFetch,
    /// Swap the set in memory.
    Install {
        data: FlagDefinitionCacheData,
        source: DefinitionsOrigin,
    },
    /// Drop the set in memory.
    Clear,
    /// The load is over; whoever waits for it can go on.
    LoadEnded {
        /// The load was one of the regular ones.
        ticked: bool,
        /// The load needed the API, and its request failed or was put off because an earlier one had failed.
        unserved: bool,
    },
    /// Nothing comes after this.
    Ended,
}

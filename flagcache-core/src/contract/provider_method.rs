//! [`ProviderMethod`]: the methods of a provider, by name.

use std::fmt;

/// A method of [`FlagDefinitionCacheProvider`](crate::FlagDefinitionCacheProvider), as logs, metrics and tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderMethod {
    /// `should_fetch_flag_definitions`: the decision.
    ShouldFetch,
    /// `get_flag_definitions`: the read.
    Get,
    /// `on_flag_definitions_received`: the publish.
    Received,
    /// `shutdown`.
    Shutdown,
    /// `peek_flag_definitions`: the read of a leader without definitions.
    Peek,
    /// `on_fetch_without_update`: the report of a load that brought nothing new.
    FetchWithoutUpdate,
    /// `request_refresh`: passes a request for a refresh to the leader.
    RequestRefresh,
    /// `on_poller_attached`, the one that is not async.
    Attached,
}

impl ProviderMethod {
    /// The async methods that loads and the shutdown call, in the order in which the trait declares them.
    pub const ASYNC: [Self; 6] = [
        Self::ShouldFetch,
        Self::Get,
        Self::Received,
        Self::Shutdown,
        Self::Peek,
        Self::FetchWithoutUpdate,
    ];

    /// The name of the method in the trait. Stable: logs and metrics use it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShouldFetch => "should_fetch_flag_definitions",
            Self::Get => "get_flag_definitions",
            Self::Received => "on_flag_definitions_received",
            Self::Shutdown => "shutdown",
            Self::Peek => "peek_flag_definitions",
            Self::FetchWithoutUpdate => "on_fetch_without_update",
            Self::RequestRefresh => "request_refresh",
            Self::Attached => "on_poller_attached",
        }
    }
}

impl fmt::Display for ProviderMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

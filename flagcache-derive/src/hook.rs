//! The methods that a provider may define: one table for the checks, the messages and the expansion.

use std::fmt;

/// A method of `FlagDefinitionCacheProvider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    ShouldFetch,
    Get,
    Received,
    Shutdown,
    Stored,
    FetchWithoutUpdate,
    Attached,
}

/// What a method answers, by the name of its alias in `macro_support`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Decision,
    Definitions,
    Done,
    /// Not a call to be awaited: the trait's method is a plain `fn` without a value.
    Nothing,
}

/// What a method is given besides `&self`, by the name of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Data,
    Outcome,
    Link,
}

impl Hook {
    /// In the order in which messages list them.
    pub(crate) const ALL: [Self; 7] = [
        Self::ShouldFetch,
        Self::Get,
        Self::Received,
        Self::Shutdown,
        Self::Stored,
        Self::FetchWithoutUpdate,
        Self::Attached,
    ];

    /// The method with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ShouldFetch => "should_fetch_flag_definitions",
            Self::Get => "get_flag_definitions",
            Self::Received => "on_flag_definitions_received",
            Self::Shutdown => "shutdown",
            Self::Stored => "peek_flag_definitions",
            Self::FetchWithoutUpdate => "on_fetch_without_update",
            Self::Attached => "on_poller_attached",
        }
    }

    /// Whether the trait has no default for it.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::ShouldFetch | Self::Get | Self::Received)
    }

    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::ShouldFetch => Answer::Decision,
            Self::Get | Self::Stored => Answer::Definitions,
            Self::Received | Self::Shutdown | Self::FetchWithoutUpdate => Answer::Done,
            Self::Attached => Answer::Nothing,
        }
    }

    pub(crate) fn given(self) -> Option<Given> {
        match self {
            Self::Received => Some(Given::Data),
            Self::FetchWithoutUpdate => Some(Given::Outcome),
            Self::Attached => Some(Given::Link),
            Self::ShouldFetch | Self::Get | Self::Shutdown | Self::Stored => None,
        }
    }

    /// The parameter list, for messages.
    pub(crate) fn parameters(self) -> &'static str {
        match self.given() {
            None => "(&self)",
            Some(Given::Data) => "(&self, data: &FlagDefinitionCacheData)",
            Some(Given::Outcome) => "(&self, outcome: FetchOutcome<'_>)",
            Some(Given::Link) => "(&self, link: PollerContext)",
        }
    }

    /// The usual signature, for messages.
    pub(crate) fn signature(self) -> String {
        let (asyncness, output) = match self.answer() {
            Answer::Decision => ("async ", " -> bool"),
            Answer::Definitions => ("async ", " -> Option<FlagDefinitionCacheData>"),
            Answer::Done => ("async ", ""),
            Answer::Nothing => ("", ""),
        };
        format!("{asyncness}fn {self}{}{output}", self.parameters())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

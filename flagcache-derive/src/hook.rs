//! [`Hook`]: the methods that a provider may define; one table for checks, messages and expansion.

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

/// The outcome of a method, by the name of its alias in `macro_support`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Decision,
    Definitions,
    Done,
    /// None: the trait's method is a plain `fn` without a value.
    Nothing,
}

/// The argument of a method besides `&self`, by the name of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Data,
    Outcome,
    Context,
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

    /// Whether the trait has no default implementation of it.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::ShouldFetch | Self::Get | Self::Received)
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ShouldFetch => Outcome::Decision,
            Self::Get | Self::Stored => Outcome::Definitions,
            Self::Received | Self::Shutdown | Self::FetchWithoutUpdate => Outcome::Done,
            Self::Attached => Outcome::Nothing,
        }
    }

    pub(crate) fn argument(self) -> Option<Argument> {
        match self {
            Self::Received => Some(Argument::Data),
            Self::FetchWithoutUpdate => Some(Argument::Outcome),
            Self::Attached => Some(Argument::Context),
            Self::ShouldFetch | Self::Get | Self::Shutdown | Self::Stored => None,
        }
    }

    /// The parameter list, for messages.
    pub(crate) fn parameters(self) -> &'static str {
        match self.argument() {
            None => "(&self)",
            Some(Argument::Data) => "(&self, data: &FlagDefinitionCacheData)",
            Some(Argument::Outcome) => "(&self, outcome: FetchOutcome)",
            Some(Argument::Context) => "(&self, context: PollerContext)",
        }
    }

    /// The usual signature, for messages.
    pub(crate) fn signature(self) -> String {
        let (asyncness, output) = match self.outcome() {
            Outcome::Decision => ("async ", " -> bool"),
            Outcome::Definitions => ("async ", " -> Option<FlagDefinitionCacheData>"),
            Outcome::Done => ("async ", ""),
            Outcome::Nothing => ("", ""),
        };
        format!("{asyncness}fn {self}{}{output}", self.parameters())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! [`ProviderMethod`]: the methods of a provider.

use std::fmt;

use syn::{ReturnType, Signature, Type};

use crate::contract::Contract;
use crate::errors::Errors;
use crate::similar::{Lookalike, distance, is_similar, letters};

/// A method of `FlagDefinitionCacheProvider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProviderMethod {
    ShouldFetch,
    Get,
    Received,
    Shutdown,
    Stored,
    FetchWithoutUpdate,
    RequestRefresh,
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

impl ProviderMethod {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ShouldFetch | Self::RequestRefresh => Outcome::Decision,
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
            Self::ShouldFetch
            | Self::Get
            | Self::Shutdown
            | Self::Stored
            | Self::RequestRefresh => None,
        }
    }

    /// The names of a method in other places.
    fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::ShouldFetch => &["should_fetch", "shouldFetch"],
            Self::Get => &[
                "get",
                "get_flags",
                "get_definitions",
                "getFlags",
                "getDefinitions",
            ],
            Self::Received => &[
                "on_received",
                "onReceived",
                "received",
                "set",
                "put",
                "store",
            ],
            Self::Shutdown => &[
                "close",
                "stop",
                "on_shutdown",
                "onShutdown",
                "dispose",
                "teardown",
                "tear_down",
            ],
            Self::Stored => &["get_stored", "peek"],
            Self::FetchWithoutUpdate => &[
                "on_not_received",
                "onNotReceived",
                "on_unchanged",
                "on_not_modified",
            ],
            Self::RequestRefresh => &[
                "requestRefresh",
                "on_request_refresh",
                "on_refresh_requested",
            ],
            Self::Attached => &["on_attached", "onAttached", "on_attach", "attached"],
        }
    }
}

impl Contract for ProviderMethod {
    const ATTRIBUTE: &'static str = "flag_cache_provider";
    const TRAIT: &'static str = "FlagDefinitionCacheProvider";
    const NOUN: &'static str = "provider";
    const SHARED: &'static str = "SharedProvider";
    const ALL: &'static [Self] = &[
        Self::ShouldFetch,
        Self::Get,
        Self::Received,
        Self::Shutdown,
        Self::Stored,
        Self::FetchWithoutUpdate,
        Self::RequestRefresh,
        Self::Attached,
    ];
    const OTHER_FORMS: &'static str = "plain `fn` and `Result` do as well; `shutdown` is optional; all methods stand in one block";

    fn name(self) -> &'static str {
        match self {
            Self::ShouldFetch => "should_fetch_flag_definitions",
            Self::Get => "get_flag_definitions",
            Self::Received => "on_flag_definitions_received",
            Self::Shutdown => "shutdown",
            Self::Stored => "peek_flag_definitions",
            Self::FetchWithoutUpdate => "on_fetch_without_update",
            Self::RequestRefresh => "request_refresh",
            Self::Attached => "on_poller_attached",
        }
    }

    fn is_required(self) -> bool {
        matches!(self, Self::ShouldFetch | Self::Get | Self::Received)
    }

    fn returns_at_once(self) -> bool {
        self.outcome() == Outcome::Nothing
    }

    fn parameters(self) -> Vec<&'static str> {
        let parameter = self.argument().map(|argument| match argument {
            Argument::Data => "data: &FlagDefinitionCacheData",
            Argument::Outcome => "outcome: FetchOutcome",
            Argument::Context => "context: PollerContext",
        });
        parameter.into_iter().collect()
    }

    fn value(self) -> &'static str {
        match self.outcome() {
            Outcome::Decision => "bool",
            Outcome::Definitions => "Option<FlagDefinitionCacheData>",
            Outcome::Done | Outcome::Nothing => "",
        }
    }

    fn usually_fails(self) -> bool {
        false
    }

    fn wrong_argument(self, _index: usize, ty: &Type) -> Option<&'static str> {
        let is_lent = self.argument() == Some(Argument::Data);
        let Type::Reference(reference) = ty else {
            return None;
        };
        match &reference.lifetime {
            _ if !is_lent => Some("by value, not by reference"),
            _ if reference.mutability.is_some() => Some(
                "it is shared, so it cannot be taken by `&mut`; take it by value to change a copy: `FlagDefinitionCacheData`",
            ),
            Some(lifetime) if lifetime.ident == "static" => Some(
                "it is lent for the call; take it by value to keep it: `FlagDefinitionCacheData`",
            ),
            _ => None,
        }
    }

    fn check_immediate(self, signature: &Signature, errors: &mut Errors) {
        if let ReturnType::Type(_, ty) = &signature.output {
            let nothing = matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty());
            if !nothing {
                errors.on(ty, format_args!("`{self}` returns nothing"));
            }
        }
    }

    fn lookalike(written: &str, absent: &[Self]) -> Option<Lookalike<Self>> {
        let most_similar = || {
            let written_letters = letters(written);
            // A name that begins with `on_` was meant to be a callback.
            let is_event = |name: &str| name.starts_with("on_");
            absent
                .iter()
                .copied()
                .filter(|method| is_event(method.name()) || !is_event(written))
                .min_by_key(|method| distance(&written_letters, &letters(method.name())))
        };
        if let Some(method) = absent
            .iter()
            .copied()
            .find(|method| is_similar(written, method.name()))
        {
            return Some(Lookalike::Of(method));
        }
        if let Some(method) = absent
            .iter()
            .copied()
            .find(|method| method.other_names().contains(&written))
        {
            return Some(Lookalike::Of(method));
        }
        let joined: String = letters(written).into_iter().collect();
        (joined.ends_with("flagdefinitions") || joined.starts_with("onflagdefinitions"))
            .then(|| most_similar().map_or(Lookalike::OfNone, Lookalike::Of))
    }
}

impl fmt::Display for ProviderMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! The traits by which the compiler checks a provider, one for each message.
//!
//! The module itself is not hidden, only the paths to it are, so the compiler prints the traits by their last name.
//! Their marker `M` is inferred. If nothing fits it stays open, which keeps the compiler from suggesting a bound on a
//! trait of this module.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;

use super::outcome::{Decision, Definitions, Done, Outcome, Resolve};
use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

/// Never implemented. A second candidate with this bound leaves a marker open.
pub trait Never {
    /// Never called.
    fn never(&self) -> !;
}

/// Selects the implementation that fits.
#[derive(Debug)]
pub struct Fits;

/// Selects the implementation that fits by another marker.
#[derive(Debug)]
pub struct FitsBy<M>(M);

/// Selects the implementation that never fits.
#[derive(Debug)]
pub struct NeverFits;

/// The two traits of one outcome: for a value, and for a value that may be a future.
macro_rules! returned {
    ($outcome:ty, $value:ident: $value_label:literal, $return:ident: $return_label:literal, $message:literal $(, $note:literal)?) => {
        /// The value of an `async fn`, of a future, or of a `blocking` method.
        #[diagnostic::on_unimplemented(message = $message, label = $value_label $(, note = $note)?)]
        pub trait $value<M> {
            /// The error of the `Result`.
            type Error;

            /// Converts into the form of the trait.
            fn outcome(self, convert: fn(Self::Error) -> ProviderError) -> Result<$outcome, ProviderError>;
        }

        #[diagnostic::do_not_recommend]
        impl<V: Outcome<$outcome, M>, M> $value<FitsBy<M>> for V {
            type Error = V::Error;

            fn outcome(self, convert: fn(V::Error) -> ProviderError) -> Result<$outcome, ProviderError> {
                Outcome::outcome(self, convert)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<V: Never> $value<NeverFits> for V {
            type Error = Infallible;

            fn outcome(self, _: fn(Infallible) -> ProviderError) -> Result<$outcome, ProviderError> {
                self.never()
            }
        }

        /// What a plain `fn` returns.
        #[diagnostic::on_unimplemented(message = $message, label = $return_label $(, note = $note)?)]
        pub trait $return<M> {
            /// The error of the `Result`.
            type Error;

            /// The outcome, awaited if it is a future.
            fn resolve(
                self,
                convert: fn(Self::Error) -> ProviderError,
            ) -> impl Future<Output = Result<$outcome, ProviderError>> + Send;
        }

        #[diagnostic::do_not_recommend]
        impl<V: Resolve<$outcome, M>, M> $return<FitsBy<M>> for V {
            type Error = V::Error;

            fn resolve(
                self,
                convert: fn(V::Error) -> ProviderError,
            ) -> impl Future<Output = Result<$outcome, ProviderError>> + Send {
                Resolve::resolve(self, convert)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<V: Never> $return<NeverFits> for V {
            type Error = Infallible;

            fn resolve(
                self,
                _: fn(Infallible) -> ProviderError,
            ) -> impl Future<Output = Result<$outcome, ProviderError>> + Send {
                pending()
            }
        }
    };
}

returned!(
    Decision,
    DecisionValue: "expected `bool` or `Result<bool, E>`",
    DecisionReturn: "expected `bool`, `Result<bool, E>` or a `Send` future of one of them",
    "`{Self}` cannot be returned from this provider method"
);

returned!(
    Definitions,
    DefinitionsValue: "expected `Option<FlagDefinitionCacheData>` or `Result<Option<FlagDefinitionCacheData>, E>`",
    DefinitionsReturn: "expected `Option<FlagDefinitionCacheData>`, `Result<Option<FlagDefinitionCacheData>, E>` or a `Send` future of one of them",
    "`{Self}` cannot be returned from this provider method",
    "`Option<&FlagDefinitionCacheData>` and `Option<Arc<FlagDefinitionCacheData>>` are accepted as well"
);

returned!(
    Done,
    DoneValue: "expected no value, or `Result<(), E>`",
    DoneReturn: "expected no value, `Result<(), E>` or a `Send` future of one of them",
    "`{Self}` cannot be returned from this provider method"
);

/// The error of a provider method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a provider method",
    label = "not `Into<Box<dyn Error + Send + Sync>>`",
    note = "an error type, `String` and `&'static str` can; `Box<dyn Error>` cannot be sent to another thread: write `Box<dyn Error + Send + Sync>`"
)]
pub trait MethodError<M> {
    /// Keeps it as the source.
    fn into_provider_error(self) -> ProviderError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn Error + Send + Sync>>> MethodError<Fits> for E {
    fn into_provider_error(self) -> ProviderError {
        ProviderError::from_error(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Never> MethodError<NeverFits> for E {
    fn into_provider_error(self) -> ProviderError {
        self.never()
    }
}

/// The same for an error that depends on a type parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a provider method",
    label = "not known to be an error that threads can share",
    note = "add to the block's where-clause `{Self}: std::error::Error + Send + Sync + 'static`"
)]
pub trait GenericMethodError<M> {
    /// Keeps it as the source.
    fn into_provider_error(self) -> ProviderError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn Error + Send + Sync>>> GenericMethodError<Fits> for E {
    fn into_provider_error(self) -> ProviderError {
        ProviderError::from_error(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Never> GenericMethodError<NeverFits> for E {
    fn into_provider_error(self) -> ProviderError {
        self.never()
    }
}

/// The parameter's value. The wrapper makes the expression long enough to underline the whole parameter type.
#[derive(Debug)]
pub struct Given<A>(pub A);

/// Two implementations that never fit, so that an unsuitable parameter type leaves the marker open.
macro_rules! never_an_argument {
    ($argument:ident) => {
        #[diagnostic::do_not_recommend]
        impl<A: Never, P> $argument<A, NeverFits> for P {
            fn argument(given: Given<A>) -> Self {
                given.0.never()
            }
        }

        #[diagnostic::do_not_recommend]
        impl<A: Never, P> $argument<A, FitsBy<NeverFits>> for P {
            fn argument(given: Given<A>) -> Self {
                given.0.never()
            }
        }
    };
}

/// The parameter of `on_flag_definitions_received`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the argument of this provider method",
    label = "expected `&FlagDefinitionCacheData`",
    note = "definitions are taken by reference, `&FlagDefinitionCacheData`, or by value, `FlagDefinitionCacheData`"
)]
pub trait DefinitionsArgument<A, M> {
    /// Converts the parameter.
    fn argument(given: Given<A>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<'a> DefinitionsArgument<&'a FlagDefinitionCacheData, Fits> for &'a FlagDefinitionCacheData {
    fn argument(given: Given<&'a FlagDefinitionCacheData>) -> Self {
        given.0
    }
}

#[diagnostic::do_not_recommend]
impl DefinitionsArgument<&FlagDefinitionCacheData, Fits> for FlagDefinitionCacheData {
    fn argument(given: Given<&FlagDefinitionCacheData>) -> Self {
        given.0.clone()
    }
}

never_an_argument!(DefinitionsArgument);

/// The parameter of the method for a load without new definitions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the argument of this provider method",
    label = "expected `{A}`, by value"
)]
pub trait OutcomeArgument<A, M> {
    /// Converts the parameter.
    fn argument(given: Given<A>) -> Self;
}

#[diagnostic::do_not_recommend]
impl OutcomeArgument<FetchOutcome, Fits> for FetchOutcome {
    fn argument(given: Given<FetchOutcome>) -> Self {
        given.0
    }
}

never_an_argument!(OutcomeArgument);

/// The parameter of `on_poller_attached`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the argument of this provider method",
    label = "expected `{A}`, by value"
)]
pub trait ContextArgument<A, M> {
    /// Converts the parameter.
    fn argument(given: Given<A>) -> Self;
}

#[diagnostic::do_not_recommend]
impl ContextArgument<PollerContext, Fits> for PollerContext {
    fn argument(given: Given<PollerContext>) -> Self {
        given.0
    }
}

never_an_argument!(ContextArgument);

/// A provider with a `blocking` method: the body's thread works on a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `blocking` method but is not `Clone`",
    label = "needs `{Self}: Clone`; the body's thread works on a clone",
    note = "derive `Clone` and keep shared state in an `Arc`"
)]
pub trait CloneForThread<M> {
    /// The clone.
    fn clone_for_thread(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<P: FlagDefinitionCacheProvider + Clone> CloneForThread<Fits> for P {
    fn clone_for_thread(&self) -> Self {
        self.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<P: Never> CloneForThread<NeverFits> for P {
    fn clone_for_thread(&self) -> Self {
        self.never()
    }
}

/// The same for a type with parameters.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `blocking` method but is not known to be `Clone`",
    label = "needs `{Self}: Clone`; the body's thread works on a clone",
    note = "a derived `Clone` holds only if each type parameter is `Clone`: add `Clone` to the bounds of the block, or implement it by hand"
)]
pub trait GenericCloneForThread<M> {
    /// The clone.
    fn clone_for_thread(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<P: FlagDefinitionCacheProvider + Clone> GenericCloneForThread<Fits> for P {
    fn clone_for_thread(&self) -> Self {
        self.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<P: Never> GenericCloneForThread<NeverFits> for P {
    fn clone_for_thread(&self) -> Self {
        self.never()
    }
}

/// A type that threads can share, as a provider must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared between threads, and a provider is shared",
    label = "a field is not `Send` and `Sync`",
    note = "write `Arc` for `Rc`, `Mutex` or `RwLock` for `RefCell`, an atomic or a `Mutex` for `Cell`; add `Send + Sync` to a `dyn Trait`; do not keep a `MutexGuard`"
)]
pub trait SharedProvider<M> {
    /// Names the check.
    const CHECKED: () = ();
}

#[diagnostic::do_not_recommend]
impl<P: FlagDefinitionCacheProvider> SharedProvider<Fits> for P {}

#[diagnostic::do_not_recommend]
impl<P: Never> SharedProvider<NeverFits> for P {}

/// The same for a type with parameters: the compiler's own message says best which of them lacks what.
pub trait SharedProviderOf: Send + Sync {}

/// The type itself. Under a `for<'a>` a bound becomes an assumption that the compiler does not check at that place, so
/// that [`SharedProvider`] is the one that reports it.
pub trait Itself<'a> {
    /// The type.
    type Type: ?Sized;
}

impl<P: ?Sized> Itself<'_> for P {
    type Type = P;
}

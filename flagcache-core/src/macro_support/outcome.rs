//! Converts the return value of a method to the outcome of the call.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::{FlagDefinitionCacheData, ProviderError};

/// The outcome of `should_fetch_flag_definitions`.
pub type Decision = bool;

/// The outcome of `get_flag_definitions` and `peek_flag_definitions`.
pub type Definitions = Option<FlagDefinitionCacheData>;

/// The outcome of all other methods.
pub type Done = ();

/// A value that is an outcome, in one of its forms.
pub trait Value<T> {
    /// Converts into the form of the trait.
    fn value(self) -> T;
}

impl Value<Self> for Decision {
    fn value(self) -> Self {
        self
    }
}

impl Value<Self> for Done {
    fn value(self) -> Self {}
}

impl Value<Self> for Definitions {
    fn value(self) -> Self {
        self
    }
}

impl Value<Definitions> for Option<&FlagDefinitionCacheData> {
    fn value(self) -> Definitions {
        self.cloned()
    }
}

impl Value<Definitions> for Option<Arc<FlagDefinitionCacheData>> {
    fn value(self) -> Definitions {
        self.map(Arc::unwrap_or_clone)
    }
}

/// Any `Result`.
pub trait AnyResult {
    /// `T` of `Result<T, E>`.
    type Value;
    /// `E` of `Result<T, E>`.
    type Error;

    /// The result itself.
    fn result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E> AnyResult for Result<T, E> {
    type Value = T;
    type Error = E;

    fn result(self) -> Self {
        self
    }
}

/// Selects the implementation for a value.
#[derive(Debug)]
pub struct Plain;

/// Selects the implementation for a `Result`.
#[derive(Debug)]
pub struct Fallible;

/// Selects the implementation for values that are not awaited.
#[derive(Debug)]
pub struct Immediate<M>(M);

/// Selects the implementation for values that can be awaited.
#[derive(Debug)]
pub struct Awaited<M>(M);

/// A value, or a `Result` of one. The error is left as it is: it has a message of its own.
///
/// The marker `M` is inferred. It separates the two implementations, which would otherwise overlap.
pub trait Outcome<T, M> {
    /// The error of the `Result`.
    type Error;

    /// Converts into the form of the trait.
    fn outcome(self, convert: fn(Self::Error) -> ProviderError) -> Result<T, ProviderError>;
}

impl<T, V: Value<T>> Outcome<T, Plain> for V {
    type Error = Infallible;

    fn outcome(self, _: fn(Infallible) -> ProviderError) -> Result<T, ProviderError> {
        Ok(self.value())
    }
}

impl<T, R: AnyResult<Value: Value<T>>> Outcome<T, Fallible> for R {
    type Error = R::Error;

    fn outcome(self, convert: fn(R::Error) -> ProviderError) -> Result<T, ProviderError> {
        self.result().map(Value::value).map_err(convert)
    }
}

/// What a method may return if its syntax does not show whether it is a future: an alias, a named future, a value.
pub trait Resolve<T, M> {
    /// The error of the `Result`.
    type Error;

    /// The outcome, awaited if it is a future.
    fn resolve(
        self,
        convert: fn(Self::Error) -> ProviderError,
    ) -> impl Future<Output = Result<T, ProviderError>> + Send;
}

impl<T: Send, V: Outcome<T, M>, M> Resolve<T, Immediate<M>> for V {
    type Error = V::Error;

    fn resolve(
        self,
        convert: fn(V::Error) -> ProviderError,
    ) -> impl Future<Output = Result<T, ProviderError>> + Send {
        ready(self.outcome(convert))
    }
}

impl<T, A, M> Resolve<T, Awaited<M>> for A
where
    A: IntoFuture<IntoFuture: Send, Output: Outcome<T, M>>,
{
    type Error = <A::Output as Outcome<T, M>>::Error;

    fn resolve(
        self,
        convert: fn(Self::Error) -> ProviderError,
    ) -> impl Future<Output = Result<T, ProviderError>> + Send {
        self.into_future()
            .map(move |output| output.outcome(convert))
    }
}

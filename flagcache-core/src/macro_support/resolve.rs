//! Values and awaitables, told apart by type.

use std::future::ready;

use futures_util::FutureExt;

use super::IntoOutcome;
use crate::ProviderError;

/// Marks the implementation for plain values.
#[derive(Debug)]
pub struct Value;

/// Marks the implementation for what can be awaited.
#[derive(Debug)]
pub struct Awaitable;

/// What a method may return when its syntax does not tell whether it is a future: an alias, a named future, a value.
///
/// The marker `M` is inferred. It keeps the two implementations apart, which would overlap without it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from this provider method",
    label = "expected `{T}`, `Result<{T}, E>` or a `Send` future of one of them",
    note = "`E` is anything that is `Into<Box<dyn Error + Send + Sync>>`: an error type, `String`, `&'static str`",
    note = "definitions may also be given as `Option<&FlagDefinitionCacheData>` or `Option<Arc<FlagDefinitionCacheData>>`"
)]
pub trait Resolve<T, M> {
    /// The outcome, awaited if there is something to await.
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send;
}

#[diagnostic::do_not_recommend]
impl<T: Send, V: IntoOutcome<T>> Resolve<T, Value> for V {
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send {
        ready(self.into_outcome())
    }
}

#[diagnostic::do_not_recommend]
impl<T, A> Resolve<T, Awaitable> for A
where
    A: IntoFuture<IntoFuture: Send, Output: IntoOutcome<T>>,
{
    fn resolve(self) -> impl Future<Output = Result<T, ProviderError>> + Send {
        self.into_future().map(IntoOutcome::into_outcome)
    }
}

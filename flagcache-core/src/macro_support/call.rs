//! [`call`]: a provider call in the form of the trait.

use std::pin::Pin;

use crate::ProviderError;

/// The return type of the trait's methods.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// `Box` under a name that is not in the prelude: a path to a prelude name would trigger "unnecessary qualification".
pub type Boxed<T> = Box<T>;

/// Boxes a call. `body` runs when the future is first polled, so that a panic in a plain `fn` becomes a panic of the
/// future.
pub fn call<'a, T, F>(body: impl FnOnce() -> F + Send + 'a) -> Call<'a, T>
where
    F: Future<Output = Result<T, ProviderError>> + Send + 'a,
{
    Box::pin(async move { body().await })
}

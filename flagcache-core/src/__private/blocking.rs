//! Bodies marked `#[flag_cache(blocking)]`.

use super::Call;
use crate::ProviderError;
use crate::detached::DetachedCalls;

/// A provider with a `blocking` method: the body's thread works on a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `blocking` method but is not `Clone`",
    label = "needs `{Self}: Clone`; its clone is what the body's thread works on",
    note = "derive `Clone` and keep shared state in an `Arc`"
)]
pub trait ClonedProvider: Send + 'static {
    /// The clone.
    fn cloned_provider(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<P: Clone + Send + 'static> ClonedProvider for P {
    fn cloned_provider(&self) -> Self {
        self.clone()
    }
}

/// Runs `body` on a thread of its own, with a clone of the provider and with the argument that was detached for it.
pub fn blocking<'a, P, A, T>(
    provider: &'a P,
    argument: A,
    body: impl FnOnce(&P, &A) -> Result<T, ProviderError> + Send + 'static,
) -> Call<'a, T>
where
    P: ClonedProvider + Sync,
    A: Send + 'static,
    T: Send + 'static,
{
    Box::pin(async move {
        let calls = DetachedCalls::of_this_call(provider);
        let provider = provider.cloned_provider();
        calls.run(move || body(&provider, &argument)).await?
    })
}

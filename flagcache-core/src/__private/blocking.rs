//! Bodies marked `#[flag_cache(blocking)]`.

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

/// Runs `body` on a thread of its own, with the clone of a provider and with the argument that was detached for it.
pub fn blocking<P, A, T>(
    provider: &P,
    clone: P,
    argument: A,
    body: impl FnOnce(&P, &A) -> Result<T, ProviderError> + Send + 'static,
) -> impl Future<Output = Result<T, ProviderError>> + Send
where
    P: Send + 'static,
    A: Send + 'static,
    T: Send + 'static,
{
    let calls = DetachedCalls::of_this_call(provider);
    async move { calls.run(move || body(&clone, &argument)).await? }
}

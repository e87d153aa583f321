//! Bodies marked `#[flag_cache(blocking)]`.

use crate::poller::blocking_calls::BlockingCalls;
use crate::{FlagDefinitionCacheProvider, ProviderError};

/// A provider with a `blocking` method: the body's thread works on a clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `blocking` method but is not `Clone`",
    label = "needs `{Self}: Clone`; its clone is what the body's thread works on",
    note = "derive `Clone` and keep shared state in an `Arc`"
)]
pub trait ClonedProvider {
    /// The clone.
    fn cloned_provider(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<P: FlagDefinitionCacheProvider + Clone> ClonedProvider for P {
    fn cloned_provider(&self) -> Self {
        self.clone()
    }
}

/// Runs `body` on a thread of its own, with a clone of the provider and with the argument that was detached for it.
pub fn blocking<P, A, T>(
    provider: &P,
    clone: fn(&P) -> P,
    argument: A,
    body: impl FnOnce(&P, &A) -> Result<T, ProviderError> + Send + 'static,
) -> impl Future<Output = Result<T, ProviderError>> + Send
where
    P: Send + 'static,
    A: Send + 'static,
    T: Send + 'static,
{
    let calls = BlockingCalls::of_this_call(provider);
    let provider = clone(provider);
    async move { calls.run(move || body(&provider, &argument)).await? }
}

//! Runs bodies marked `#[flag_cache(blocking)]`.

use crate::ProviderError;
use crate::poller::blocking_calls::BlockingCalls;

/// Runs `body` on a thread of its own, with a clone of the provider and the argument that was detached for it.
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

//! [`BlockingError`]: the error of a call that waits.

use thiserror::Error;

/// Why a call that waits failed. `E` is the error of the same call of the asynchronous handle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockingError<E> {
    /// The call would block a task of a tokio runtime. Nothing was started; the poller continues.
    #[error(
        "a blocking call would block the tasks of a tokio runtime; await the handle that `as_async` gives, or make the \
         call in `spawn_blocking`"
    )]
    InsideRuntime,
    /// The error of the asynchronous handle.
    #[error(transparent)]
    Failed(#[from] E),
}

impl<E> BlockingError<E> {
    pub(super) fn map<F>(self, convert: impl FnOnce(E) -> F) -> BlockingError<F> {
        match self {
            Self::InsideRuntime => BlockingError::InsideRuntime,
            Self::Failed(error) => BlockingError::Failed(convert(error)),
        }
    }
}

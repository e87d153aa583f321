//! The same poller for programs without tokio: change the import, and leave out each `.await`.
//!
//! The poller runs on a thread of its own, with a runtime of its own. A source or a provider may use all of tokio there
//! (`tokio::spawn`, sockets, timers), so the bundled ones and those that users write for the asynchronous handle work as they
//! are. [`definitions`](FlagDefinitionPoller::definitions) reads memory without a lock, as it does there.
//!
//! | what waits | for how long |
//! |---|---|
//! | [`wait_ready`](FlagDefinitionPoller::wait_ready) | the timeout that it is given |
//! | [`refresh`](FlagDefinitionPoller::refresh) and [`refresh_if_older_than`](FlagDefinitionPoller::refresh_if_older_than) | one load, whose provider calls and requests have limits |
//! | [`DefinitionsChanges::next_within`] | the timeout that it is given |
//! | [`shutdown`](FlagDefinitionPoller::shutdown) | the shutdown timeout of the builder (default 5 s) |
//! | [`refresh_once`] | one load and the shutdown timeout |
//!
//! All else returns at once.
//!
//! # Inside a runtime
//!
//! A wait there would hold up the tasks beside it, so each of the above is refused in a task of a tokio runtime, with the
//! error [`BlockingError::InsideRuntime`]. It works where tokio lets a thread block: in `spawn_blocking`, in `block_in_place`, and on any thread
//! of the program's own. Code that can await uses the asynchronous handle of the same poller, which
//! [`as_async`](FlagDefinitionPoller::as_async) gives.
//!
//! # The end
//!
//! The thread keeps nobody waiting: a process ends when `main` returns, whatever call of a store hangs. Call
//! [`shutdown`](FlagDefinitionPoller::shutdown) before that, so that the provider gives up its lead at once; without it the
//! lead frees itself. What a provider has spawned on the runtime ends with the poller.

mod changes;
mod error;
mod poller;
mod refresh_once;
mod thread;
mod wait;

pub use changes::{DefinitionsChanges, NoChangeError};
pub use error::BlockingError;
pub use poller::{FlagDefinitionPoller, FlagDefinitionPollerBuilder};
pub use refresh_once::refresh_once;

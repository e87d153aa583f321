//! The poller for programs without tokio: change the import, and remove each `.await`.
//!
//! The poller runs on a thread and a runtime of its own. A source or a provider may use all of tokio there
//! (`tokio::spawn`, sockets, timers), so the bundled ones and those that users write for the asynchronous handle work
//! unchanged. [`definitions`](FlagDefinitionPoller::definitions) is lock-free as well.
//!
//! | what waits | how long |
//! |---|---|
//! | [`wait_ready`](FlagDefinitionPoller::wait_ready) | its `timeout` |
//! | [`refresh`](FlagDefinitionPoller::refresh) and [`refresh_if_older_than`](FlagDefinitionPoller::refresh_if_older_than) | one load, whose provider calls and requests have timeouts |
//! | [`DefinitionsChanges::next_within`] | its `timeout` |
//! | [`shutdown`](FlagDefinitionPoller::shutdown) | the shutdown timeout of the builder (default 5 s) |
//! | [`refresh_once`] | one load and the shutdown timeout |
//!
//! All other methods return at once.
//!
//! # Inside a runtime
//!
//! A wait would block the runtime's other tasks, so inside a task of a tokio runtime each of the above fails with
//! [`BlockingError::InsideRuntime`]. They work where tokio lets a thread block: in `spawn_blocking`, in
//! `block_in_place`, and on the program's own threads. Code that can await uses the asynchronous handle of the same
//! poller, from [`as_async`](FlagDefinitionPoller::as_async).
//!
//! # Shutdown
//!
//! The poller's thread does not keep the process running: it ends when `main` returns, even if a store call hangs. Call
//! [`shutdown`](FlagDefinitionPoller::shutdown) before that, so that the provider releases leadership at once;
//! otherwise it expires. Tasks that a provider spawned on the runtime end with the poller.

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

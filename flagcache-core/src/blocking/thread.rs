//! [`PollerThread`]: the thread of one poller.

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::thread::ThreadId;

use tokio::runtime;
use tokio::sync::watch;

use crate::{FlagDefinitionPoller, FlagDefinitionPollerBuilder, StartError};

/// At most 15 bytes each, the limit of Linux.
const POLLER: &str = "flagcache-poll";
const HELPERS: &str = "flagcache-help";

/// The thread of a poller: identifies it, and waits for its end.
#[derive(Clone, Debug)]
pub(super) struct PollerThread {
    pub(super) id: ThreadId,
    alive: watch::Receiver<()>,
}

impl PollerThread {
    /// Waits for the thread's end, which comes soon after the poller's.
    pub(super) async fn ended(&self) {
        // Never sent: the sender is dropped with the thread.
        let _ = self.alive.clone().changed().await;
    }
}

/// Starts the poller on a thread and a runtime of its own. The thread ends with the poller, and does not keep the
/// process running.
pub(super) fn start<Handle: 'static>(
    builder: FlagDefinitionPollerBuilder<Handle>,
) -> Result<(FlagDefinitionPoller, PollerThread), StartError> {
    let (reply, started) = mpsc::channel();
    let (ends, alive) = watch::channel(());
    let thread = thread::Builder::new()
        .name(POLLER.to_owned())
        .spawn(move || {
            // With all drivers of this build: if a source or a provider needs sockets, tokio was built with them.
            let runtime = match runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name(HELPERS)
                .build()
            {
                Ok(runtime) => runtime,
                // Cannot fail, here and below: the caller waits.
                Err(error) => return drop(reply.send(Err(no_thread(error)))),
            };
            let inside = runtime.enter();
            // Inside the runtime, because the bundled stores spawn their tasks when they are attached.
            let poller = builder.start_on(runtime.handle().clone());
            drop(inside);
            // Without the handle, so that this thread does not keep the poller running.
            let stopped = poller.as_ref().ok().map(FlagDefinitionPoller::stopped);
            let _ = reply.send(poller);
            if let Some(stopped) = stopped {
                let _ = runtime.block_on(stopped);
            }
            // A plain drop would wait for the blocking threads, one of which may hang.
            runtime.shutdown_background();
            drop(ends);
        });
    let id = thread.map_err(no_thread)?.thread().id();
    Ok((
        started.recv().map_err(no_thread)??,
        PollerThread { id, alive },
    ))
}

fn no_thread(error: impl Display) -> StartError {
    StartError::NoThread {
        error: error.to_string(),
    }
}

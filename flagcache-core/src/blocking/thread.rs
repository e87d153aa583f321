//! The thread of one poller.

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::thread::ThreadId;

use tokio::runtime;
use tokio::sync::watch;

use crate::{FlagDefinitionPoller, FlagDefinitionPollerBuilder, StartError};

/// At most 15 bytes each, or Linux cuts them.
const POLLER: &str = "flagcache-poll";
const HELPERS: &str = "flagcache-help";

/// The thread of a poller, by which it is known and waited for.
#[derive(Clone, Debug)]
pub(super) struct PollerThread {
    pub(super) id: ThreadId,
    alive: watch::Receiver<()>,
}

impl PollerThread {
    /// Waits for its end, which comes soon after the poller's.
    pub(super) async fn ended(&self) {
        // Nothing is ever sent.
        let _ = self.alive.clone().changed().await;
    }
}

/// Starts the poller on a thread and a runtime of its own. The thread ends with the poller, and keeps nobody waiting.
pub(super) fn start<Handle: 'static>(
    builder: FlagDefinitionPollerBuilder<Handle>,
) -> Result<(FlagDefinitionPoller, PollerThread), StartError> {
    let (tell, started) = mpsc::channel();
    let (ends, alive) = watch::channel(());
    let thread = thread::Builder::new()
        .name(POLLER.to_owned())
        .spawn(move || {
            // With all drivers that the build has: if a source or a provider needs sockets, tokio was built with them.
            let runtime = match runtime::Builder::new_current_thread()
                .enable_all()
                .thread_name(HELPERS)
                .build()
            {
                Ok(runtime) => runtime,
                // An error says that the caller has gone, here and below; it cannot be.
                Err(error) => return drop(tell.send(Err(no_thread(error)))),
            };
            let inside = runtime.enter();
            // The bundled stores spawn their tasks when they are attached, so this belongs on the inside.
            let poller = builder.start_on(runtime.handle().clone());
            drop(inside);
            // Without the handle, so that this thread does not keep the poller from ending.
            let stopped = poller.as_ref().ok().map(FlagDefinitionPoller::stopped);
            let _ = tell.send(poller);
            if let Some(stopped) = stopped {
                let _ = runtime.block_on(stopped);
            }
            // By itself it would wait for its blocking threads, and one of them may hang.
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

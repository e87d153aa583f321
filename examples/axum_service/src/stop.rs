//! The signal to stop.

use std::io;

/// Ctrl-C or SIGTERM, which stops a container.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on: a signal before [`asked`](Self::asked) is not lost, and does not end the process by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for it.
    #[cfg(unix)]
    pub(crate) async fn asked(mut self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for it.
    #[cfg(not(unix))]
    pub(crate) async fn asked(self) {
        // An error means that this system has no such signal: the service then runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

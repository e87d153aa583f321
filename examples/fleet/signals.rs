//! The signals that ask a program to end.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, and on Unix SIGTERM and SIGHUP.
#[derive(Debug)]
pub(crate) struct StopSignal {
    #[cfg(unix)]
    signals: [Signal; 3],
}

impl StopSignal {
    /// From here on the signals no longer end the process.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// Waits for one of them. Cancel safe.
    #[cfg(unix)]
    pub(crate) async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Waits for one of them. Cancel safe.
    #[cfg(not(unix))]
    pub(crate) async fn received(&mut self) {
        // On an error there will be no such event.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Ctrl-Z, which a program that has changed the terminal must handle before it stops.
#[derive(Debug)]
pub(crate) struct Suspension {
    #[cfg(unix)]
    signal: Option<Signal>,
}

impl Suspension {
    /// Nothing is listened for until [`received`](Self::received) is called: before that, Ctrl-Z stops the process as ever.
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: None,
        }
    }

    /// Waits for it. Cancel safe.
    #[cfg(unix)]
    pub(crate) async fn received(&mut self) {
        let suspend = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        if self.signal.is_none() {
            self.signal = signal(suspend).ok();
        }
        match &mut self.signal {
            Some(signal) => _ = signal.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for it. Cancel safe.
    #[cfg(not(unix))]
    pub(crate) async fn received(&mut self) {
        std::future::pending().await
    }

    /// Stops this process until it receives SIGCONT.
    pub(crate) fn suspend(&self) {
        #[cfg(unix)]
        {
            use rustix::process::{Signal, getpid, kill_process};
            // It fails only if there is no such process.
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }
}

//! The worker's reports to its parent process.

use std::io::Write;
use std::sync::Arc;

use crate::protocol::{Event, Report, UnixMicros};

/// Writes reports. Clones write to the same output.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    output: Arc<std::io::Stdout>,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        Self {
            output: Arc::new(std::io::stdout()),
        }
    }

    /// Sends a report with the current time.
    pub(crate) fn report(&self, event: Event) {
        let report = Report {
            at: UnixMicros::now(),
            event,
        };
        let Ok(mut line) = serde_json::to_vec(&report) else {
            return;
        };
        line.push(b'\n');
        let mut output = self.output.lock();
        // An error means that the parent has ended. The end of the input then stops the worker.
        let _ = output.write_all(&line).and_then(|()| output.flush());
    }
}

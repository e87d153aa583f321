//! The worker's end of the line to the process that started it.

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

    /// Tells it at once, as of now.
    pub(crate) fn tell(&self, event: Event) {
        let report = Report {
            at: UnixMicros::now(),
            event,
        };
        let Ok(mut line) = serde_json::to_vec(&report) else {
            return;
        };
        line.push(b'\n');
        let mut output = self.output.lock();
        // It fails when nobody listens any more. The worker learns the same from its input, and ends.
        let _ = output.write_all(&line).and_then(|()| output.flush());
    }
}

//! Reports of a worker process to the process that started it.

use std::io::Write;

use crate::protocol::Report;

/// Writes one line to the standard output at once. An error means that the other process has ended; the end of the standard
/// input then stops the worker.
pub(crate) fn send(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap();
    line.push(b'\n');
    let _ = std::io::stdout().lock().write_all(&line);
}

//! The story, line by line as it happens.

use std::io::Write;
use std::time::Instant;

/// A number of things.
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[derive(Debug)]
pub(crate) struct Narrator {
    begun: Instant,
    /// Standard output belongs to the result.
    to_stderr: bool,
}

impl Narrator {
    pub(crate) fn new(to_stderr: bool) -> Self {
        Self { begun: Instant::now(), to_stderr }
    }

    /// One line, with the time since the beginning.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        self.print(&format!("{:5.1} s  {}", self.begun.elapsed().as_secs_f64(), line.as_ref()));
    }

    /// Lines as they are.
    pub(crate) fn print(&self, text: &str) {
        // A story that nobody listens to any more is told to its end all the same.
        let _ = if self.to_stderr {
            writeln!(std::io::stderr().lock(), "{text}")
        } else {
            writeln!(std::io::stdout().lock(), "{text}")
        };
    }
}

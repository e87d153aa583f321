//! The output while the story runs: line by line, or on a live view.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::screen::Screen;
use crate::view_model::ViewModel;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// On a live view if the standard output is a terminal, else in lines.
    View,
    Lines,
    /// Standard output belongs to the result.
    LinesOnStderr,
}

impl OutputMode {
    /// In lines, where it would be a view.
    pub(crate) fn without_view(self) -> Self {
        if self == Self::View {
            Self::Lines
        } else {
            self
        }
    }
}

#[derive(Debug)]
pub(crate) struct Output {
    begun: Instant,
    to_stderr: bool,
    view_model: Arc<ViewModel>,
    /// `None` while no view is shown.
    screen: Mutex<Option<Screen>>,
    closed: Notify,
}

/// The display of one fleet's workers.
#[derive(Clone, Debug)]
pub(crate) struct FleetDisplay {
    pub(crate) view_model: Arc<ViewModel>,
    pub(crate) fleet: usize,
    /// There is a live view; other output would damage it.
    pub(crate) is_live: bool,
}

impl Output {
    pub(crate) fn new(mode: OutputMode) -> Self {
        let output = Self {
            begun: Instant::now(),
            to_stderr: mode == OutputMode::LinesOnStderr,
            view_model: Arc::default(),
            screen: Mutex::default(),
            closed: Notify::new(),
        };
        if mode == OutputMode::View {
            output.open_view();
        }
        output
    }

    /// One line, with the time since the beginning.
    pub(crate) fn log(&self, line: impl AsRef<str>) {
        let line = format!(
            "{:5.1} s  {}",
            self.begun.elapsed().as_secs_f64(),
            line.as_ref()
        );
        if !self.is_live() {
            self.print(&line);
        }
        self.view_model.log(line);
    }

    /// Lines as they are. Not while there is a view.
    pub(crate) fn print(&self, text: &str) {
        let written = if self.to_stderr {
            writeln!(std::io::stderr().lock(), "{text}")
        } else {
            writeln!(std::io::stdout().lock(), "{text}")
        };
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe && !self.to_stderr => {
                self.closed.notify_one()
            }
            // If the output fails, the story runs to its end all the same: its result counts.
            _ => {}
        }
    }

    /// Resolves when the reader of the output has closed it, as with `fleet | head`. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Begins another fleet, with a short name and a title.
    pub(crate) fn begin_fleet(&self, name: &'static str, title: String) -> FleetDisplay {
        let fleet = self.view_model.begin(name, title);
        FleetDisplay {
            view_model: Arc::clone(&self.view_model),
            fleet,
            is_live: self.is_live(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.screen().is_some()
    }

    /// Shows the view, if there is a terminal for it.
    pub(crate) fn open_view(&self) {
        let mut screen = self.screen();
        if screen.is_none() {
            *screen = Screen::open(Arc::clone(&self.view_model), self.begun);
        }
    }

    /// Restores the terminal.
    pub(crate) fn close_view(&self) {
        *self.screen() = None;
    }

    /// Closes the view, and prints the story in its place.
    pub(crate) fn end_view(&self) {
        if self.is_live() {
            self.close_view();
            for line in self.view_model.read().story {
                self.print(&line);
            }
        }
    }

    fn screen(&self) -> MutexGuard<'_, Option<Screen>> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The data of the live view: the last reports of the workers, their requests, the story so far.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::{Event, Load, Report, UnixMicros};

/// Written by the threads that read the workers' reports and by the one that runs the story; read by the view.
#[derive(Debug, Default)]
pub(crate) struct ViewModel {
    state: Mutex<ViewState>,
}

/// The whole content.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewState {
    /// The running fleet, in a sentence.
    pub(crate) title: String,
    pub(crate) workers: Vec<Row>,
    /// The requests of each fleet, the running one last.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) story: Vec<String>,
}

/// A worker.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) worker_state: WorkerState,
    /// Its last load.
    pub(crate) load: Option<Load>,
    /// When that ended.
    pub(crate) loaded_at: UnixMicros,
    /// Its error.
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerState {
    Starting,
    Running,
    Ended,
}

/// Requests by kind.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) fleet: &'static str,
    /// Answered 200.
    pub(crate) full: u64,
    /// Answered 304.
    pub(crate) unchanged: u64,
    pub(crate) failed: u64,
}

impl Tally {
    pub(crate) fn units(&self) -> u64 {
        10 * self.full + self.unchanged
    }
}

impl ViewModel {
    /// Begins another fleet, without a worker yet. `name` is short. Returns its number.
    pub(crate) fn begin(&self, name: &'static str, title: String) -> usize {
        let mut state = self.state();
        state.title = title;
        state.workers.clear();
        state.tallies.push(Tally {
            fleet: name,
            full: 0,
            unchanged: 0,
            failed: 0,
        });
        state.tallies.len() - 1
    }

    pub(crate) fn started(&self, worker: &str) {
        self.state().workers.push(Row {
            name: worker.to_owned(),
            worker_state: WorkerState::Starting,
            load: None,
            loaded_at: UnixMicros::now(),
            error: None,
        });
    }

    /// Adds a report of a worker of fleet number `fleet`.
    pub(crate) fn reported(&self, fleet: usize, worker: &str, report: &Report) {
        let mut state = self.state();
        if let (Event::Fetched { status, .. }, Some(tally)) =
            (&report.event, state.tallies.get_mut(fleet))
        {
            match status {
                Some(200) => tally.full += 1,
                Some(304) => tally.unchanged += 1,
                _ => tally.failed += 1,
            }
        }
        // The workers of each fleet have the same names.
        if fleet + 1 < state.tallies.len() {
            return;
        }
        let Some(row) = state.workers.iter_mut().find(|row| row.name == worker) else {
            return;
        };
        match &report.event {
            Event::Loaded(load) => {
                row.worker_state = WorkerState::Running;
                row.load = Some(load.clone());
                row.loaded_at = report.at;
                if !load.failed {
                    row.error = None;
                }
            }
            Event::ErrorChanged { error } => row.error = Some(error.clone()),
            Event::Gone => row.worker_state = WorkerState::Ended,
            _ => {}
        }
    }

    pub(crate) fn log(&self, line: String) {
        self.state().story.push(line);
    }

    /// A copy of the whole content.
    pub(crate) fn read(&self) -> ViewState {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, ViewState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

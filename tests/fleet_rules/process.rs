//! A worker process, as its test sees it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use flagcache_test_support::WorkerProcess;

use crate::protocol::{Event, Order, Report, now};

/// A worker that the test started. It is killed when dropped.
pub(crate) struct Worker {
    pub(crate) name: String,
    worker: WorkerProcess<Report>,
}

impl Worker {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        Self {
            name: name.to_owned(),
            worker: WorkerProcess::start(command, Report::parse),
        }
    }

    pub(crate) fn send(&mut self, order: Order) {
        self.send_line(&serde_json::to_string(&order).unwrap());
    }

    pub(crate) fn send_line(&mut self, line: &str) {
        self.worker.order(line);
    }

    /// All its reports so far.
    pub(crate) fn reports(&mut self) -> &[Report] {
        self.worker.reports()
    }

    pub(crate) fn is_ready(&mut self) -> bool {
        self.reports()
            .iter()
            .any(|report| matches!(report.event, Event::Ready))
    }

    /// The role that it last reported; none once it has ended.
    pub(crate) fn role(&mut self) -> Option<String> {
        if self.has_ended() {
            return None;
        }
        self.reports()
            .iter()
            .rev()
            .find_map(|report| match &report.event {
                Event::Status { role, .. } => Some(role.clone()),
                _ => None,
            })
    }

    pub(crate) fn leads(&mut self) -> bool {
        self.role().as_deref() == Some("leader")
    }

    pub(crate) fn state(&mut self) -> Option<String> {
        self.reports()
            .iter()
            .rev()
            .find_map(|report| match &report.event {
                Event::Status { state, .. } => Some(state.clone()),
                _ => None,
            })
    }

    /// The number of flags that it has, 0 without definitions.
    pub(crate) fn flags(&mut self) -> usize {
        let last = self
            .reports()
            .iter()
            .rev()
            .find_map(|report| match &report.event {
                Event::Change { flags, .. } => Some(flags.unwrap_or_default()),
                _ => None,
            });
        last.unwrap_or_default()
    }

    /// How many changes it has applied.
    pub(crate) fn changes(&mut self) -> usize {
        self.reports()
            .iter()
            .filter(|report| matches!(report.event, Event::Change { .. }))
            .count()
    }

    /// The time of its first such report at or after `since`.
    pub(crate) fn first(
        &mut self,
        since: Duration,
        is_it: impl Fn(&Event) -> bool,
    ) -> Option<Duration> {
        self.reports()
            .iter()
            .find(|report| report.at >= since && is_it(&report.event))
            .map(|report| report.at)
    }

    /// Pauses it (SIGSTOP): it keeps all that it holds.
    pub(crate) fn pause(&self) {
        self.worker.process.pause().unwrap();
    }

    /// Resumes it (SIGCONT).
    pub(crate) fn resume(&self) {
        self.worker.process.resume().unwrap();
    }

    /// Sends SIGTERM, and returns when.
    pub(crate) fn terminate(&mut self) -> Duration {
        let at = now();
        self.worker.process.terminate().unwrap();
        at
    }

    /// Sends SIGKILL, and returns when.
    pub(crate) fn kill(&mut self) -> Duration {
        let at = now();
        self.worker.process.kill().unwrap();
        at
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self, timeout: Duration) {
        let exit = self.worker.process.wait(timeout).unwrap();
        assert!(
            exit.is_some(),
            "{} has not ended within {timeout:?}",
            self.name
        );
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.worker.process.exit().unwrap().is_some()
    }

    /// The processor time of each of its threads, as Linux counts it.
    pub(crate) fn processor_times(&self) -> ProcessorTimes {
        let threads = fs::read_dir(format!("/proc/{}/task", self.worker.process.id()))
            .unwrap()
            .flatten();
        // A thread may end meanwhile.
        let used = threads.filter_map(|thread| {
            Some((
                thread.file_name(),
                fs::read_to_string(thread.path().join("schedstat")).ok()?,
            ))
        });
        let nanos = |used: &str| used.split(' ').next().unwrap().parse().unwrap();
        ProcessorTimes(
            used.map(|(thread, used)| (thread, Duration::from_nanos(nanos(&used))))
                .collect(),
        )
    }
}

/// The processor time of the threads of a process.
pub(crate) struct ProcessorTimes(HashMap<OsString, Duration>);

impl ProcessorTimes {
    /// The time used since `earlier`. A thread that has ended meanwhile does not count: it had nothing to do.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        self.0
            .iter()
            .map(|(thread, used)| *used - earlier.0.get(thread).copied().unwrap_or_default())
            .sum()
    }
}

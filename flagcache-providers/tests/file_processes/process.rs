//! A worker process, as its test sees it.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use flagcache_test_support::WorkerProcess;

/// The environment of a worker.
pub(crate) const ROLE: &str = "FLAGCACHE_TEST_ROLE";
pub(crate) const FOLDER: &str = "FLAGCACHE_TEST_FOLDER";
/// Distinguishes the reports of a worker from the output of the test harness.
const MARKER: char = '@';

/// A report of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) event: String,
    pub(crate) number: u64,
    /// When it happened, on the clock of the machine, since the epoch.
    pub(crate) at: Duration,
}

impl Report {
    pub(crate) fn is(&self, event: &str, number: u64) -> bool {
        self.event == event && self.number == number
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix(MARKER)?.split(' ');
        let event = parts.next()?.to_owned();
        let number = parts.next()?.parse().ok()?;
        let at = Duration::from_micros(parts.next()?.parse().ok()?);
        Some(Self { event, number, at })
    }
}

/// Reports an event that happened at `at`, from within a worker.
pub(crate) fn report(event: &str, number: u64, at: Duration) {
    println!("{MARKER}{event} {number} {}", at.as_micros());
}

/// Now, on the clock that all processes of a machine share.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
}

/// A worker that the test started. It is killed when dropped.
pub(crate) struct Worker {
    worker: WorkerProcess<Report>,
    /// How many reports the waits have passed.
    waited: usize,
    /// How many reports [`new_reports`](Self::new_reports) or a wait has seen.
    seen: usize,
}

impl Worker {
    pub(crate) fn start(role: &str, folder: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "worker", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(FOLDER, folder);
        Self {
            worker: WorkerProcess::start(&mut command, Report::parse),
            waited: 0,
            seen: 0,
        }
    }

    pub(crate) fn order(&mut self, line: &str) {
        self.worker.order(line);
    }

    /// Waits for the next such report.
    pub(crate) fn wait_for(
        &mut self,
        timeout: Duration,
        is_it: impl Fn(&Report) -> bool,
    ) -> Report {
        let first = self.waited;
        let found = self.worker.find(timeout, |reports| {
            let index = first + reports.get(first..)?.iter().position(&is_it)?;
            Some((index, reports[index].clone()))
        });
        let Some((index, report)) = found else {
            let reports = self.worker.reports();
            panic!("no such report within {timeout:?}, or before the worker ended: {reports:?}");
        };
        self.waited = index + 1;
        self.seen = self.seen.max(self.waited);
        report
    }

    /// The reports since the last call, or since the last report that a wait has found.
    pub(crate) fn new_reports(&mut self) -> Vec<Report> {
        let new = self.worker.reports()[self.seen..].to_vec();
        self.seen += new.len();
        new
    }

    /// All its reports so far.
    pub(crate) fn reports(&mut self) -> &[Report] {
        self.worker.reports()
    }

    /// Sends SIGKILL, and returns when.
    pub(crate) fn kill(&mut self) -> Duration {
        let at = now();
        self.worker.process.kill().unwrap();
        at
    }
}

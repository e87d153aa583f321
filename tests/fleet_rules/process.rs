//! A worker process, as its test sees it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::line::{Event, Order, Report, now};

/// A worker that the test started. It is killed when dropped.
pub(crate) struct WorkerProcess {
    pub(crate) name: String,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Report>,
    reports: Vec<Report>,
    exit: Option<ExitStatus>,
}

impl WorkerProcess {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let reports = stdout
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| Report::parse(&line));
            reports
                .map(|report| sender.send(report))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        Self {
            name: name.to_owned(),
            child,
            stdin,
            lines,
            reports: Vec::new(),
            exit: None,
        }
    }

    pub(crate) fn send(&mut self, order: Order) {
        self.tell_line(&serde_json::to_string(&order).unwrap());
    }

    pub(crate) fn tell_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// All its reports so far.
    pub(crate) fn reports(&mut self) -> &[Report] {
        self.reports.extend(self.lines.try_iter());
        &self.reports
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

    /// Sends SIGSTOP: it stands still, with all that it holds.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGTERM. When that was.
    pub(crate) fn terminate(&self) -> Duration {
        let at = now();
        self.signal(Signal::TERM);
        at
    }

    /// Sends SIGKILL. When that was.
    pub(crate) fn kill(&mut self) -> Duration {
        let at = now();
        self.child.kill().unwrap();
        self.exit = Some(self.child.wait().unwrap());
        at
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while !self.has_ended() {
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {timeout:?}",
                self.name
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().unwrap();
        }
        self.exit.is_some()
    }

    /// The time of processors that each of its threads has used, as Linux counts it.
    pub(crate) fn processor_times(&self) -> ProcessorTimes {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()))
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

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

/// What the threads of a process have used.
pub(crate) struct ProcessorTimes(HashMap<OsString, Duration>);

impl ProcessorTimes {
    /// What was used since then. A thread that has ended meanwhile, one that had nothing to do, does not count.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        self.0
            .iter()
            .map(|(thread, used)| *used - earlier.0.get(thread).copied().unwrap_or_default())
            .sum()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // Fails if it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

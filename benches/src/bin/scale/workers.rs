//! Worker processes, and their reports.

use std::collections::HashSet;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use flagcache_test_support::Process;

use crate::host;
use crate::protocol::{Counts, Moment, Order, Report, Spec};

/// Longer than any step takes on a busy machine.
pub(crate) const AMPLE: Duration = Duration::from_secs(120);

/// A position in the reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position(usize);

impl Position {
    /// Before the first report.
    pub(crate) const BEGINNING: Self = Self(0);
}

/// The worker processes of a scenario. Dropping it kills them.
pub(crate) struct Workers {
    processes: Vec<Worker>,
    sender: Sender<Report>,
    receiver: Receiver<Report>,
    reports: Vec<Report>,
}

struct Worker {
    spec: Spec,
    process: Process,
}

impl Workers {
    /// Starts `pollers` pollers, spread evenly over so many processes.
    pub(crate) fn start(spec: &Spec, pollers: usize, processes: usize) -> Self {
        let (sender, receiver) = channel();
        let mut workers = Self {
            processes: Vec::new(),
            sender,
            receiver,
            reports: Vec::new(),
        };
        let mut first = 0;
        for process in 0..processes {
            let share = pollers / processes + usize::from(process < pollers % processes);
            workers.add(Spec {
                pollers: share,
                first,
                ..spec.clone()
            });
            first += share;
        }
        workers
    }

    fn add(&mut self, spec: Spec) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["worker", &serde_json::to_string(&spec).unwrap()]);
        let mut process = Process::start_piped(&mut command).unwrap();
        let lines = process.lines();
        let sender = self.sender.clone();
        thread::spawn(move || {
            // A kill can cut the last line short: it does not parse.
            for report in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                let _ = sender.send(report);
            }
        });
        self.processes.push(Worker { spec, process });
    }

    pub(crate) fn pollers(&self) -> usize {
        self.processes
            .iter()
            .map(|worker| worker.spec.pollers)
            .sum()
    }

    pub(crate) fn position(&mut self) -> Position {
        self.reports.extend(self.receiver.try_iter());
        Position(self.reports.len())
    }

    /// Waits until `find` succeeds on the reports since `position`. Panics after `timeout`.
    pub(crate) fn find<T>(
        &mut self,
        position: Position,
        what: &str,
        timeout: Duration,
        find: impl Fn(&[Report]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            self.position();
            if let Some(found) = find(&self.reports[position.0..]) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let report = self.receiver.recv_timeout(left);
            self.reports
                .push(report.unwrap_or_else(|_| panic!("{what}: not within {timeout:?}")));
        }
    }

    /// Waits until each poller has definitions: any, or those with this ETag. Returns when each one got them.
    pub(crate) fn all_have(
        &mut self,
        position: Position,
        etag: Option<&str>,
        timeout: Duration,
    ) -> Vec<(usize, Moment)> {
        let pollers = self.pollers();
        let mut having = Vec::new();
        let mut seen = HashSet::new();
        let mut next = position.0;
        let deadline = Instant::now() + timeout;
        loop {
            self.position();
            for report in &self.reports[next..] {
                if let Report::Has {
                    poller,
                    etag: theirs,
                    at,
                } = report
                    && etag.is_none_or(|etag| theirs.as_deref() == Some(etag))
                    && seen.insert(*poller)
                {
                    having.push((*poller, *at));
                }
            }
            next = self.reports.len();
            if having.len() == pollers {
                return having;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let report = self.receiver.recv_timeout(left);
            let have = having.len();
            self.reports.push(report.unwrap_or_else(|_| {
                panic!("{have} of {pollers} pollers have the definitions after {timeout:?}")
            }));
        }
    }

    pub(crate) fn order(&mut self, order: Order) {
        for worker in &mut self.processes {
            worker.process.send_line(order.as_str()).unwrap();
        }
    }

    /// Sends an order to one process only.
    pub(crate) fn order_one(&mut self, process: usize, order: Order) {
        let worker = &mut self.processes[process];
        worker.process.send_line(order.as_str()).unwrap();
    }

    pub(crate) fn counts(&mut self) -> Counts {
        let (position, processes) = (self.position(), self.processes.len());
        self.order(Order::Count);
        self.find(position, "counts", AMPLE, |reports| {
            let counts = reports.iter().filter_map(|report| {
                if let Report::Counts(counts) = report {
                    Some(*counts)
                } else {
                    None
                }
            });
            let counts: Vec<_> = counts.collect();
            (counts.len() == processes)
                .then(|| counts.into_iter().fold(Counts::default(), |a, b| a + b))
        })
    }

    /// Processor time of all processes.
    pub(crate) fn processor_time(&self) -> Duration {
        self.processor_times().iter().sum()
    }

    /// The processor time of each process.
    pub(crate) fn processor_times(&self) -> Vec<Duration> {
        let processes = self.processes.iter();
        processes
            .map(|worker| host::processor_time(worker.process.id()))
            .collect()
    }

    /// Kills the process of a poller, and returns the moment before. [`replace`](Self::replace) starts another one for it.
    pub(crate) fn kill(&mut self, poller: usize) -> (Moment, Spec) {
        let runs = |spec: &Spec| (spec.first..spec.first + spec.pollers).contains(&poller);
        let at = self
            .processes
            .iter()
            .position(|worker| runs(&worker.spec))
            .expect("the process of a poller");
        let mut worker = self.processes.swap_remove(at);
        let moment = Moment::now();
        worker.process.kill().unwrap();
        (moment, worker.spec.clone())
    }

    pub(crate) fn replace(&mut self, spec: Spec) {
        self.add(spec);
    }

    /// Shuts all processes down, and waits for their end.
    pub(crate) fn stop(mut self) {
        self.order(Order::Stop);
        for worker in &mut self.processes {
            let exit = worker.process.wait(AMPLE).unwrap();
            assert!(exit.is_some(), "a worker does not end");
        }
    }
}

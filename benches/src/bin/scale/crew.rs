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
pub(crate) struct Mark(usize);

impl Mark {
    /// Before the first report.
    pub(crate) const BEGINNING: Self = Self(0);
}

/// The worker processes of a scenario. Dropping it kills them.
pub(crate) struct Crew {
    members: Vec<Member>,
    sender: Sender<Report>,
    receiver: Receiver<Report>,
    reports: Vec<Report>,
}

struct Member {
    spec: Spec,
    process: Process,
}

impl Crew {
    /// Starts `pollers` pollers, spread evenly over so many processes.
    pub(crate) fn start(spec: &Spec, pollers: usize, processes: usize) -> Self {
        let (sender, receiver) = channel();
        let mut crew = Self {
            members: Vec::new(),
            sender,
            receiver,
            reports: Vec::new(),
        };
        let mut first = 0;
        for process in 0..processes {
            let share = pollers / processes + usize::from(process < pollers % processes);
            crew.add(Spec {
                pollers: share,
                first,
                ..spec.clone()
            });
            first += share;
        }
        crew
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
        self.members.push(Member { spec, process });
    }

    pub(crate) fn pollers(&self) -> usize {
        self.members.iter().map(|member| member.spec.pollers).sum()
    }

    pub(crate) fn mark(&mut self) -> Mark {
        self.reports.extend(self.receiver.try_iter());
        Mark(self.reports.len())
    }

    /// Waits until `find` succeeds on the reports since `mark`. Panics after `timeout`.
    pub(crate) fn find<T>(
        &mut self,
        mark: Mark,
        what: &str,
        timeout: Duration,
        find: impl Fn(&[Report]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            self.mark();
            if let Some(found) = find(&self.reports[mark.0..]) {
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
        mark: Mark,
        etag: Option<&str>,
        timeout: Duration,
    ) -> Vec<(usize, Moment)> {
        let pollers = self.pollers();
        let mut having = Vec::new();
        let mut seen = HashSet::new();
        let mut next = mark.0;
        let deadline = Instant::now() + timeout;
        loop {
            self.mark();
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
        for member in &mut self.members {
            member.process.send_line(order.as_str()).unwrap();
        }
    }

    pub(crate) fn counts(&mut self) -> Counts {
        let (mark, members) = (self.mark(), self.members.len());
        self.order(Order::Count);
        self.find(mark, "counts", AMPLE, |reports| {
            let counts = reports.iter().filter_map(|report| {
                if let Report::Counts(counts) = report {
                    Some(*counts)
                } else {
                    None
                }
            });
            let counts: Vec<_> = counts.collect();
            (counts.len() == members)
                .then(|| counts.into_iter().fold(Counts::default(), |a, b| a + b))
        })
    }

    /// Processor time of all processes.
    pub(crate) fn processor_time(&self) -> Duration {
        self.members
            .iter()
            .map(|member| host::processor_time(member.process.id()))
            .sum()
    }

    /// Kills the process of a poller, and returns the moment before. [`replace`](Self::replace) starts another one for it.
    pub(crate) fn kill(&mut self, poller: usize) -> (Moment, Spec) {
        let runs = |spec: &Spec| (spec.first..spec.first + spec.pollers).contains(&poller);
        let at = self
            .members
            .iter()
            .position(|member| runs(&member.spec))
            .expect("the process of a poller");
        let mut member = self.members.swap_remove(at);
        let moment = Moment::now();
        member.process.kill().unwrap();
        (moment, member.spec.clone())
    }

    pub(crate) fn replace(&mut self, spec: Spec) {
        self.add(spec);
    }

    /// Shuts all processes down, and waits for their end.
    pub(crate) fn stop(mut self) {
        self.order(Order::Stop);
        for member in &mut self.members {
            let exit = member.process.wait(AMPLE).unwrap();
            assert!(exit.is_some(), "a worker does not end");
        }
    }
}

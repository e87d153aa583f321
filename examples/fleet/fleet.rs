//! The workers of a fleet, and their reports.

use std::collections::HashMap;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::api::{Api, Credentials};
use crate::args::WorkerArgs;
use crate::cache::CacheUrl;
use crate::output::FleetDisplay;
use crate::process::{Message, WorkerProcess};
use crate::protocol::{Event, Order, UnixMicros};
use crate::record::{Entry, Position, Record};

/// Longer than anything that succeeds without waiting for a tick.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests to the API, and what PostHog would bill for them: 10 units for a 200, 1 for a 304.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) units: u64,
}

impl Cost {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            units: self.units - earlier.units,
        }
    }
}

pub(crate) struct Fleet {
    /// First, so that the workers end before the rest is dropped.
    workers: Vec<WorkerProcess>,
    pub(crate) record: Record,
    reports: UnboundedSender<Message>,
    poll_interval: Duration,
    cache: Option<CacheUrl>,
    credentials: Credentials,
    display: FleetDisplay,
    /// Workers started so far; they are named by it.
    started: usize,
}

impl Fleet {
    pub(crate) fn new(
        api: &Api,
        poll_interval: Duration,
        cache: Option<CacheUrl>,
        display: FleetDisplay,
    ) -> Self {
        let (reports, messages) = unbounded_channel();
        let credentials = api.credentials.clone();
        Self {
            workers: Vec::new(),
            record: Record::new(messages),
            reports,
            poll_interval,
            cache,
            credentials,
            display,
            started: 0,
        }
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        self.poll_interval
    }

    /// Longer than anything that succeeds.
    pub(crate) fn timeout(&self) -> Duration {
        TIMEOUT + self.poll_interval * 2
    }

    pub(crate) fn cache(&self) -> Option<&CacheUrl> {
        self.cache.as_ref()
    }

    /// The names of the workers that this process has neither killed nor stopped.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.workers.iter().map(|worker| worker.name.as_str())
    }

    /// Starts one more worker and returns its name.
    pub(crate) fn start_worker(&mut self) -> io::Result<String> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let args = WorkerArgs {
            name: name.clone(),
            poll_interval: self.poll_interval,
        };
        let (cache, reports) = (self.cache.as_ref(), self.reports.clone());
        self.workers.push(WorkerProcess::start(
            &args,
            &self.credentials,
            cache,
            reports,
            &self.display,
        )?);
        Ok(name)
    }

    /// Kills a worker with SIGKILL. The moment just before.
    pub(crate) fn kill(&mut self, name: &str) -> Result<UnixMicros, String> {
        let mut worker = self.take(name)?;
        let moment = UnixMicros::now();
        worker
            .kill()
            .map_err(|error| format!("cannot kill {name}: {error}"))?;
        Ok(moment)
    }

    /// Asks a worker to end, with SIGTERM. The moment just before, and the worker.
    pub(crate) fn terminate(&mut self, name: &str) -> Result<(UnixMicros, WorkerProcess), String> {
        let mut worker = self.take(name)?;
        let moment = UnixMicros::now();
        worker
            .terminate()
            .map_err(|error| format!("cannot signal {name}: {error}"))?;
        Ok((moment, worker))
    }

    fn take(&mut self, name: &str) -> Result<WorkerProcess, String> {
        let at = self.workers.iter().position(|worker| worker.name == name);
        Ok(self
            .workers
            .remove(at.ok_or_else(|| format!("there is no {name}"))?))
    }

    /// Sends an order to a worker.
    pub(crate) fn order(&mut self, name: &str, order: Order) -> Result<(), String> {
        let worker = self.workers.iter_mut().find(|worker| worker.name == name);
        let worker = worker.ok_or_else(|| format!("there is no {name}"))?;
        worker
            .order(order)
            .map_err(|error| format!("cannot send an order to {name}: {error}"))
    }

    /// The leader, by the last decisions of the running workers.
    pub(crate) fn leader(&mut self) -> Option<String> {
        let mut leads = HashMap::new();
        for entry in self.record.all() {
            if let Event::Decided { leads: decision } = entry.event {
                leads.insert(entry.worker.clone(), decision);
            }
        }
        self.workers
            .iter()
            .map(|worker| &worker.name)
            .find(|name| leads.get(*name) == Some(&true))
            .cloned()
    }

    /// When the last of all workers had new definitions since `position`.
    pub(crate) async fn all_changed(&mut self, position: Position) -> Result<UnixMicros, String> {
        self.all_changed_but(None, position).await
    }

    /// The same, without one of them.
    pub(crate) async fn all_changed_but(
        &mut self,
        one: Option<&str>,
        position: Position,
    ) -> Result<UnixMicros, String> {
        let names: Vec<_> = self
            .names()
            .filter(|name| Some(*name) != one)
            .map(str::to_owned)
            .collect();
        self.all(names, position, "had new definitions", |event| {
            matches!(event, Event::Changed { .. })
        })
        .await
    }

    /// When the last of all workers had ended a load since `position`.
    pub(crate) async fn all_loaded(&mut self, position: Position) -> Result<UnixMicros, String> {
        let names = self.names().map(str::to_owned).collect();
        self.all_of_these_loaded(names, position).await
    }

    /// When the last of these workers had ended a load since `position`.
    pub(crate) async fn all_of_these_loaded(
        &mut self,
        names: Vec<String>,
        position: Position,
    ) -> Result<UnixMicros, String> {
        self.all(names, position, "ended a load", |event| {
            matches!(event, Event::Loaded(_))
        })
        .await
    }

    /// When the last of these workers reported what is `wanted`, each the first since `position`.
    async fn all(
        &mut self,
        names: Vec<String>,
        position: Position,
        what: &str,
        wanted: fn(&Event) -> bool,
    ) -> Result<UnixMicros, String> {
        let first = |entries: &[Entry], name: &str| {
            // A worker that has ended reports nothing any more.
            let settles = |event: &Event| wanted(event) || *event == Event::Gone;
            entries
                .iter()
                .find(|entry| entry.worker == name && settles(&entry.event))
                .cloned()
        };
        let all = |entries: &[Entry]| {
            names
                .iter()
                .map(|name| first(entries, name))
                .collect::<Option<Vec<_>>>()
        };
        let timeout = self.timeout();
        let Some(all) = self.record.find(position, timeout, all).await else {
            let entries = self.record.since(position);
            let late: Vec<_> = names
                .iter()
                .filter(|name| first(entries, name).is_none())
                .map(String::as_str)
                .collect();
            return Err(format!(
                "not all workers {what} within {timeout:?}; missing: {}",
                late.join(", ")
            ));
        };
        if let Some(gone) = all.iter().find(|entry| entry.event == Event::Gone) {
            return Err(format!("{} has ended by itself", gone.worker));
        }
        all.iter()
            .map(|entry| entry.at)
            .max()
            .ok_or_else(|| "there are no workers".to_owned())
    }

    /// When a leader first began to store other definitions since `position`. Waits until that load has ended: an order to load
    /// during it would not cause another load.
    pub(crate) async fn published(&mut self, position: Position) -> Result<UnixMicros, String> {
        let stored = |entries: &[Entry]| {
            let at = entries
                .iter()
                .position(|entry| entry.event == Event::Publishing)?;
            let (begun, later) = (&entries[at], &entries[at..]);
            let has_ended = |entry: &Entry| {
                entry.worker == begun.worker && matches!(entry.event, Event::Loaded(_))
            };
            later.iter().any(has_ended).then_some(begun.at)
        };
        let timeout = self.timeout();
        let published = self.record.find(position, timeout, stored).await;
        published.ok_or_else(|| "a change was seen, but no leader has published it".to_owned())
    }

    /// Loads of a worker since `position`.
    pub(crate) fn loads_of(&mut self, name: &str, position: Position) -> usize {
        let is_load =
            |entry: &&Entry| entry.worker == name && matches!(entry.event, Event::Loaded(_));
        self.record.since(position).iter().filter(is_load).count()
    }

    /// The errors of the workers' loads, each one once.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for entry in self.record.all() {
            if let Event::ErrorChanged { error } = &entry.event
                && !errors.contains(error)
            {
                errors.push(error.clone());
            }
        }
        errors
    }

    /// The requests of this fleet: by the API's own count if available, else by the workers' reports.
    pub(crate) fn cost(&mut self, api: &Api) -> Cost {
        if let Some((requests, units)) = api.counted() {
            return Cost { requests, units };
        }
        self.record
            .all()
            .iter()
            .fold(Cost::default(), |cost, entry| match entry.event {
                Event::Fetched { status, .. } => {
                    let units = match status {
                        Some(200) => 10,
                        Some(304) => 1,
                        _ => 0,
                    };
                    Cost {
                        requests: cost.requests + 1,
                        units: cost.units + units,
                    }
                }
                _ => cost,
            })
    }

    /// Sends SIGTERM to all workers at once and waits until the last has ended. How each ended; `None` for one that had to
    /// be killed.
    pub(crate) async fn shut_down(&mut self) -> Result<Vec<(String, Option<ExitStatus>)>, String> {
        let mut workers = std::mem::take(&mut self.workers);
        for worker in &mut workers {
            worker
                .terminate()
                .map_err(|error| format!("cannot signal {}: {error}", worker.name))?;
        }
        let mut endings = Vec::new();
        for mut worker in workers {
            let ending = worker
                .ended(TIMEOUT)
                .await
                .map_err(|error| format!("{}: {error}", worker.name))?;
            endings.push((worker.name.clone(), ending));
        }
        Ok(endings)
    }
}

//! [`Redis`]: the model of the server. One thread serves the calls in the order in which they arrive; replies leave through one
//! link. The scripts do what those of the Redis store do (`flagcache-providers/src/redis/scripts`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flagcache::{FlagDefinitionCacheData, FleetFailure};
use tokio::time::Instant;

use crate::costs::{BACKLOG, Costs, PATCH, SMALL};
use crate::plant::Plant;

/// How many patches the server keeps.
const PATCHES: usize = 8;

/// The name of a worker's process: each restart has its own.
pub(crate) type Process = u64;

/// The holder of the lock: a process and the number of its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) process: Process,
    pub(crate) number: u64,
}

/// A copy, as the server stores it or a worker holds it.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    /// Identifies it, as the digest of its head does in the Redis store.
    pub(crate) id: u64,
    /// Orders the fetches of the definitions.
    pub(crate) version: u32,
    pub(crate) data: FlagDefinitionCacheData,
}

/// Whether the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Up,
    /// Connections are refused.
    Killed,
}

/// What the server did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) calls: u64,
    pub(crate) ticks: u64,
    pub(crate) connects: u64,
    pub(crate) bytes: u64,
    pub(crate) whole_copies: u64,
    pub(crate) patches: u64,
    /// Of the one thread.
    pub(crate) busy: Duration,
    /// The longest time from a call's arrival until the thread had served it.
    pub(crate) longest_wait: Duration,
    /// The connections, and the replies that wait for the link, at the peak, in bytes.
    pub(crate) memory: u64,
    pub(crate) connections: u64,
}

/// The reply of the tick script.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    pub(crate) leads: bool,
    pub(crate) lock_left: Option<Duration>,
    pub(crate) confirmed_ago: Option<Duration>,
    pub(crate) copy: Option<Arc<Copy>>,
    pub(crate) failure: Option<FleetFailure>,
    /// A worker requested a refresh, and this leader takes the request.
    pub(crate) refresh: bool,
}

/// An attempt to acquire the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) expires: Option<Instant>,
}

/// The reply of the keep script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Refused,
    Alive,
    Other,
}

/// The content of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The copy or the leader has changed.
    Changed,
    /// A worker requests a refresh.
    Refresh,
}

/// The result of a leader's request, recorded beside the copy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Confirmed,
    Failed(Option<FleetFailure>),
}

/// The server.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) costs: Costs,
    pub(crate) load: Load,
    pub(crate) power: Power,
    /// Counts the server's starts: connections to an earlier one are closed.
    pub(crate) epoch: u64,
    lock_ttl: Duration,
    has_patches: bool,
    plant: Option<Plant>,
    lock: Option<(Token, Instant)>,
    copy: Option<Arc<Copy>>,
    /// The copies that a patch leads away from, oldest first; each patch leads to the next one's, the last to the copy.
    chain: VecDeque<u64>,
    next_id: u64,
    confirmed: Option<Instant>,
    failure: Option<(FleetFailure, Instant)>,
    /// Since when a request for a refresh waits.
    refresh: Option<Instant>,
    thread_free: Instant,
    link_free: Instant,
}

/// When a script ran, and when its reply is back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) at: Instant,
    pub(crate) reply: Instant,
}

impl Redis {
    pub(crate) fn new(
        costs: Costs,
        lock_ttl: Duration,
        has_patches: bool,
        plant: Option<Plant>,
    ) -> Self {
        let now = Instant::now();
        Self {
            costs,
            load: Load::default(),
            power: Power::Up,
            epoch: 0,
            lock_ttl,
            has_patches,
            plant,
            lock: None,
            copy: None,
            chain: VecDeque::new(),
            next_id: 0,
            confirmed: None,
            failure: None,
            refresh: None,
            thread_free: now,
            link_free: now,
        }
    }

    // ---- The thread and the link ---------------------------------------------------------------------------------------

    /// Serves a call of this cost, whose reply has this many bytes.
    pub(crate) fn serve(&mut self, cost: Duration, reply: u64) -> Served {
        let arrives = Instant::now() + self.costs.round_trip / 2;
        let wakes = self.thread_free <= arrives;
        let at = self.thread_free.max(arrives);
        let wake = if wakes {
            self.costs.wake
        } else {
            Duration::ZERO
        };
        let cost = cost + wake + Costs::of_bytes(reply, self.costs.nanos_per_byte);
        let done = at + cost;
        self.thread_free = done;
        let link_free = self.link_free.max(done);
        let waiting = (link_free - done).as_secs_f64() * self.costs.bandwidth;
        self.link_free = link_free + Duration::from_secs_f64(reply as f64 / self.costs.bandwidth);
        let load = &mut self.load;
        load.calls += 1;
        load.bytes += reply;
        load.busy += cost;
        load.longest_wait = load.longest_wait.max(done - arrives);
        let memory = waiting as u64 + reply + load.connections * self.costs.connection_bytes;
        load.memory = load.memory.max(memory);
        Served {
            at,
            reply: self.link_free + self.costs.round_trip / 2,
        }
    }

    /// The times at which each of this many connections gets a notification that a script at `from` publishes.
    pub(crate) fn notify(
        &mut self,
        from: Instant,
        connections: usize,
    ) -> impl Fn(usize) -> Instant + use<> {
        let each = self.costs.notification;
        let all = each * connections as u32;
        let begins = self.thread_free.max(from);
        self.thread_free = begins + all;
        self.load.busy += all;
        self.load.bytes += SMALL * connections as u64;
        let half = self.costs.round_trip / 2;
        move |place| begins + each * place as u32 + half
    }

    // ---- The scripts ---------------------------------------------------------------------------------------------------

    /// Whether the server drops a new connection, because too many wait.
    pub(crate) fn is_full(&self) -> bool {
        self.thread_free > Instant::now() + self.costs.connect * BACKLOG
    }

    pub(crate) fn connect(&mut self) -> Served {
        self.load.connects += 1;
        self.serve(self.costs.connect, 3 * SMALL)
    }

    /// Reads the state, and tries to acquire the lock.
    pub(crate) fn tick(&mut self, process: Process, attempt: Option<Attempt>) -> (Served, Tick) {
        let served = self.serve(self.costs.script, self.costs.tick_bytes);
        self.load.ticks += 1;
        let at = served.at;
        let held = self.lock_at(at);
        let failure = self
            .failure
            .map(|(failure, since)| failure.with_age(at.saturating_duration_since(since)));
        let barred = failure.is_some_and(|failure| failure.bars(None));
        let mut leads = false;
        if let Some(attempt) = attempt.filter(|_| !barred) {
            let free = match held {
                None => true,
                Some(held) if held.process == process => held.number <= attempt.number,
                Some(_) => self.plant == Some(Plant::UncheckedLease),
            };
            let in_time = attempt.expires.is_none_or(|expires| at <= expires);
            if free && in_time {
                leads = true;
                let token = Token {
                    process,
                    number: attempt.number,
                };
                self.lock = Some((token, at + self.lock_ttl));
            }
        }
        let tick = Tick {
            leads,
            lock_left: self
                .lock
                .filter(|(_, ends)| *ends > at)
                .map(|(_, ends)| ends - at),
            confirmed_ago: self
                .confirmed
                .map(|confirmed| at.saturating_duration_since(confirmed)),
            copy: self.copy.clone(),
            failure,
            refresh: leads && self.refresh.take().is_some(),
        };
        (served, tick)
    }

    /// Records a request for a refresh; returns whether the leader is to be notified.
    pub(crate) fn request_refresh(&mut self) -> (Served, bool) {
        let served = self.serve(self.costs.script, SMALL);
        let waits = self
            .refresh
            .is_some_and(|since| served.at < since + Duration::from_secs(1));
        if !waits {
            self.refresh = Some(served.at);
        }
        (served, !waits)
    }

    /// Renews the lock; returns whether it still held the token.
    pub(crate) fn renew(&mut self, token: Token) -> (Served, bool) {
        let served = self.serve(self.costs.script, SMALL);
        let held = self.lock_at(served.at) == Some(token);
        if held {
            self.lock = Some((token, served.at + self.lock_ttl));
        }
        (served, held)
    }

    /// Releases the lock of this process; returns whether it held it.
    pub(crate) fn release(&mut self, process: Process) -> (Served, bool) {
        let served = self.serve(self.costs.script, SMALL);
        let held = self
            .lock_at(served.at)
            .is_some_and(|held| held.process == process);
        if held {
            self.lock = None;
        }
        (served, held)
    }

    /// Records the mark, and confirms that the copy is the expected one.
    pub(crate) fn keep(
        &mut self,
        token: Token,
        mark: Mark,
        expected: Option<u64>,
    ) -> (Served, Kept) {
        let served = self.serve(self.costs.script, SMALL);
        if self.lock_at(served.at) != Some(token) {
            return (served, Kept::Refused);
        }
        if expected.is_some() && self.copy.as_ref().map(|copy| copy.id) != expected {
            return (served, Kept::Other);
        }
        self.mark(served.at, mark);
        (served, Kept::Alive)
    }

    /// Stores a copy of this length: as the leader with its token, or if there is none. `id` is that of a copy which was
    /// stored before. Returns the copy, if it was stored.
    pub(crate) fn publish(
        &mut self,
        token: Option<Token>,
        mark: Mark,
        id: Option<u64>,
        (version, data): (u32, &FlagDefinitionCacheData),
        length: u64,
    ) -> (Served, Option<Arc<Copy>>) {
        let cost = self.costs.script + Costs::of_bytes(length, self.costs.nanos_per_published_byte);
        let served = self.serve(cost, SMALL);
        self.load.bytes += length;
        let allowed = match token {
            Some(token) => self.lock_at(served.at) == Some(token),
            None => self.copy.is_none(),
        };
        if !allowed {
            return (served, None);
        }
        let id = id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        let copy = Arc::new(Copy {
            id,
            version,
            data: data.clone(),
        });
        match self.copy.replace(Arc::clone(&copy)) {
            Some(before) if before.id != id => self.chain.push_back(before.id),
            Some(_) => {}
            None => self.chain.clear(),
        }
        if self.chain.len() > PATCHES {
            self.chain.pop_front();
        }
        self.mark(served.at, mark);
        (served, Some(copy))
    }

    /// The patches from the copy that a worker holds to the current one; `None` if it must read the whole copy.
    pub(crate) fn patch(&mut self, held: u64) -> Option<(Served, Arc<Copy>)> {
        if !self.has_patches {
            return None;
        }
        let copy = self.copy.clone()?;
        let missing = self.chain.iter().rev().position(|id| *id == held)? as u64 + 1;
        let served = self.serve(self.costs.script, missing * PATCH);
        self.load.patches += 1;
        Some((served, copy))
    }

    /// One piece of the whole copy, or all of it.
    pub(crate) fn read(&mut self, bytes: u64, is_last: bool) -> (Served, Option<Arc<Copy>>) {
        let served = self.serve(self.costs.read, bytes);
        self.load.whole_copies += u64::from(is_last);
        (served, self.copy.clone())
    }

    fn mark(&mut self, at: Instant, mark: Mark) {
        match mark {
            Mark::Confirmed => {
                self.confirmed = Some(at);
                self.failure = None;
            }
            Mark::Failed(failure) => {
                self.failure = failure.map(|failure| (failure, at)).or(self.failure);
            }
        }
    }

    fn lock_at(&self, at: Instant) -> Option<Token> {
        self.lock
            .filter(|(_, ends)| *ends > at)
            .map(|(token, _)| token)
    }

    // ---- Faults --------------------------------------------------------------------------------------------------------

    /// The process that holds the lock now.
    pub(crate) fn leader(&self) -> Option<Process> {
        self.lock_at(Instant::now()).map(|token| token.process)
    }

    /// Whether there is no copy, and how long ago it was confirmed.
    pub(crate) fn state_of_copy(&self) -> (bool, Option<Duration>) {
        let confirmed_ago = self
            .confirmed
            .map(|at| Instant::now().saturating_duration_since(at));
        (self.copy.is_none(), confirmed_ago)
    }

    pub(crate) fn kill(&mut self) {
        self.power = Power::Killed;
        self.epoch += 1;
        self.load.connections = 0;
    }

    /// Starts again, with what it had stored or empty.
    pub(crate) fn start(&mut self, empty: bool) {
        self.power = Power::Up;
        self.thread_free = Instant::now();
        self.link_free = Instant::now();
        if empty {
            self.lock = None;
            self.copy = None;
            self.chain.clear();
            self.confirmed = None;
            self.failure = None;
            self.refresh = None;
        }
    }
}

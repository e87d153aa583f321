//! A fleet whose workers are all of one kind.

use std::ops::{Deref, DerefMut};
use std::thread::sleep;
use std::time::Duration;

use crate::fleet::{FLAGS, Fleet};
use crate::protocol::{Event, now};
use crate::redis::mixed::definitions;
use crate::redis::peer::{self, Sdk};
use crate::redis::{LOCK, Server};
use crate::test_store::TestStore;
use crate::worker::Settings;

pub(super) const WORKERS: usize = 8;
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Ample for eight interpreters on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(180);

pub(super) fn name(sdk: Option<Sdk>) -> &'static str {
    match sdk {
        None => "flagcache",
        Some(Sdk::Python) => "posthog (Python)",
        Some(Sdk::Node) => "posthog-node",
    }
}

pub(super) struct SdkFleet {
    fleet: Fleet<Server>,
    pub(super) sdk: Option<Sdk>,
    /// The flags that the API serves.
    served: usize,
}

impl SdkFleet {
    /// No worker yet.
    pub(super) fn new(sdk: Option<Sdk>, settings: Settings) -> Self {
        let mut this = Self {
            fleet: Fleet::new(settings.waits_to_begin()),
            sdk,
            served: FLAGS,
        };
        this.serve(FLAGS);
        this
    }

    /// A fleet with short locks that began together on an empty store, and has its flags.
    pub(super) fn running(sdk: Option<Sdk>) -> Self {
        Self::running_with(sdk, Settings::every(POLL).lock_ttl(Server::LOCK_TTL))
    }

    pub(super) fn running_with(sdk: Option<Sdk>, settings: Settings) -> Self {
        let mut this = Self::new(sdk, settings);
        this.begin_all();
        this.wait_until_all_have(FLAGS);
        this.leader();
        this
    }

    /// Starts the workers, and lets them begin at the same moment.
    pub(super) fn begin_all(&mut self) {
        self.start(WORKERS);
        self.begin();
        self.settings.waits_to_begin = false;
    }

    /// Starts that many more workers. Gives the index of the first.
    pub(super) fn start(&mut self, workers: usize) -> usize {
        let first = self.workers.len();
        match self.sdk {
            None => {
                self.fleet.start(workers);
            }
            Some(sdk) => {
                for _ in 0..workers {
                    let interval = self.settings.interval;
                    peer::start(&mut self.fleet, sdk, interval);
                }
            }
        }
        first
    }

    pub(super) fn serve(&mut self, flags: usize) {
        self.served = flags;
        self.fleet.api.serve_body(definitions(flags));
    }

    /// Changes the flags once, until all have that. What the workers fetched at their start is the past then.
    pub(super) fn change(&mut self) -> usize {
        let flags = self.served + 1;
        self.serve(flags);
        self.wait_until_all_have(flags);
        flags
    }

    pub(super) fn wait_until_all_have(&mut self, flags: usize) {
        self.fleet
            .wait(LIMIT, &format!("every worker has {flags} flags"), |fleet| {
                fleet
                    .running_workers()
                    .all(|worker| worker.is_ready() && worker.flags() == flags)
            });
    }

    /// When the last of the running workers reported that many flags.
    pub(super) fn last_had(&mut self, flags: usize, since: Duration) -> Duration {
        let has = |event: &Event| matches!(event, Event::Change { flags: Some(now), .. } if *now == flags);
        self.running_workers()
            .map(|worker| worker.first(since, has).unwrap())
            .max()
            .unwrap()
            - since
    }

    /// How many of the running workers have another number of flags.
    pub(super) fn others_than(&mut self, flags: usize) -> usize {
        self.running_workers()
            .filter_map(|worker| (worker.flags() != flags).then_some(()))
            .count()
    }

    /// Ends the lock as its TTL would, so that no worker is paused for long: its client would take that for a server that does
    /// not answer.
    pub(super) fn end_lock(&self) {
        self.test_store.0.run::<()>(&format!("DEL {LOCK}"));
    }

    /// Pauses the leader until another worker leads, and returns that one's index.
    pub(super) fn move_leadership_from(&mut self, leader: usize) -> usize {
        let since = now();
        self.workers[leader].pause();
        self.end_lock();
        let (next, _) = self.next_leader(leader, since);
        self.workers[leader].resume();
        next
    }

    /// Waits for a moment at which the lock has just been renewed. Now.
    pub(super) fn wait_for_a_renewal(&mut self) -> Duration {
        let lock_ttl = self.settings.lock_ttl.as_millis() as i64;
        let left = |this: &Self| this.test_store.0.run::<i64>(&format!("PTTL {}", LOCK));
        let mut last = left(self);
        loop {
            sleep(Duration::from_millis(5));
            let now = left(self);
            if now > last && lock_ttl - now < 100 {
                break;
            }
            last = now;
        }
        now()
    }
}

impl Deref for SdkFleet {
    type Target = Fleet<Server>;

    fn deref(&self) -> &Fleet<Server> {
        &self.fleet
    }
}

impl DerefMut for SdkFleet {
    fn deref_mut(&mut self) -> &mut Fleet<Server> {
        &mut self.fleet
    }
}

//! [`Fleet`]: the pollers, one for each slot.

use std::sync::Arc;

use flagcache::FlagDefinitionPoller;

use crate::link::Link;
use crate::plant::Plant;
use crate::provider::Provider;
use crate::redis::Process;
use crate::source::Source;
use crate::world::World;

/// The pollers. A slot is empty between the death of a process and the start of the next.
pub(crate) struct Fleet {
    world: Arc<World>,
    pollers: Vec<Option<FlagDefinitionPoller>>,
    processes: Process,
}

impl Fleet {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            pollers: Vec::new(),
            processes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pollers.len()
    }

    /// Starts a worker in the next slot.
    pub(crate) fn start_next(&mut self) {
        let slot = self.pollers.len();
        self.pollers.push(None);
        self.start(slot);
    }

    /// Starts a process in this slot.
    pub(crate) fn start(&mut self, slot: usize) {
        let plan = &self.world.plan;
        self.processes += 1;
        let process = self.processes;
        let link = Arc::new(Link::new(slot, process, Arc::clone(&self.world.redis)));
        {
            let mut links = self.world.links.lock();
            match links.get_mut(slot) {
                Some(before) => *before = Arc::clone(&link),
                None => links.push(Arc::clone(&link)),
            }
        }
        self.world.checks.lock().started(slot, process);
        let source = Source {
            world: Arc::clone(&self.world),
            link: Arc::clone(&link),
        };
        let mut builder = FlagDefinitionPoller::builder()
            .source(source)
            .flag_definition_cache_provider(Provider::new(&self.world, &link))
            .poll_interval(plan.poll_interval)
            .notification_jitter(plan.jitter);
        if plan.plant == Some(Plant::ClearsFlags) {
            builder = builder.on_unauthorized(flagcache::OnUnauthorized::Clear);
        }
        let Ok(poller) = builder.start() else { return };
        let mut changes = poller.subscribe();
        let world = Arc::clone(&self.world);
        tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                world
                    .checks
                    .lock()
                    .took_in(slot, process, change.new.as_ref());
            }
        });
        self.pollers[slot] = Some(poller);
    }

    /// Kills the process: nothing leaves it any more, and its connection closes.
    pub(crate) fn kill(&mut self, slot: usize) {
        let link = Arc::clone(&self.world.links.lock()[slot]);
        link.kill();
        link.lost();
        self.pollers[slot] = None;
    }

    /// Shuts the process down, as a deployment does.
    pub(crate) fn shut_down(&mut self, slot: usize) {
        // The last handle: the poller shuts down in the background.
        self.pollers[slot] = None;
    }

    pub(crate) fn poller(&self, slot: usize) -> Option<&FlagDefinitionPoller> {
        self.pollers.get(slot)?.as_ref()
    }

    /// Checks every worker.
    pub(crate) fn look(&self) {
        let mut checks = self.world.checks.lock();
        for (slot, poller) in self.pollers.iter().enumerate() {
            if let Some(poller) = poller {
                checks.look(slot, poller);
            }
        }
    }
}

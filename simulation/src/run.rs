//! Runs a [`Plan`] on a paused clock of its own, and returns the figures.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};

use crate::checks::Rule;
use crate::fleet::Fleet;
use crate::plan::Plan;
use crate::redis::Load;
use crate::story::{self, Event};
use crate::world::World;

/// The longest time from PostHog's webhook until PostHog answers with the change: it builds its own cache first.
const CACHE_LAG: Duration = Duration::from_secs(2);

/// How long PostHog's webhook takes.
const WEBHOOK: Duration = Duration::from_millis(500);

/// The results of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) plan: Plan,
    /// From the start of the first worker to the end.
    pub(crate) simulated: Duration,
    pub(crate) redis: Load,
    pub(crate) requests: u64,
    pub(crate) requests_of_followers: u64,
    pub(crate) most_requests_in_a_second: u64,
    pub(crate) units: u64,
    pub(crate) bound: u64,
    pub(crate) failed_calls: u64,
    pub(crate) changes: usize,
    /// From a change at the API until each worker had it, in milliseconds, in order.
    pub(crate) delays: Vec<u32>,
    /// From a publish to the last worker, of each quiet change, in order.
    pub(crate) last: Vec<Duration>,
    pub(crate) violations: Vec<(Rule, u64)>,
    pub(crate) examples: Vec<String>,
}

impl Figures {
    pub(crate) fn count(&self) -> u64 {
        self.violations.iter().map(|(_, count)| count).sum()
    }
}

/// Runs the plan. The same plan gives the same figures.
pub(crate) fn run(plan: Plan) -> std::io::Result<Figures> {
    // The pollers of this thread take their seeds from it.
    fastrand::seed(plan.seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(live(plan)))
}

async fn live(plan: Plan) -> Figures {
    let world = Arc::new(World::new(plan));
    let mut fleet = Fleet::new(&world);
    let pause = Duration::from_secs_f64(1.0 / world.plan.starts);
    for index in 0..world.plan.workers {
        sleep_until(world.began + pause * index as u32).await;
        fleet.start_next();
    }
    // The first publish must reach all before the story begins.
    sleep(Duration::from_secs(30)).await;
    let begins = Instant::now();
    let mut rng = Rng::with_seed(world.plan.seed ^ 1);
    for (after, event) in story::of(&world.plan) {
        sleep_until(begins + after).await;
        happen(event, &world, &mut fleet, &mut rng);
    }
    figures(&world)
}

fn happen(event: Event, world: &Arc<World>, fleet: &mut Fleet, rng: &mut Rng) {
    match event {
        Event::Change { quiet } => change(quiet, world, fleet, rng),
        Event::KillLeader => {
            if let Some(slot) = world.leader() {
                fleet.kill(slot);
            }
        }
        Event::ShutDownLeader => {
            if let Some(slot) = world.leader() {
                fleet.shut_down(slot);
            }
        }
        Event::Replace => {
            for slot in 0..fleet.len() {
                if fleet.poller(slot).is_none() {
                    fleet.start(slot);
                }
            }
        }
        Event::CutLeader => {
            if let Some(slot) = world.leader() {
                world.links.lock()[slot].set_cut(true);
            }
        }
        Event::CutSome => {
            for link in world.links.lock().iter().filter(|_| rng.u8(0..20) == 0) {
                link.set_cut(true);
            }
        }
        Event::Heal => world
            .links
            .lock()
            .iter()
            .for_each(|link| link.set_cut(false)),
        Event::KillRedis => world.kill_redis(),
        Event::StartRedis { empty } => world.start_redis(empty),
        Event::Look => fleet.look(),
    }
}

/// Changes the definitions. With a webhook, one worker gets it and requests a refresh.
fn change(quiet: bool, world: &Arc<World>, fleet: &Fleet, rng: &mut Rng) {
    world.checks.lock().changed(quiet);
    if !world.plan.webhook {
        world.api.lock().version += 1;
        return;
    }
    let visible = CACHE_LAG.mul_f64(rng.f64());
    let later = Arc::clone(world);
    tokio::spawn(async move {
        sleep(visible).await;
        later.api.lock().version += 1;
    });
    let Some(worker) = fleet.poller(rng.usize(0..fleet.len())).cloned() else {
        return;
    };
    tokio::spawn(async move {
        sleep(WEBHOOK).await;
        // The next tick sees the change if the request fails.
        let _ = worker.request_refresh().await;
    });
}

fn figures(world: &Arc<World>) -> Figures {
    let api = world.api.lock();
    let mut checks = world.checks.lock();
    let of_followers = api.units - api.units_of_leaders;
    checks.units(api.units_of_leaders);
    let mut delays = std::mem::take(&mut checks.delays);
    delays.sort_unstable();
    let mut last: Vec<Duration> = checks
        .changes
        .iter()
        .filter(|change| change.quiet)
        .filter_map(|change| Some(change.last? - change.published?))
        .collect();
    last.sort_unstable();
    Figures {
        plan: world.plan.clone(),
        simulated: Instant::now() - world.began,
        redis: world.redis.lock().load,
        requests: api.requests,
        requests_of_followers: checks.other_requests,
        most_requests_in_a_second: api.most_in_a_second,
        units: api.units,
        bound: checks.bound() + of_followers,
        failed_calls: checks.failed_calls,
        changes: checks.changes.len(),
        delays,
        last,
        violations: Rule::ALL
            .into_iter()
            .map(|rule| (rule, checks.count(rule)))
            .collect(),
        examples: checks.examples.clone(),
    }
}

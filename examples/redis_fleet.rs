//! A fleet over Redis: use it if the workers run on several machines, in containers or pods. One of them fetches, the others
//! read. A notification brings each change to all of them, and a leader that shuts down is replaced at once.
//!
//! ```text
//! POSTHOG_PROJECT_KEY=phc_… POSTHOG_SECRET_KEY=phs_… REDIS_URL=redis://127.0.0.1:6379 \
//!     cargo run --features redis --example redis_fleet [workers]
//! ```
//!
//! Runs three workers, each configured as in a process of its own: `start` is the part to copy. Run it in several terminals:
//! there is still one request for all. Ctrl-C ends the workers one by one, the leader first.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context;
use flagcache::{FlagDefinitionPoller, PostHogApi, RedisStore, Role};
use futures_util::future::try_join_all;

/// How long the other workers wait after the leader was killed. A leader that shuts down releases the lock.
const LOCK_TTL: Duration = Duration::from_secs(10);

/// The part of each process of the fleet. It connects in the background: a worker boots while Redis is down.
pub(crate) fn start(api: PostHogApi, url: &str) -> anyhow::Result<FlagDefinitionPoller> {
    // The service is part of the keys: workers with the same service share one copy.
    let store = RedisStore::builder(url, "checkout")
        .lock_ttl(LOCK_TTL)
        .build()?;
    let flags = FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store.provider())
        .poll_interval(Duration::from_secs(30))
        .start()?;
    Ok(flags)
}

/// Shuts the leader down, or any worker if none of these leads, and waits until another of these leads.
pub(crate) async fn end_one(fleet: &mut Vec<FlagDefinitionPoller>) -> anyhow::Result<()> {
    let leads = |flags: &FlagDefinitionPoller| flags.status().role == Role::Leader;
    let leaving = fleet.iter().position(leads).unwrap_or(0);
    fleet.remove(leaving).shutdown().await?;
    let begun = Instant::now();
    while !fleet.iter().any(leads) && !fleet.is_empty() && begun.elapsed() < LOCK_TTL {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Ctrl-C or SIGTERM, which stops a container.
async fn told_to_end() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

fn tell(fleet: &[FlagDefinitionPoller]) {
    for (number, flags) in fleet.iter().enumerate() {
        let status = flags.status();
        let (flags, units) = (
            status.flags.unwrap_or_default(),
            status.counters.units_spent,
        );
        println!(
            "worker {number}: {:?}, flags: {flags}, units spent: {units}",
            status.role
        );
    }
    println!();
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url =
        std::env::var("REDIS_URL").context("set REDIS_URL: redis://127.0.0.1:6379, for one")?;
    let workers = std::env::args()
        .nth(1)
        .map_or(Ok(3), |count| count.parse::<u32>())?;
    let mut fleet = Vec::new();
    for _ in 0..workers {
        fleet.push(start(PostHogApi::from_env()?, &url)?);
    }
    try_join_all(
        fleet
            .iter()
            .map(|flags| flags.wait_ready(Duration::from_secs(10))),
    )
    .await?;
    tell(&fleet);
    told_to_end().await?;
    while !fleet.is_empty() {
        end_one(&mut fleet).await?;
        tell(&fleet);
    }
    Ok(())
}

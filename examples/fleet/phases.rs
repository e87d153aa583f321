//! The phases of a fleet: it starts, nothing changes for a while, one flag changes, many flags change, it ends.

use std::time::Duration;

use tokio::time::sleep;

use crate::api::Api;
use crate::figures::{Change, Changes, ColdStart, Shutdown, Steady, milliseconds, seconds};
use crate::fleet::{Cost, Fleet, TIMEOUT};
use crate::output::Output;
use crate::protocol::{Event, Load, Order, UnixMicros};
use crate::record::Entry;

/// Starts all workers at once and waits until each has flags.
pub(crate) async fn cold_start(
    fleet: &mut Fleet,
    api: &Api,
    workers: usize,
) -> Result<ColdStart, String> {
    let (position, before, begun) = (fleet.record.position(), fleet.cost(api), UnixMicros::now());
    for _ in 0..workers {
        fleet
            .start_worker()
            .map_err(|error| format!("cannot start a worker process: {error}"))?;
    }
    let took = fleet.all_changed(position).await?.since(begun);
    // A request that is still under way counts too.
    fleet.all_loaded(position).await?;
    let Cost { requests, units } = fleet.cost(api).since(before);
    Ok(ColdStart {
        requests,
        units,
        seconds: seconds(took),
    })
}

/// Watches a fleet to which nothing happens, from the end of one load to the end of another.
pub(crate) async fn steady(
    fleet: &mut Fleet,
    api: &Api,
    watch: Duration,
) -> Result<Steady, String> {
    let observed = fleet
        .leader()
        .or_else(|| fleet.names().next().map(str::to_owned))
        .ok_or("there are no workers")?;
    let first = next_load(fleet, &observed).await?;
    let before = fleet.cost(api);
    sleep(watch).await;
    let last = next_load(fleet, &observed).await?;
    let Cost { requests, units } = fleet.cost(api).since(before);
    Ok(Steady {
        ticks: last.loads - first.loads,
        seconds: seconds(last.at.since(first.at)),
        requests,
        units,
    })
}

/// The end of a load.
struct Loaded {
    at: UnixMicros,
    loads: u64,
}

async fn next_load(fleet: &mut Fleet, worker: &str) -> Result<Loaded, String> {
    let position = fleet.record.position();
    let load = |entry: &Entry| match entry.event {
        Event::Loaded(Load { loads, .. }) if entry.worker == worker => Some(Loaded {
            at: entry.at,
            loads,
        }),
        _ => None,
    };
    let timeout = fleet.timeout();
    let found = fleet
        .record
        .find(position, timeout, |entries| entries.iter().find_map(load))
        .await;
    found.ok_or_else(|| format!("{worker} has stopped polling"))
}

/// Changes a flag at the API and waits until each worker has it; `None` at an API that is not ours to change.
pub(crate) async fn change(
    fleet: &mut Fleet,
    api: &mut Api,
    output: &Output,
) -> Result<Option<Change>, String> {
    let (position, changed_at) = (fleet.record.position(), UnixMicros::now());
    let Some(what) = api.change_a_flag() else {
        output.log("skipped: changing a flag, because this API is not ours to change");
        return Ok(None);
    };
    output.log(format!("a flag changes at the API: {what}"));
    let last = fleet.all_changed(position).await?;
    let published_at = if fleet.cache().is_some() {
        Some(fleet.published(position).await?)
    } else {
        None
    };
    Ok(Some(Change {
        api_to_last_ms: milliseconds(last.since(changed_at)),
        publish_to_last_ms: published_at.map(|at| milliseconds(last.since(at))),
    }))
}

/// Asks all workers to end, at once. A worker that does not end cleanly is an error.
pub(crate) async fn shut_down(fleet: &mut Fleet) -> Result<Shutdown, String> {
    let (position, begun) = (fleet.record.position(), UnixMicros::now());
    let endings = fleet.shut_down().await?;
    let took = UnixMicros::now().since(begun);
    for (name, ending) in &endings {
        match ending {
            Some(status) if status.success() => {}
            Some(status) => return Err(format!("{name} ended with {status}")),
            None => {
                return Err(format!(
                    "{name} had not ended {} s after SIGTERM",
                    TIMEOUT.as_secs()
                ));
            }
        }
    }
    // The last reports may still be in the pipes.
    let all_gone = |entries: &[Entry]| {
        let gone = entries
            .iter()
            .filter(|entry| entry.event == Event::Gone)
            .count();
        (gone == endings.len()).then_some(())
    };
    fleet
        .record
        .find(position, TIMEOUT, all_gone)
        .await
        .ok_or("the output of a worker that has ended is still open")?;
    for entry in fleet.record.since(position) {
        if let Event::Stopped {
            error: Some(error), ..
        } = &entry.event
        {
            return Err(format!(
                "{} could not shut down well: {error}",
                entry.worker
            ));
        }
    }
    Ok(Shutdown {
        seconds: seconds(took),
    })
}

/// Changes a flag `count` times. The leader is ordered to load at once, without waiting for its tick.
pub(crate) async fn change_many(
    fleet: &mut Fleet,
    api: &mut Api,
    count: u32,
) -> Result<Changes, String> {
    let mut took = Vec::new();
    for _ in 0..count {
        let leader = fleet.leader().ok_or("no worker leads")?;
        let position = fleet.record.position();
        api.change_a_flag()
            .ok_or("this API is not ours to change")?;
        fleet.order(&leader, Order::Load)?;
        let last = fleet.all_changed_but(Some(&leader), position).await?;
        took.push(last.since(fleet.published(position).await?));
    }
    took.sort();
    let percentile = |percent: usize| milliseconds(nearest_rank(&took, percent));
    Ok(Changes {
        count,
        median_ms: percentile(50),
        p99_ms: percentile(99),
        max_ms: percentile(100),
    })
}

/// The smallest that so many per cent do not exceed. Zero of none.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

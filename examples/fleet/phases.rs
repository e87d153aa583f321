//! What both fleets go through: they start, nothing changes for a while, a flag changes, they end.

use std::time::Duration;

use tokio::time::sleep;

use crate::api::Api;
use crate::figures::{Change, ColdStart, Shutdown, Steady, milliseconds, seconds};
use crate::fleet::{Cost, Fleet, PATIENCE};
use crate::narrator::Narrator;
use crate::protocol::{Event, Load, UnixMicros};
use crate::record::Entry;

/// Starts all workers at once and waits until each has flags.
pub(crate) async fn cold_start(
    fleet: &mut Fleet,
    api: &Api,
    workers: usize,
) -> Result<ColdStart, String> {
    let (mark, before, begun) = (fleet.record.mark(), fleet.cost(api), UnixMicros::now());
    for _ in 0..workers {
        fleet
            .start_worker()
            .map_err(|error| format!("cannot start a worker process: {error}"))?;
    }
    let took = fleet.all_changed(mark).await?.since(begun);
    // A request that is still under way counts too.
    fleet.all_loaded(mark).await?;
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
    let pace_maker = fleet
        .leader()
        .or_else(|| fleet.names().next().map(str::to_owned))
        .ok_or("there are no workers")?;
    let first = next_load(fleet, &pace_maker).await?;
    let before = fleet.cost(api);
    sleep(watch).await;
    let last = next_load(fleet, &pace_maker).await?;
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
    let mark = fleet.record.mark();
    let load = |entry: &Entry| match entry.event {
        Event::Loaded(Load { loads, .. }) if entry.worker == worker => Some(Loaded {
            at: entry.at,
            loads,
        }),
        _ => None,
    };
    let patience = fleet.patience();
    let found = fleet
        .record
        .find(mark, patience, |entries| entries.iter().find_map(load))
        .await;
    found.ok_or_else(|| format!("{worker} has stopped polling"))
}

/// Changes a flag at the API and waits until each worker has it; `None` at an API that is not ours to change.
pub(crate) async fn change(
    fleet: &mut Fleet,
    api: &mut Api,
    narrator: &Narrator,
) -> Result<Option<Change>, String> {
    let (mark, changed_at) = (fleet.record.mark(), UnixMicros::now());
    let Some(what) = api.change_a_flag() else {
        narrator.log("skipped: changing a flag, because this API is not ours to change");
        return Ok(None);
    };
    narrator.log(format!("a flag changes at the API: {what}"));
    let last = fleet.all_changed(mark).await?;
    let published_at = if fleet.cache().is_some() {
        Some(fleet.published(mark).await?)
    } else {
        None
    };
    Ok(Some(Change {
        api_to_last_ms: milliseconds(last.since(changed_at)),
        publish_to_last_ms: published_at.map(|at| milliseconds(last.since(at))),
    }))
}

/// Asks all workers to end, at once. What went wrong is an error.
pub(crate) async fn shut_down(fleet: &mut Fleet) -> Result<Shutdown, String> {
    let (mark, begun) = (fleet.record.mark(), UnixMicros::now());
    let endings = fleet.shut_down().await?;
    let took = UnixMicros::now().since(begun);
    for (name, ending) in &endings {
        match ending {
            Some(status) if status.success() => {}
            Some(status) => return Err(format!("{name} ended with {status}")),
            None => {
                return Err(format!(
                    "{name} had not ended {} s after SIGTERM",
                    PATIENCE.as_secs()
                ));
            }
        }
    }
    // What was said last may still be in the pipes.
    let all_gone = |entries: &[Entry]| {
        let gone = entries
            .iter()
            .filter(|entry| entry.event == Event::Gone)
            .count();
        (gone == endings.len()).then_some(())
    };
    fleet
        .record
        .find(mark, PATIENCE, all_gone)
        .await
        .ok_or("the output of a worker that has ended is still open")?;
    for entry in fleet.record.since(mark) {
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

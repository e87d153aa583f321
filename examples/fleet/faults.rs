//! What the fleet that shares has to survive.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flagcache::FlagDefinitionCacheData;
use tokio::time::{Instant, sleep};

use crate::figures::{Failover, seconds};
use crate::fleet::{Fleet, PATIENCE};
use crate::narrator::Narrator;
use crate::protocol::{Event, UnixMicros};
use crate::record::Entry;

/// Kills the leader, waits for another, and starts a process in the place of the killed one.
pub(crate) async fn failover(fleet: &mut Fleet, narrator: &Narrator) -> Result<Failover, String> {
    let leader = fleet.leader().ok_or("nobody leads")?;
    // Just after its tick: its successor cannot count on the next one.
    let mark = fleet.record.mark();
    let ticked = |entry: &Entry| entry.worker == leader && matches!(entry.event, Event::Loaded { .. });
    let wait = |entries: &[Entry]| entries.iter().any(ticked).then_some(());
    fleet.record.find(mark, fleet.poll_interval() + PATIENCE, wait).await.ok_or("the leader has stopped polling")?;

    let mark = fleet.record.mark();
    let killed_at = fleet.kill(&leader)?;
    narrator.say(format!("{leader}, which leads, is killed with SIGKILL"));
    let elected = |entry: &&Entry| entry.worker != leader && entry.event == Event::Decided { leads: true };
    let successor = fleet
        .record
        .find(mark, PATIENCE, |entries| entries.iter().find(elected).cloned())
        .await
        .ok_or_else(|| format!("nobody took the lead within {} s", PATIENCE.as_secs()))?;
    let answered = |entry: &Entry| match entry.event {
        Event::Fetched { status, .. } if entry.worker == successor.worker => Some(status),
        _ => None,
    };
    let first_answer = fleet.record.find(mark, PATIENCE, |entries| entries.iter().find_map(answered)).await;
    let first_status = first_answer.ok_or("the new leader sends no request")?;
    let took = successor.at.since(killed_at);
    narrator.say(format!("{} leads after {:.3} s", successor.worker, took.as_secs_f64()));

    let (mark, begun) = (fleet.record.mark(), UnixMicros::now());
    let replacement = fleet.start_worker().map_err(|error| format!("cannot start a worker process: {error}"))?;
    let is_ready = |entry: &&Entry| entry.worker == replacement && matches!(entry.event, Event::Changed { .. });
    let ready = fleet.record.find(mark, PATIENCE, |entries| entries.iter().find(is_ready).map(|entry| entry.at)).await;
    let ready_at = ready.ok_or_else(|| format!("{replacement} has no flags"))?;
    let asked = |entry: &&Entry| entry.worker == replacement && matches!(entry.event, Event::Fetched { .. });
    let replacement_requests = fleet.record.since(mark).iter().filter(asked).count() as u64;
    narrator.say(format!("{replacement} is started in its place, and has flags"));
    Ok(Failover {
        seconds: seconds(took),
        first_status,
        replacement_seconds: seconds(ready_at.since(begun)),
        replacement_requests,
    })
}

/// Overwrites the shared copy and waits until it is what it was. How long that took.
pub(crate) async fn damage(file: &Path, with: &[u8]) -> Result<Duration, String> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let right = read(file).ok_or_else(|| explain(&"holds no flag definitions"))?;
    let begun = Instant::now();
    // As a wrong hand would: into the file itself, not beside it.
    fs::write(file, with).map_err(|error| explain(&error))?;
    while begun.elapsed() < PATIENCE {
        sleep(BETWEEN_LOOKS).await;
        if read(file).is_some_and(|copy| copy.same_content(&right) && copy.etag() == right.etag()) {
            return Ok(begun.elapsed());
        }
    }
    Err(explain(&format!("not repaired within {} s", PATIENCE.as_secs())))
}

fn read(file: &Path) -> Option<FlagDefinitionCacheData> {
    FlagDefinitionCacheData::from_json(fs::read(file).ok()?).ok()
}

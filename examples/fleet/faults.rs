//! What the fleet that shares has to survive.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flagcache::FlagDefinitionCacheData;
use tokio::time::{Instant, sleep};

use crate::figures::{Failover, Replacement, seconds};
use crate::fleet::{Fleet, PATIENCE};
use crate::narrator::Narrator;
use crate::protocol::{Event, UnixMicros};
use crate::record::Entry;

/// Kills the leader, waits until another leads and has asked the API. Its lock may live on for `lock_life`.
pub(crate) async fn failover(fleet: &mut Fleet, lock_life: Duration, narrator: &Narrator) -> Result<Failover, String> {
    let leader = fleet.leader().ok_or("nobody leads")?;
    // Just after its tick: its successor cannot count on the next one.
    let mark = fleet.record.mark();
    let patience = fleet.patience();
    let ticked = |entry: &Entry| entry.worker == leader && matches!(entry.event, Event::Loaded { .. });
    let wait = |entries: &[Entry]| entries.iter().any(ticked).then_some(());
    fleet.record.find(mark, patience, wait).await.ok_or("the leader has stopped polling")?;

    let mark = fleet.record.mark();
    let killed_at = fleet.kill(&leader)?;
    narrator.say(format!("{leader}, which leads, is killed with SIGKILL"));
    let elected = |entry: &&Entry| entry.worker != leader && entry.event == Event::Decided { leads: true };
    let successor = fleet
        .record
        .find(mark, lock_life + PATIENCE, |entries| entries.iter().find(elected).cloned())
        .await
        .ok_or_else(|| format!("nobody took the lead within {:?}", lock_life + PATIENCE))?;
    let answered = |entry: &Entry| match entry.event {
        Event::Fetched { status, .. } if entry.worker == successor.worker => Some(status),
        _ => None,
    };
    let first_answer = fleet.record.find(mark, PATIENCE, |entries| entries.iter().find_map(answered)).await;
    let first_status = first_answer.ok_or("the new leader sends no request")?;
    let took = successor.at.since(killed_at);
    narrator.say(format!("{} leads after {:.3} s", successor.worker, took.as_secs_f64()));

    Ok(Failover { seconds: seconds(took), first_status })
}

/// Starts a process in the place of the killed one.
pub(crate) async fn replace(fleet: &mut Fleet, narrator: &Narrator) -> Result<Replacement, String> {
    let (mark, begun) = (fleet.record.mark(), UnixMicros::now());
    let name = fleet.start_worker().map_err(|error| format!("cannot start a worker process: {error}"))?;
    narrator.say(format!("{name} is started in its place"));
    let is_ready = |entry: &&Entry| entry.worker == name && matches!(entry.event, Event::Changed { .. });
    let ready = fleet.record.find(mark, PATIENCE, |entries| entries.iter().find(is_ready).map(|entry| entry.at)).await;
    let ready_at = ready.ok_or_else(|| format!("{name} had no flags within {} s", PATIENCE.as_secs()))?;
    let asked = |entry: &&Entry| entry.worker == name && matches!(entry.event, Event::Fetched { .. });
    let requests = fleet.record.since(mark).iter().filter(asked).count() as u64;
    Ok(Replacement { requests, seconds: seconds(ready_at.since(begun)) })
}

/// Overwrites the shared copy and waits, for `patience`, until it is what it was. How long that took.
pub(crate) async fn damage(file: &Path, with: &[u8], patience: Duration) -> Result<Duration, String> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let right = read(file).ok_or_else(|| explain(&"holds no flag definitions"))?;
    let begun = Instant::now();
    // As a wrong hand would: into the file itself, not beside it.
    fs::write(file, with).map_err(|error| explain(&error))?;
    while begun.elapsed() < patience {
        sleep(BETWEEN_LOOKS).await;
        if read(file).is_some_and(|copy| copy.same_content(&right) && copy.etag() == right.etag()) {
            return Ok(begun.elapsed());
        }
    }
    Err(explain(&format!("not repaired within {patience:?}")))
}

fn read(file: &Path) -> Option<FlagDefinitionCacheData> {
    FlagDefinitionCacheData::from_json(fs::read(file).ok()?).ok()
}

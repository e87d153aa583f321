//! The faults that the sharing fleet must survive.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cache::CopyLocation;
use crate::figures::{Failover, Replacement, seconds};
use crate::fleet::{Fleet, TIMEOUT};
use crate::output::Output;
use crate::protocol::{Event, UnixMicros};
use crate::record::{Entry, Position};

/// Kills the leader, waits until another leads and has sent a request. The old lock can stay for `lock_ttl`.
pub(crate) async fn failover(
    fleet: &mut Fleet,
    lock_ttl: Duration,
    output: &Output,
) -> Result<Failover, String> {
    let leader = leader_that_has_just_ticked(fleet).await?;
    let position = fleet.record.position();
    let killed_at = fleet.kill(&leader)?;
    output.log(format!("{leader}, which leads, is killed with SIGKILL"));
    succession(
        fleet,
        &leader,
        killed_at,
        position,
        lock_ttl + TIMEOUT,
        output,
    )
    .await
}

/// Sends SIGTERM to the leader, waits until another leads and has sent a request.
pub(crate) async fn handover(fleet: &mut Fleet, output: &Output) -> Result<Failover, String> {
    let leader = leader_that_has_just_ticked(fleet).await?;
    let position = fleet.record.position();
    let (asked_at, mut process) = fleet.terminate(&leader)?;
    output.log(format!(
        "{leader}, which leads, is asked to end, with SIGTERM"
    ));
    let handover = succession(fleet, &leader, asked_at, position, TIMEOUT, output).await?;
    match process.ended(TIMEOUT).await {
        Ok(Some(status)) if status.success() => Ok(handover),
        Ok(Some(status)) => Err(format!("{leader} ended with {status}")),
        Ok(None) => Err(format!(
            "{leader} had not ended {} s after SIGTERM",
            TIMEOUT.as_secs()
        )),
        Err(error) => Err(format!("{leader}: {error}")),
    }
}

/// The leader, just after its tick: its successor cannot count on the next one.
async fn leader_that_has_just_ticked(fleet: &mut Fleet) -> Result<String, String> {
    let leader = fleet.leader().ok_or("no worker leads")?;
    let (position, timeout) = (fleet.record.position(), fleet.timeout());
    let ticked = |entry: &Entry| entry.worker == leader && matches!(entry.event, Event::Loaded(_));
    let wait = |entries: &[Entry]| entries.iter().any(ticked).then_some(());
    fleet
        .record
        .find(position, timeout, wait)
        .await
        .ok_or("the leader has stopped polling")?;
    Ok(leader)
}

/// Waits until another worker than `leader`, which was ended at `ended_at`, leads and has sent a request.
async fn succession(
    fleet: &mut Fleet,
    leader: &str,
    ended_at: UnixMicros,
    position: Position,
    timeout: Duration,
    output: &Output,
) -> Result<Failover, String> {
    let elected =
        |entry: &&Entry| entry.worker != leader && entry.event == Event::Decided { leads: true };
    let successor = fleet
        .record
        .find(position, timeout, |entries| {
            entries.iter().find(elected).cloned()
        })
        .await
        .ok_or_else(|| format!("no worker became leader within {timeout:?}"))?;
    let answered = |entry: &Entry| match entry.event {
        Event::Fetched { status, .. } if entry.worker == successor.worker => Some(status),
        _ => None,
    };
    let first_answer = fleet
        .record
        .find(position, TIMEOUT, |entries| {
            entries.iter().find_map(answered)
        })
        .await;
    let first_status = first_answer.ok_or("the new leader sends no request")?;
    let took = successor.at.since(ended_at);
    output.log(format!(
        "{} leads after {:.3} s",
        successor.worker,
        took.as_secs_f64()
    ));

    Ok(Failover {
        seconds: seconds(took),
        first_status,
    })
}

/// Starts a process in place of the killed one.
pub(crate) async fn replace(fleet: &mut Fleet, output: &Output) -> Result<Replacement, String> {
    let (position, begun) = (fleet.record.position(), UnixMicros::now());
    let name = fleet
        .start_worker()
        .map_err(|error| format!("cannot start a worker process: {error}"))?;
    output.log(format!("{name} is started to replace it"));
    let is_ready =
        |entry: &&Entry| entry.worker == name && matches!(entry.event, Event::Changed { .. });
    let ready = fleet
        .record
        .find(position, TIMEOUT, |entries| {
            entries.iter().find(is_ready).map(|entry| entry.at)
        })
        .await;
    let ready_at =
        ready.ok_or_else(|| format!("{name} had no flags within {} s", TIMEOUT.as_secs()))?;
    let asked =
        |entry: &&Entry| entry.worker == name && matches!(entry.event, Event::Fetched { .. });
    let requests = fleet.record.since(position).iter().filter(asked).count() as u64;
    Ok(Replacement {
        requests,
        seconds: seconds(ready_at.since(begun)),
    })
}

/// Overwrites the shared copy and waits, for `timeout`, until it is repaired. How long that took.
pub(crate) async fn damage(
    copy_location: &CopyLocation,
    with: &[u8],
    timeout: Duration,
) -> Result<Duration, String> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
    let right = copy_location
        .read()
        .await
        .ok_or("there is no shared copy to damage")?;
    let begun = Instant::now();
    copy_location.overwrite(with).await?;
    while begun.elapsed() < timeout {
        sleep(BETWEEN_LOOKS).await;
        if copy_location
            .read()
            .await
            .is_some_and(|copy| copy.same_content(&right) && copy.etag() == right.etag())
        {
            return Ok(begun.elapsed());
        }
    }
    Err(format!(
        "the shared copy was not repaired within {timeout:?}"
    ))
}

//! The steps of the fleet that shares one copy, and the claims about it.

use std::time::Duration;

use tokio::time::sleep;

use crate::api::Api;
use crate::args::StoryArgs;
use crate::cache::CacheUrl;
use crate::cache::CopyLocation;
use crate::claims::Claims;
use crate::figures::{Repair, Shared, Steady, seconds};
use crate::fleet::Fleet;
use crate::output::Output;
use crate::protocol::Event;
use crate::text::count;
use crate::{faults, phases};

/// The time within which another worker leads after the leader was killed, beyond the TTL of its lock.
const FAILOVER: Duration = Duration::from_millis(300);
/// The time within which another worker leads after the leader was asked to end.
const HANDOVER: Duration = Duration::from_millis(200);
/// The time within which every worker has what the leader published.
const PUBLISHED: Duration = Duration::from_millis(50);
/// The time within which every worker process ends.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// The share of the poll interval that chance adds to it, or takes.
const JITTER: f64 = 0.1;
/// How long a load takes, when the API is near.
const A_LOAD: Duration = Duration::from_millis(50);

/// From the cold start to the shutdown. A step that cannot be taken is an error.
pub(crate) async fn live(
    args: &StoryArgs,
    fleet: &mut Fleet,
    api: &mut Api,
    output: &Output,
    figures: &mut Shared,
    claims: &mut Claims,
) -> Result<(), String> {
    let cold_start = *figures
        .cold_start
        .insert(phases::cold_start(fleet, api, args.workers).await?);
    let leader = fleet.leader().unwrap_or_else(|| "no worker".to_owned());
    output.log(format!("all have flags; {leader} leads"));
    let cost = format!(
        "{}, {}",
        count(cold_start.requests, "request"),
        count(cold_start.units, "unit")
    );
    // On a busy machine the leader's next tick may come before the last worker has started.
    let ticks = (cold_start.seconds / least_wait(args).as_secs_f64()) as u64;
    // A folder of the user's may hold a copy already, and a leader too.
    let is_new = args.cache.as_ref().is_none_or(CacheUrl::is_redis);
    let least = u64::from(is_new);
    let as_expected = (least..=1 + ticks).contains(&cold_start.requests);
    claims.check(output, "a cold start costs one request", as_expected, cost);

    let steady = *figures
        .steady
        .insert(phases::steady(fleet, api, args.watch).await?);
    let Steady {
        ticks,
        requests,
        units,
        ..
    } = steady;
    let cost = [
        count(ticks, "tick"),
        count(requests, "request"),
        count(units, "unit"),
    ]
    .join(", ");
    // No tick comes early.
    let most_ticks = steady.seconds / least_wait(args).as_secs_f64();
    let one_each = (1..=ticks).contains(&requests) && ticks as f64 <= most_ticks.ceil();
    claims.check(
        output,
        "the fleet sends at most one request a tick",
        one_each,
        cost.clone(),
    );
    if api.can_change() {
        claims.check(
            output,
            "each is answered 304 and costs one unit",
            units == requests,
            cost,
        );
    }

    figures.change = phases::change(fleet, api, output).await?;
    if let Some(change) = figures.change {
        let took = Duration::from_secs_f64(change.publish_to_last_ms.unwrap_or_default() / 1000.0);
        claims.check_time(
            output,
            "what the leader publishes reaches the last worker within 0.05 s",
            PUBLISHED,
            took,
        );
    }

    if args.changes > 0 && api.can_change() {
        output.log(format!(
            "{} change, one after another",
            count(args.changes.into(), "flag")
        ));
        let changes = *figures
            .changes
            .insert(phases::change_many(fleet, api, args.changes).await?);
        let took = Duration::from_secs_f64(changes.p99_ms / 1000.0);
        let claim = format!(
            "99 % of the {} changes reach the last follower within 0.05 s of their publish",
            args.changes
        );
        claims.check_time(output, claim, PUBLISHED, took);
    }

    let lock_ttl = fleet.cache().map(CacheUrl::lock_ttl).unwrap_or_default();
    let failover = *figures
        .failover
        .insert(faults::failover(fleet, lock_ttl, output).await?);
    let (limit, took) = (
        lock_ttl + FAILOVER,
        Duration::from_secs_f64(failover.seconds),
    );
    claims.check_time(
        output,
        format!(
            "a killed leader is replaced within {} s",
            limit.as_secs_f64()
        ),
        limit,
        took,
    );
    if api.can_change() {
        let status = failover
            .first_status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        claims.check(
            output,
            "the new leader's first request is answered 304",
            status == "304",
            status,
        );
    }

    let replacement = *figures
        .replacement
        .insert(faults::replace(fleet, output).await?);
    let cost = format!(
        "{}, {:.3} s",
        count(replacement.requests, "request"),
        replacement.seconds
    );
    claims.check(
        output,
        "it takes its flags from the shared copy",
        replacement.requests == 0,
        cost,
    );

    let handover = *figures
        .handover
        .insert(faults::handover(fleet, output).await?);
    let took = Duration::from_secs_f64(handover.seconds);
    claims.check_time(
        output,
        "a leader that is asked to end is replaced within 0.2 s",
        HANDOVER,
        took,
    );
    faults::replace(fleet, output).await?;

    if let Some(copy_location) = fleet.cache().and_then(CacheUrl::copy_location).cloned() {
        figures.repair = Some(repair(fleet, &copy_location, api, output, claims).await?);
    }

    output.log("all workers are asked to end, with SIGTERM");
    let workers = fleet.names().len();
    let shutdown = *figures.shutdown.insert(phases::shut_down(fleet).await?);
    let took = Duration::from_secs_f64(shutdown.seconds);
    claims.check_time(
        output,
        format!("{workers} workers shut down within 5 s"),
        SHUTDOWN,
        took,
    );
    Ok(())
}

/// Claims about the whole run, also if it ended early.
pub(crate) fn check_losses(
    fleet: &mut Fleet,
    api: &Api,
    output: &Output,
    figures: &mut Shared,
    claims: &mut Claims,
) {
    let lost = lost(fleet, api);
    if let Some(repair) = &mut figures.repair {
        repair.flags_lost = lost;
    }
    let measured = format!(
        "{} in {}",
        count(lost, "time"),
        count(evaluations(fleet), "evaluation")
    );
    claims.check(output, "no worker lost its flags", lost == 0, measured);
}

/// The shortest time between two ticks of a worker.
fn least_wait(args: &StoryArgs) -> Duration {
    args.poll_interval.mul_f64(1.0 - JITTER)
}

async fn repair(
    fleet: &mut Fleet,
    copy_location: &CopyLocation,
    api: &Api,
    output: &Output,
    claims: &mut Claims,
) -> Result<Repair, String> {
    const GARBAGE: &[u8] = b"\x00\xff not JSON at all {\"flags\":[";
    const EMPTY: &[u8] = br#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#;
    let a_tick = fleet.poll_interval().mul_f64(1.0 + JITTER) + A_LOAD;
    let before = fleet.cost(api);

    output.log("the shared copy is overwritten with garbage");
    let garbage = faults::damage(copy_location, GARBAGE, fleet.timeout()).await?;
    claims.check_time(
        output,
        "garbage is replaced within one tick",
        a_tick,
        garbage,
    );
    // Each worker has read the damaged copy by then.
    sleep(a_tick).await;

    output.log("the shared copy is overwritten with a valid set without flags");
    let empty = faults::damage(copy_location, EMPTY, fleet.timeout()).await?;
    claims.check_time(
        output,
        "a foreign empty set is replaced within one tick",
        a_tick,
        empty,
    );
    // Time for a worker to accept it by mistake.
    sleep(a_tick).await;

    Ok(Repair {
        seconds: seconds(garbage.max(empty)),
        garbage_seconds: seconds(garbage),
        empty_seconds: seconds(empty),
        requests: fleet.cost(api).since(before).requests,
        flags_lost: lost(fleet, api),
    })
}

/// How often a worker had fewer flags than a moment before. The story never removes one; at the user's own API someone
/// can, but hardly all.
fn lost(fleet: &mut Fleet, api: &Api) -> u64 {
    let is_loss = |event: &Event| match event {
        Event::Lost { now, .. } => api.can_change() || now.is_none_or(|flags| flags == 0),
        _ => false,
    };
    fleet
        .record
        .all()
        .iter()
        .filter(|entry| is_loss(&entry.event))
        .count() as u64
}

/// Evaluations with flags, of the workers that still reported.
fn evaluations(fleet: &mut Fleet) -> u64 {
    let of = |event: &Event| {
        if let Event::Stopped { evaluations, .. } = event {
            *evaluations
        } else {
            0
        }
    };
    fleet
        .record
        .all()
        .iter()
        .map(|entry| of(&entry.event))
        .sum()
}

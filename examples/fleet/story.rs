//! The story: what happens in which order, and what is claimed of it.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::api::{Api, Credentials};
use crate::args::StoryArgs;
use crate::cache::CacheUrl;
use crate::claims::Claims;
use crate::figures::{Outcome, Repair, Shared, Unshared, seconds};
use crate::fleet::Fleet;
use crate::narrator::Narrator;
use crate::protocol::Event;
use crate::{faults, phases};

/// How soon another worker leads when the leader was killed.
const FAILOVER: Duration = Duration::from_millis(300);
/// How soon every worker has what the leader published.
const PUBLISHED: Duration = Duration::from_millis(50);
/// How soon every worker process has ended.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// The share of the poll interval that chance may add to it.
const JITTER: f64 = 0.1;

/// Tells the whole story. A step that cannot be taken ends it early.
pub(crate) async fn tell(args: &StoryArgs, credentials: Option<Credentials>, narrator: &Narrator) -> Outcome {
    let (mut unshared, mut shared, mut claims) = (Unshared::default(), Shared::default(), Claims::default());
    let told = async {
        let mut api = Api::open(credentials).await.map_err(|error| format!("cannot start an API: {error}"))?;
        narrator.say(format!("{}; the poll interval is {} s", api.describe(), args.poll_interval.as_secs_f64()));
        tell_unshared(args, &mut api, narrator, &mut unshared).await?;
        tell_shared(args, &mut api, narrator, &mut shared, &mut claims).await
    };
    let error = told.await.err();
    Outcome {
        ok: error.is_none() && claims.all_held(),
        workers: args.workers,
        poll_interval_seconds: args.poll_interval.as_secs_f64(),
        unshared,
        shared,
        claims: claims.into_vec(),
        error,
    }
}

async fn tell_unshared(
    args: &StoryArgs,
    api: &mut Api,
    narrator: &Narrator,
    figures: &mut Unshared,
) -> Result<(), String> {
    let mut fleet = Fleet::new(api, args.poll_interval, None);
    narrator.say(format!("first {} worker processes that share nothing", args.workers));
    let cold_start = *figures.cold_start.insert(phases::cold_start(&mut fleet, api, args.workers).await?);
    narrator.say(format!("all have flags, for {} requests and {} units", cold_start.requests, cold_start.units));
    let steady = *figures.steady.insert(phases::steady(&mut fleet, api, args.watch).await);
    narrator.say(format!("{} ticks without a change: {} requests", steady.ticks, steady.requests));
    figures.change = phases::change(&mut fleet, api, narrator).await?;
    figures.shutdown = Some(phases::shut_down(&mut fleet).await?);
    Ok(())
}

async fn tell_shared(
    args: &StoryArgs,
    api: &mut Api,
    narrator: &Narrator,
    figures: &mut Shared,
    claims: &mut Claims,
) -> Result<(), String> {
    // Before the fleet, so that it goes after the workers have ended: they would write to it again.
    let temporary = match args.cache {
        Some(_) => None,
        None => {
            Some(TempDir::with_prefix("flagcache-fleet-").map_err(|error| format!("no temporary folder: {error}"))?)
        }
    };
    let cache = match (&args.cache, &temporary) {
        (Some(cache), _) => cache.clone(),
        (None, Some(folder)) => CacheUrl::in_folder(folder.path()),
        (None, None) => return Err("there is no folder for the cache".to_owned()),
    };
    let mut fleet = Fleet::new(api, args.poll_interval, Some(cache.clone()));
    narrator.say(format!("now {} worker processes that share {cache}", args.workers));

    let cold_start = *figures.cold_start.insert(phases::cold_start(&mut fleet, api, args.workers).await?);
    let leader = fleet.leader().unwrap_or_else(|| "nobody".to_owned());
    narrator.say(format!("all have flags; {leader} leads"));
    let cost = format!("{} requests, {} units", cold_start.requests, cold_start.units);
    // A folder of the user's may hold a copy already.
    let as_expected = if temporary.is_some() { cold_start.requests == 1 } else { cold_start.requests <= 1 };
    claims.check(narrator, "a cold start costs one request", as_expected, cost);

    let steady = *figures.steady.insert(phases::steady(&mut fleet, api, args.watch).await);
    let cost = format!("{} ticks, {} requests, {} units", steady.ticks, steady.requests, steady.units);
    let one_each = (1..=steady.ticks).contains(&steady.requests);
    claims.check(narrator, "the fleet sends at most one request a tick", one_each, cost.clone());
    if api.can_change() {
        claims.check(narrator, "each is answered 304 and costs one unit", steady.units == steady.requests, cost);
    }

    figures.change = phases::change(&mut fleet, api, narrator).await?;
    if let Some(change) = figures.change {
        let took = Duration::from_secs_f64(change.publish_to_last_ms.unwrap_or(f64::MAX).min(1e9) / 1000.0);
        claims.check_time(narrator, "what the leader publishes reaches the last worker within 0.05 s", PUBLISHED, took);
    }

    let failover = *figures.failover.insert(faults::failover(&mut fleet, narrator).await?);
    let took = Duration::from_secs_f64(failover.seconds);
    claims.check_time(narrator, "a killed leader is replaced within 0.3 s", FAILOVER, took);
    if api.can_change() {
        let status = failover.first_status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        claims.check(narrator, "the new leader's first request is answered 304", status == "304", status);
    }
    let requests = format!("{} requests, {:.3} s", failover.replacement_requests, failover.replacement_seconds);
    let free = failover.replacement_requests == 0;
    claims.check(narrator, "a new process takes its flags from the shared copy", free, requests);

    figures.repair = Some(repair(&mut fleet, narrator, claims).await?);

    narrator.say("all workers are asked to end, with SIGTERM");
    let workers = fleet.len();
    let shutdown = *figures.shutdown.insert(phases::shut_down(&mut fleet).await?);
    let took = Duration::from_secs_f64(shutdown.seconds);
    claims.check_time(narrator, format!("{workers} workers shut down within 5 s"), SHUTDOWN, took);

    let lost = lost(&mut fleet);
    if let Some(repair) = &mut figures.repair {
        repair.flags_lost = lost;
    }
    let served = evaluations(&mut fleet);
    claims.check(narrator, "no worker lost its flags", lost == 0, format!("{lost} losses in {served} evaluations"));
    if let Some(folder) = temporary {
        let path = folder.path().to_owned();
        let removed = folder.close().is_ok() && !path.exists();
        claims.check(narrator, "nothing is left behind", removed, format!("{}", path.display()));
    }
    Ok(())
}

async fn repair(fleet: &mut Fleet, narrator: &Narrator, claims: &mut Claims) -> Result<Repair, String> {
    const GARBAGE: &[u8] = b"\x00\xff not JSON at all {\"flags\":[";
    const EMPTY: &[u8] = br#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#;
    let file = fleet.cache().ok_or("this fleet shares nothing")?.file().map_err(|error| error.to_string())?;
    let a_tick = fleet.poll_interval().mul_f64(1.0 + JITTER);

    narrator.say("the shared copy is overwritten with garbage");
    let garbage = faults::damage(&file, GARBAGE).await?;
    claims.check_time(narrator, "garbage is replaced within one tick", a_tick, garbage);
    // Each worker has looked at what it was then.
    sleep(a_tick).await;

    narrator.say("the shared copy is overwritten with a valid set without flags");
    let empty = faults::damage(&file, EMPTY).await?;
    claims.check_time(narrator, "a foreign empty set is replaced within one tick", a_tick, empty);
    sleep(a_tick).await;

    Ok(Repair {
        seconds: seconds(garbage.max(empty)),
        garbage_seconds: seconds(garbage),
        empty_seconds: seconds(empty),
        flags_lost: lost(fleet),
    })
}

/// How often a worker had fewer flags than a moment before. The story never removes one.
fn lost(fleet: &mut Fleet) -> u64 {
    fleet.record.all().iter().filter(|entry| matches!(entry.event, Event::Lost { .. })).count() as u64
}

/// Evaluations with flags, of the workers that could still tell.
fn evaluations(fleet: &mut Fleet) -> u64 {
    let of = |event: &Event| if let Event::Stopped { evaluations, .. } = event { *evaluations } else { 0 };
    fleet.record.all().iter().map(|entry| of(&entry.event)).sum()
}

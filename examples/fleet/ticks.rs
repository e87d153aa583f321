//! The cost of a follower's unchanged tick, by the counters of the store's server.

use std::time::Duration;

use flagcache_providers::testing::Definitions;

use crate::api::Api;
use crate::cache::CacheUrl;
use crate::claims::Claims;
use crate::figures::UnchangedTick;
use crate::fleet::Fleet;
use crate::output::Output;
use crate::protocol::Order;
use crate::server::Counters;
use crate::text::count;
use crate::workspace::Workspace;

const FOLLOWERS: u64 = 4;
/// Loads of each follower that are counted, after some that are not.
const COUNTED: u64 = 50;
const NOT_COUNTED: u64 = 5;
/// No tick falls into the measurement: followers load on order only, the leader not at all.
const NO_TICK: Duration = Duration::from_secs(600);
/// What a tick may move.
const MOST_BYTES: f64 = 700.0;
/// The server reports the size of the copy, whose number of digits differs.
const DIGITS: f64 = 8.0;

/// Measures with little and with much to share, if the store is on a server that reports its counters.
pub(crate) async fn measure(
    workspace: &Workspace,
    output: &Output,
    claims: &mut Claims,
    figures: &mut Vec<UnchangedTick>,
) -> Result<(), String> {
    let Some(server) = workspace.cache.server() else {
        return Ok(());
    };
    output.log("last, what a follower's tick costs while nothing changes, with little and with much to share");
    if let Err(error) = server.counters().await {
        output.log(format!(
            "skipped: the server does not report its counters: {error}"
        ));
        return Ok(());
    }
    for (flags, cache) in &workspace.cache.for_ticks()? {
        let tick = measure_one(*flags, cache, output).await?;
        output.log(format!(
            "{} of definitions: {:.0} bytes, {:.2} messages, {:.2} scripts, which run {:.2} commands",
            size(tick.definitions_bytes),
            tick.bytes,
            tick.messages,
            tick.scripts,
            tick.commands - tick.scripts
        ));
        figures.push(tick);
    }
    if let Some(others @ 1..) = workspace.other_clients {
        let others = count(others, "other client");
        output.log(format!(
            "nothing is claimed of it: {others} of the server may have been counted too"
        ));
        return Ok(());
    }
    let (most, least) = figures
        .iter()
        .fold((0.0_f64, f64::MAX), |(most, least), tick| {
            (most.max(tick.bytes), least.min(tick.bytes))
        });
    let measured = figures
        .iter()
        .map(|tick| format!("{:.0} at {}", tick.bytes, size(tick.definitions_bytes)));
    let measured = measured.collect::<Vec<_>>().join(", ");
    let claim =
        format!("an unchanged tick moves at most {MOST_BYTES} bytes, the same for any size");
    claims.check(
        output,
        claim,
        most <= MOST_BYTES && most - least <= DIGITS,
        measured,
    );
    let most = |of: fn(&UnchangedTick) -> f64| figures.iter().map(of).fold(0.0, f64::max);
    let (messages, scripts) = (most(|tick| tick.messages), most(|tick| tick.scripts));
    let measured = format!("{messages:.2} messages, {scripts:.2} scripts");
    claims.check(
        output,
        "it is one message with one script",
        messages == 1.0 && scripts == 1.0,
        measured,
    );
    Ok(())
}

async fn measure_one(
    flags: usize,
    cache: &CacheUrl,
    output: &Output,
) -> Result<UnchangedTick, String> {
    let server = cache.server().ok_or("the store is on no server")?;
    // Ten thousand flags take a while.
    let definitions = tokio::task::spawn_blocking(move || Definitions::realistic(flags, 1)).await;
    let definitions = definitions.map_err(|error| error.to_string())?;
    let definitions_bytes = definitions.to_json().len();
    let api = Api::on_this_machine(definitions)
        .await
        .map_err(|error| format!("cannot start an API: {error}"))?;
    let title = format!(
        "a leader and {FOLLOWERS} followers that share {flags} flags, of which none changes"
    );
    let mut fleet = Fleet::new(
        &api,
        NO_TICK,
        Some(cache.clone()),
        output.begin_fleet("nothing changes", title),
    );
    let cannot_start = |error| format!("cannot start a worker process: {error}");

    let position = fleet.record.position();
    let leader = fleet.start_worker().map_err(cannot_start)?;
    fleet.all_changed(position).await?;
    fleet.all_loaded(position).await?;
    let position = fleet.record.position();
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        followers.push(fleet.start_worker().map_err(cannot_start)?);
    }
    fleet.all_changed_but(Some(&leader), position).await?;
    fleet
        .all_of_these_loaded(followers.clone(), position)
        .await?;

    load(&mut fleet, &followers, NOT_COUNTED).await?;
    // What asking costs is counted too: once for itself.
    let first = server.counters().await?;
    let before = server.counters().await?;
    let position = fleet.record.position();
    load(&mut fleet, &followers, COUNTED).await?;
    let after = server.counters().await?;
    if fleet.loads_of(&leader, position) > 0 {
        return Err(format!(
            "{leader} has loaded while its followers were counted"
        ));
    }
    fleet.shut_down().await?;

    let (asking, all) = (before.since(first), after.since(before));
    let loads = (FOLLOWERS * COUNTED) as f64;
    let a_load = |of: fn(&Counters) -> u64| of(&all).saturating_sub(of(&asking)) as f64 / loads;
    Ok(UnchangedTick {
        definitions_bytes,
        loads: FOLLOWERS * COUNTED,
        bytes: a_load(|counters| counters.bytes),
        messages: a_load(|counters| counters.messages),
        scripts: a_load(|counters| counters.scripts),
        commands: a_load(|counters| counters.commands),
    })
}

/// Lets each of these load so many times.
async fn load(fleet: &mut Fleet, workers: &[String], times: u64) -> Result<(), String> {
    for _ in 0..times {
        let position = fleet.record.position();
        for worker in workers {
            fleet.order(worker, Order::Load)?;
        }
        fleet
            .all_of_these_loaded(workers.to_vec(), position)
            .await?;
    }
    Ok(())
}

/// As text for people.
pub(crate) fn size(bytes: usize) -> String {
    let (number, unit) = if bytes < 1_000_000 {
        (bytes as f64 / 1e3, "KB")
    } else {
        (bytes as f64 / 1e6, "MB")
    };
    format!("{number:.1} {unit}")
}

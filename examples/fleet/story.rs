//! The story: a fleet without a shared copy, then one with it.

use crate::api::{Api, Credentials};
use crate::args::StoryArgs;
use crate::claims::Claims;
use crate::figures::{Outcome, Shared, Unshared};
use crate::fleet::Fleet;
use crate::output::Output;
use crate::text::count;
use crate::workspace::Workspace;
use crate::{phases, shared, ticks};

/// Runs the whole story. A step that fails ends it early.
pub(crate) async fn run(
    args: &StoryArgs,
    credentials: Option<Credentials>,
    workspace: &Workspace,
    output: &Output,
) -> Outcome {
    let (mut unshared, mut shared) = (Unshared::default(), Shared::default());
    let mut claims = Claims::new(args.workers);
    let result = async {
        let mut api = Api::open(credentials)
            .await
            .map_err(|error| format!("cannot start an API: {error}"))?;
        output.log(format!(
            "{}; the poll interval is {} s",
            api.describe(),
            args.poll_interval.as_secs_f64()
        ));
        run_unshared(args, &mut api, output, &mut unshared).await?;
        run_shared(args, &mut api, workspace, output, &mut shared, &mut claims).await
    };
    let error = result.await.err();
    match workspace.clear().await {
        Ok(Some(cleared)) => claims.check(
            output,
            "nothing is left behind",
            true,
            format!("removed: {cleared}"),
        ),
        Ok(None) => {}
        Err(problem) => claims.check(output, "nothing is left behind", false, problem),
    }
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

async fn run_unshared(
    args: &StoryArgs,
    api: &mut Api,
    output: &Output,
    figures: &mut Unshared,
) -> Result<(), String> {
    let title = format!("{} worker processes that share nothing", args.workers);
    output.log(format!("first {title}"));
    let mut fleet = Fleet::new(
        api,
        args.poll_interval,
        None,
        output.begin_fleet("each for itself", title),
    );
    let result = live_unshared(args, &mut fleet, api, output, figures).await;
    if result.is_err() || !api.can_change() {
        log_errors(&mut fleet, output);
    }
    result
}

async fn live_unshared(
    args: &StoryArgs,
    fleet: &mut Fleet,
    api: &mut Api,
    output: &Output,
    figures: &mut Unshared,
) -> Result<(), String> {
    let cold_start = *figures
        .cold_start
        .insert(phases::cold_start(fleet, api, args.workers).await?);
    output.log(format!(
        "all have flags, for {} and {}",
        count(cold_start.requests, "request"),
        count(cold_start.units, "unit")
    ));
    let steady = *figures
        .steady
        .insert(phases::steady(fleet, api, args.watch).await?);
    output.log(format!(
        "{} without a change: {}",
        count(steady.ticks, "tick"),
        count(steady.requests, "request")
    ));
    figures.change = phases::change(fleet, api, output).await?;
    figures.shutdown = Some(phases::shut_down(fleet).await?);
    Ok(())
}

async fn run_shared(
    args: &StoryArgs,
    api: &mut Api,
    workspace: &Workspace,
    output: &Output,
    figures: &mut Shared,
    claims: &mut Claims,
) -> Result<(), String> {
    let title = format!(
        "{} worker processes that share {}",
        args.workers, workspace.cache
    );
    output.log(format!("now {title}"));
    let display = output.begin_fleet("one shared copy", title);
    let mut fleet = Fleet::new(
        api,
        args.poll_interval,
        Some(workspace.cache.clone()),
        display,
    );
    let result = shared::live(args, &mut fleet, api, output, figures, claims).await;
    shared::check_losses(&mut fleet, api, output, figures, claims);
    // The user's own API may send answers that cannot be used, while the flags in memory stay valid.
    if result.is_err() || !claims.all_held() || !api.can_change() {
        log_errors(&mut fleet, output);
    }
    // Its workers would write again to the store that is cleared.
    drop(fleet);
    result?;
    ticks::measure(workspace, output, claims, &mut figures.unchanged_tick).await
}

fn log_errors(fleet: &mut Fleet, output: &Output) {
    for error in fleet.errors() {
        output.log(format!("  a worker reports: {error}"));
    }
}

//! The story: a fleet without a shared copy, then one with it.

use crate::api::{Api, Credentials};
use crate::args::StoryArgs;
use crate::claims::Claims;
use crate::figures::{Outcome, Shared, Unshared};
use crate::fleet::Fleet;
use crate::narrator::{Narrator, count};
use crate::workspace::Workspace;
use crate::{phases, shared, ticks};

/// Runs the whole story. A step that fails ends it early.
pub(crate) async fn run(
    args: &StoryArgs,
    credentials: Option<Credentials>,
    workspace: &Workspace,
    narrator: &Narrator,
) -> Outcome {
    let (mut unshared, mut shared) = (Unshared::default(), Shared::default());
    let mut claims = Claims::new(args.workers);
    let result = async {
        let mut api = Api::open(credentials)
            .await
            .map_err(|error| format!("cannot start an API: {error}"))?;
        narrator.log(format!(
            "{}; the poll interval is {} s",
            api.describe(),
            args.poll_interval.as_secs_f64()
        ));
        run_unshared(args, &mut api, narrator, &mut unshared).await?;
        run_shared(
            args,
            &mut api,
            workspace,
            narrator,
            &mut shared,
            &mut claims,
        )
        .await
    };
    let error = result.await.err();
    match workspace.clear().await {
        Ok(Some(cleared)) => claims.check(
            narrator,
            "nothing is left behind",
            true,
            format!("removed: {cleared}"),
        ),
        Ok(None) => {}
        Err(problem) => claims.check(narrator, "nothing is left behind", false, problem),
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
    narrator: &Narrator,
    figures: &mut Unshared,
) -> Result<(), String> {
    let title = format!("{} worker processes that share nothing", args.workers);
    narrator.log(format!("first {title}"));
    let mut fleet = Fleet::new(
        api,
        args.poll_interval,
        None,
        narrator.stage("each for itself", title),
    );
    let result = live_unshared(args, &mut fleet, api, narrator, figures).await;
    if result.is_err() || !api.can_change() {
        log_troubles(&mut fleet, narrator);
    }
    result
}

async fn live_unshared(
    args: &StoryArgs,
    fleet: &mut Fleet,
    api: &mut Api,
    narrator: &Narrator,
    figures: &mut Unshared,
) -> Result<(), String> {
    let cold_start = *figures
        .cold_start
        .insert(phases::cold_start(fleet, api, args.workers).await?);
    narrator.log(format!(
        "all have flags, for {} and {}",
        count(cold_start.requests, "request"),
        count(cold_start.units, "unit")
    ));
    let steady = *figures
        .steady
        .insert(phases::steady(fleet, api, args.watch).await?);
    narrator.log(format!(
        "{} without a change: {}",
        count(steady.ticks, "tick"),
        count(steady.requests, "request")
    ));
    figures.change = phases::change(fleet, api, narrator).await?;
    figures.shutdown = Some(phases::shut_down(fleet).await?);
    Ok(())
}

async fn run_shared(
    args: &StoryArgs,
    api: &mut Api,
    workspace: &Workspace,
    narrator: &Narrator,
    figures: &mut Shared,
    claims: &mut Claims,
) -> Result<(), String> {
    let title = format!(
        "{} worker processes that share {}",
        args.workers, workspace.cache
    );
    narrator.log(format!("now {title}"));
    let stage = narrator.stage("one shared copy", title);
    let mut fleet = Fleet::new(
        api,
        args.poll_interval,
        Some(workspace.cache.clone()),
        stage,
    );
    let result = shared::live(args, &mut fleet, api, narrator, figures, claims).await;
    shared::check_losses(&mut fleet, api, narrator, figures, claims);
    // An API of the user's may answer with what is of no use, while the flags in memory do well.
    if result.is_err() || !claims.all_held() || !api.can_change() {
        log_troubles(&mut fleet, narrator);
    }
    // Its workers would write again to what is cleared.
    drop(fleet);
    result?;
    ticks::measure(workspace, narrator, claims, &mut figures.unchanged_tick).await
}

fn log_troubles(fleet: &mut Fleet, narrator: &Narrator) {
    for trouble in fleet.troubles() {
        narrator.log(format!("  a worker reports: {trouble}"));
    }
}

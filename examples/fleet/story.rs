//! The story: a fleet that shares nothing, then one that does.

use tempfile::TempDir;

use crate::api::{Api, Credentials};
use crate::args::StoryArgs;
use crate::cache::CacheUrl;
use crate::claims::Claims;
use crate::figures::{Outcome, Shared, Unshared};
use crate::fleet::Fleet;
use crate::narrator::{Narrator, count};
use crate::{phases, shared};

/// Tells the whole story. A step that cannot be taken ends it early.
pub(crate) async fn tell(args: &StoryArgs, credentials: Option<Credentials>, narrator: &Narrator) -> Outcome {
    let (mut unshared, mut shared) = (Unshared::default(), Shared::default());
    let mut claims = Claims::new(args.workers);
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
    let told = live_unshared(args, &mut fleet, api, narrator, figures).await;
    if told.is_err() {
        tell_troubles(&mut fleet, narrator);
    }
    told
}

async fn live_unshared(
    args: &StoryArgs,
    fleet: &mut Fleet,
    api: &mut Api,
    narrator: &Narrator,
    figures: &mut Unshared,
) -> Result<(), String> {
    let cold_start = *figures.cold_start.insert(phases::cold_start(fleet, api, args.workers).await?);
    narrator.say(format!(
        "all have flags, for {} and {}",
        count(cold_start.requests, "request"),
        count(cold_start.units, "unit")
    ));
    let steady = *figures.steady.insert(phases::steady(fleet, api, args.watch).await?);
    narrator.say(format!("{} without a change: {}", count(steady.ticks, "tick"), count(steady.requests, "request")));
    figures.change = phases::change(fleet, api, narrator).await?;
    figures.shutdown = Some(phases::shut_down(fleet).await?);
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
    let folder = Folder::new(args.cache.as_ref())?;
    let mut fleet = Fleet::new(api, args.poll_interval, Some(folder.cache.clone()));
    narrator.say(format!("now {} worker processes that share {}", args.workers, folder.cache));
    let told = shared::live(args, &mut fleet, api, narrator, figures, claims).await;
    shared::check_losses(&mut fleet, api, narrator, figures, claims);
    if told.is_err() || !claims.all_held() {
        tell_troubles(&mut fleet, narrator);
    }
    drop(fleet);
    told?;
    if let Some(folder) = folder.temporary {
        let path = folder.path().to_owned();
        let removed = folder.close().is_ok() && !path.exists();
        claims.check(narrator, "nothing is left behind", removed, path.display().to_string());
    }
    Ok(())
}

/// Where the shared copy is.
struct Folder {
    cache: CacheUrl,
    /// Unless the user has given one. Removed when dropped.
    temporary: Option<TempDir>,
}

impl Folder {
    fn new(given: Option<&CacheUrl>) -> Result<Self, String> {
        if let Some(cache) = given {
            return Ok(Self { cache: cache.clone(), temporary: None });
        }
        let temporary = TempDir::with_prefix("flagcache-fleet-")
            .map_err(|error| format!("cannot make a temporary folder for the cache: {error}"))?;
        Ok(Self { cache: CacheUrl::in_folder(temporary.path())?, temporary: Some(temporary) })
    }
}

fn tell_troubles(fleet: &mut Fleet, narrator: &Narrator) {
    for trouble in fleet.troubles() {
        narrator.say(format!("  a worker says: {trouble}"));
    }
}

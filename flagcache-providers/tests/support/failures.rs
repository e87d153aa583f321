//! Failures that concern a whole fleet, as a leader hands them to its store.
#![allow(
    dead_code,
    reason = "each test binary compiles its own copy, and not each uses all"
)]

use std::time::Duration;

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetFailure, KeyFingerprint,
    PollerContextOwner, PollerSchedule,
};

pub(crate) const WINDOW: Duration = Duration::from_secs(30);

/// The API refused this secret key; no worker with it tries for that long.
pub(crate) fn refusal(secret_key: &str, window: Duration) -> FleetFailure {
    format!(
        "unauthorized 1 {} {}",
        window.as_millis(),
        fingerprint(secret_key)
    )
    .parse()
    .unwrap()
}

/// A leader's load that failed so. After a refusal it steps down for the window.
pub(crate) fn failed(
    data: Option<&FlagDefinitionCacheData>,
    failure: FleetFailure,
) -> FetchOutcome {
    let steps_down = failure.kind() == FetchErrorKind::Unauthorized;
    FetchOutcome::failed(failure.kind(), data)
        .with_step_down_for(steps_down.then(|| failure.window()))
        .with_fleet_failure(Some(failure))
}

pub(crate) fn connect() -> FleetFailure {
    "connect 3 30000 -".parse().unwrap()
}

fn fingerprint(secret_key: &str) -> KeyFingerprint {
    KeyFingerprint::of("phc_project", secret_key)
}

/// A poller that asks the API with this key.
pub(crate) fn set_key(poller: &PollerContextOwner, secret_key: &str) {
    let mut schedule = poller
        .context()
        .schedule()
        .unwrap_or_else(|| PollerSchedule::new(WINDOW));
    schedule.key = Some(fingerprint(secret_key));
    poller.set_schedule(schedule);
}

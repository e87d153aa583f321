//! Counters and gauges of the `metrics` facade; no-ops without the feature `metrics`. Their names are in
//! `docs/observability.md`.

#[cfg(feature = "metrics")]
pub(crate) use recording::*;
#[cfg(not(feature = "metrics"))]
pub(crate) use silent::*;

#[cfg(feature = "metrics")]
mod recording {
    use std::time::SystemTime;

    use metrics::{counter, gauge};

    use crate::{PollerState, ProviderErrorKind, Role};

    pub(crate) fn request(status: &'static str) {
        counter!("flagcache_requests_total", "status" => status).increment(1);
    }

    pub(crate) fn units_spent(units: u64) {
        counter!("flagcache_units_spent_total").increment(units);
    }

    pub(crate) fn units_wasted(units: u64) {
        counter!("flagcache_units_wasted_total").increment(units);
    }

    pub(crate) fn change_held_back() {
        counter!("flagcache_changes_held_back_total").increment(1);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is an f64; 2^53 units a day are out of reach"
    )]
    pub(crate) fn units_per_day(units: u64) {
        gauge!("flagcache_units_per_day").set(units as f64);
    }

    pub(crate) fn units_saved(units: u64) {
        counter!("flagcache_units_saved_total").increment(units);
    }

    pub(crate) fn provider_fault(method: &'static str, kind: ProviderErrorKind) {
        counter!("flagcache_provider_faults_total", "method" => method, "kind" => kind.as_str())
            .increment(1);
    }

    pub(crate) fn refresh_request() {
        counter!("flagcache_refresh_requests_total").increment(1);
    }

    pub(crate) fn load() {
        counter!("flagcache_loads_total").increment(1);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is an f64; 2^53 changes or flags are out of reach"
    )]
    pub(crate) fn definitions(version: u64, flags: Option<usize>) {
        gauge!("flagcache_definitions_version").set(version as f64);
        gauge!("flagcache_definitions_flags").set(flags.unwrap_or(0) as f64);
    }

    pub(crate) fn role(old: Role, new: Role) {
        gauge!("flagcache_role", "role" => old.as_str()).set(0.0);
        gauge!("flagcache_role", "role" => new.as_str()).set(1.0);
    }

    pub(crate) fn state(old: Option<PollerState>, new: PollerState) {
        if let Some(old) = old {
            gauge!("flagcache_state", "state" => old.as_str()).set(0.0);
        }
        gauge!("flagcache_state", "state" => new.as_str()).set(1.0);
    }

    /// A time, not an age: an age would not grow between two loads, nor in a poller that hangs.
    pub(crate) fn confirmed(at: SystemTime) {
        let since_1970 = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        gauge!("flagcache_definitions_confirmed_timestamp_seconds").set(since_1970.as_secs_f64());
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use std::time::SystemTime;

    use crate::{PollerState, ProviderErrorKind, Role};

    pub(crate) fn request(_: &'static str) {}
    pub(crate) fn units_spent(_: u64) {}
    pub(crate) fn units_saved(_: u64) {}
    pub(crate) fn units_wasted(_: u64) {}
    pub(crate) fn units_per_day(_: u64) {}
    pub(crate) fn change_held_back() {}
    pub(crate) fn provider_fault(_: &'static str, _: ProviderErrorKind) {}
    pub(crate) fn refresh_request() {}
    pub(crate) fn load() {}
    pub(crate) fn definitions(_: u64, _: Option<usize>) {}
    pub(crate) fn role(_: Role, _: Role) {}
    pub(crate) fn state(_: Option<PollerState>, _: PollerState) {}
    pub(crate) fn confirmed(_: SystemTime) {}
}

//! The health of the service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::Service;

/// For people, and for alerts on `state` or `undecodable_flag`. It contains no key.
#[derive(Serialize)]
pub(crate) struct Health {
    state: &'static str,
    role: &'static str,
    flags: Option<usize>,
    version: u64,
    confirmed_seconds_ago: Option<u64>,
    units_spent: u64,
    units_saved: u64,
    last_error: Option<String>,
    /// The flag because of which the definitions in memory cannot be decoded; the previous ones are evaluated.
    undecodable_flag: Option<String>,
}

/// 200 from the first flags on: stale flags are better than no service.
///
/// For a readiness probe, not a liveness probe: a restart repairs neither PostHog nor the store.
pub(crate) async fn healthz(State(service): State<Arc<Service>>) -> (StatusCode, Json<Health>) {
    let (status, undecodable) = (service.poller.status(), service.flags.last_error());
    let is_ready = service.flags.definitions().is_some();
    let health = Health {
        state: status.state.as_str(),
        role: status.role.as_str(),
        flags: status.flags,
        version: status.version,
        confirmed_seconds_ago: status.confirmed_ago.map(|ago| ago.as_secs()),
        units_spent: status.counters.units_spent,
        units_saved: status.counters.units_saved,
        undecodable_flag: undecodable
            .as_ref()
            .and_then(|error| error.flag_key())
            .map(str::to_owned),
        last_error: undecodable
            .map(|error| error.to_string())
            .or(status.last_error),
    };
    (
        if is_ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(health),
    )
}

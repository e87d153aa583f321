//! The health of the service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::Service;

/// For people, and for an alert on `state` or on `undecidable_flags`. It shows no key.
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
    /// The flags that cannot be evaluated locally for some or all subjects.
    undecidable_flags: Vec<String>,
}

/// 200 from the first flags on: stale flags are better than no service.
///
/// For a readiness probe, not a liveness probe: a restart repairs neither PostHog nor the store.
pub(crate) async fn healthz(State(service): State<Arc<Service>>) -> (StatusCode, Json<Health>) {
    let status = service.poller.status();
    let is_ready = service.flags.definitions().is_some();
    let health = Health {
        state: status.state.as_str(),
        role: status.role.as_str(),
        flags: status.flags,
        version: status.version,
        confirmed_seconds_ago: status.confirmed_ago.map(|ago| ago.as_secs()),
        units_spent: status.counters.units_spent,
        units_saved: status.counters.units_saved,
        undecidable_flags: service
            .flags
            .undecidable()
            .into_iter()
            .map(|(key, _)| key)
            .collect(),
        last_error: status.last_error.map(|error| format!("{error:#}")),
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

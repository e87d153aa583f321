//! The routes.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use flagcache::FlagSubject;
use posthog_rs::FlagValue;
use posthog_rs::tower::PostHogLayer;
use serde::{Deserialize, Serialize};

use crate::{Service, health, status_page, webhook};

/// The user of a request. A real service takes it from its session, not from the URL.
#[derive(Deserialize)]
struct Visitor {
    user: String,
    plan: Option<String>,
}

#[derive(Serialize)]
struct Checkout {
    layout: String,
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    let router = Router::new()
        .route("/checkout", get(checkout))
        // The events of these routes name the session of `x-posthog-session-id`, which posthog-js sends, and the path.
        .route_layer(PostHogLayer::new())
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics))
        .route("/status", get(status_page::page));
    let router = match service.webhook {
        Some(_) => router.route("/flags-changed", post(webhook::flags_changed)),
        None => router,
    };
    router.with_state(service)
}

/// A page that depends on a flag. Nothing here waits for the network.
async fn checkout(
    State(service): State<Arc<Service>>,
    Query(visitor): Query<Visitor>,
) -> Json<Checkout> {
    let mut subject = FlagSubject::new(visitor.user);
    if let Some(plan) = visitor.plan {
        subject = subject.property("plan", plan);
    }
    // If a flag cannot be evaluated, the request gets the page from before the flag.
    let layout = match service
        .flags
        .evaluate_and_capture(&service.client, "new-checkout", &subject)
    {
        Ok(Some(FlagValue::String(variant))) => variant,
        Ok(Some(FlagValue::Boolean(true))) => "new".to_owned(),
        Ok(Some(FlagValue::Boolean(false)) | None) => "old".to_owned(),
        Err(inconclusive) => {
            // `evaluate_or_ask` (feature `ask`) would ask PostHog, at the cost of one request each.
            tracing::debug!(%inconclusive, "new-checkout");
            "old".to_owned()
        }
    };
    Json(Checkout { layout })
}

/// The metrics of the poller and of the service itself, for Prometheus.
async fn metrics(State(service): State<Arc<Service>>) -> String {
    service.metrics.render()
}

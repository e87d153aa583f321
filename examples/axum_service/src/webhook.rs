//! The webhook that PostHog calls when a flag has changed.

use std::sync::Arc;

use anyhow::ensure;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::Service;

/// How many calls may wait for the store at a time. The others get a 429.
const MAX_WAITING: usize = 64;

/// The secret that the caller must send. It has no `Debug` and is never logged.
pub(crate) struct Webhook {
    secret: String,
    waiting: Semaphore,
}

impl Webhook {
    /// `None` without `WEBHOOK_SECRET`: the service then has no such route.
    pub(crate) fn from_env() -> anyhow::Result<Option<Self>> {
        let Ok(secret) = std::env::var("WEBHOOK_SECRET") else {
            return Ok(None);
        };
        // The message does not contain the length.
        ensure!(
            secret.len() >= 32,
            "WEBHOOK_SECRET is shorter than 32 characters; make one with `openssl rand -hex 32`"
        );
        Ok(Some(Self {
            secret,
            waiting: Semaphore::new(MAX_WAITING),
        }))
    }

    /// Whether the request has `Authorization: Bearer <secret>`. Takes the same time for each wrong secret of its length.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.secret.as_bytes()).into())
    }
}

/// 202 when the request is on its way to the leader. The body is not read: the leader fetches from PostHog.
pub(crate) async fn flags_changed(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Response {
    // The route exists only with a secret.
    let Some(webhook) = &service.webhook else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !webhook.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(_waiting) = webhook.waiting.try_acquire() else {
        return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response();
    };
    match service.poller.request_refresh().await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => {
            // The flags stay, and the next tick fetches.
            tracing::warn!(%error, "the change was not passed on");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

//! What the answers mean that bring no definitions.

use reqwest::header::{ETAG, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::endpoint::Endpoint;
use super::retry_after::retry_after;
use crate::{FetchError, FetchFailure};

/// The `ETag` header byte for byte; `None` if it is absent or empty, and if it is no text, which could not be kept.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    let etag = std::str::from_utf8(headers.get(ETAG)?.as_bytes()).ok()?;
    (!etag.trim().is_empty()).then(|| etag.to_owned())
}

/// The request brought no answer at all.
pub(super) fn no_answer(endpoint: &Endpoint, error: reqwest::Error) -> FetchError {
    let name = endpoint.name();
    let message = if error.is_connect() {
        format!("cannot connect to {name}; check the host and the network")
    } else {
        format!("the connection to {name} ended without an answer")
    };
    // The error shows the URL, and with it the project key.
    FetchError::new(FetchFailure::Connect, message).with_source(error.without_url())
}

/// An answer that is neither a 200 nor a 304. Its body is not read: nothing hangs on it, and it may repeat a key.
pub(super) fn refusal(endpoint: &Endpoint, response: &Response) -> FetchError {
    let status = response.status();
    let advice = match status {
        status if status.is_redirection() => redirect_advice(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; check that the secret key is valid and belongs to the project".to_owned()
        }
        StatusCode::PAYMENT_REQUIRED => {
            "; the project's quota of feature-flag requests is used up, raise its billing limit".to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => "; fetch less often".to_owned(),
        status if status.is_client_error() => "; check that the host is that of a PostHog API".to_owned(),
        _ => String::new(),
    };
    FetchError::new(failure(status), format!("{} answered {status}{advice}", endpoint.name()))
        .with_retry_after(retry_after(response.headers()))
}

fn failure(status: StatusCode) -> FetchFailure {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FetchFailure::Unauthorized,
        StatusCode::PAYMENT_REQUIRED => FetchFailure::QuotaLimited,
        StatusCode::TOO_MANY_REQUESTS => FetchFailure::RateLimited,
        status if status.is_server_error() => FetchFailure::Server,
        _ => FetchFailure::Rejected,
    }
}

/// Names where a redirect leads by its origin alone: the rest of the address may hold the project key.
fn redirect_advice(response: &Response) -> String {
    let target: Option<Url> = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| response.url().join(location).ok())
        .filter(|target| target.has_host());
    match target {
        Some(target) if target.origin() == response.url().origin() => {
            " too often, to itself; check the host".to_owned()
        }
        Some(target) => {
            let origin = target.origin().ascii_serialization();
            format!(", a redirect to {origin} that is not followed; make that the host if it is right")
        }
        None => " without a usable address".to_owned(),
    }
}

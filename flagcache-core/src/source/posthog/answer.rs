//! Interprets answers without definitions.

use reqwest::header::{ETAG, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::endpoint::Endpoint;
use super::fault;
use super::proxy::Route;
use super::retry_after::retry_after;
use crate::{FetchError, FetchErrorKind};

/// The `ETag` header byte for byte; `None` if it is absent, empty or not text.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    let etag = std::str::from_utf8(headers.get(ETAG)?.as_bytes()).ok()?;
    (!etag.trim().is_empty()).then(|| etag.to_owned())
}

/// An answer that is neither a 200 nor a 304. Its body is not read: it is not needed, and may repeat a key.
pub(super) fn refusal(endpoint: &Endpoint, route: &Route, response: &Response) -> FetchError {
    let status = response.status();
    // Sent by proxies only, here for a request over plain HTTP.
    if let (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(proxy)) = (status, route.variable()) {
        return FetchError::new(
            FetchErrorKind::Connect,
            fault::needs_credentials(&proxy.name, proxy.variable),
        );
    }
    let advice = match status {
        status if status.is_redirection() => redirect_advice(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; check that the secret key is valid and belongs to the project".to_owned()
        }
        StatusCode::PAYMENT_REQUIRED => {
            "; the project's quota of feature-flag requests is used up, raise its billing limit"
                .to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => "; fetch less often".to_owned(),
        status if status.is_client_error() => {
            "; check that the host is that of a PostHog API".to_owned()
        }
        _ => String::new(),
    };
    FetchError::new(
        failure(status),
        format!("{} answered {status}{advice}", endpoint.name()),
    )
    .with_retry_after(retry_after(response.headers()))
}

/// A 304 to a request without `If-None-Match`, which cannot be used.
pub(super) fn unasked_not_modified(endpoint: &Endpoint) -> FetchError {
    let message = format!(
        "{} answered 304 Not Modified to a request that was not conditional, probably by a caching proxy in between; have \
         that pass /flags/definitions uncached",
        endpoint.name()
    );
    FetchError::new(FetchErrorKind::Rejected, message)
}

fn failure(status: StatusCode) -> FetchErrorKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FetchErrorKind::Unauthorized,
        StatusCode::PAYMENT_REQUIRED => FetchErrorKind::QuotaLimited,
        StatusCode::TOO_MANY_REQUESTS => FetchErrorKind::RateLimited,
        status if status.is_server_error() => FetchErrorKind::Server,
        _ => FetchErrorKind::Rejected,
    }
}

/// Shows only the origin of a redirect's target: the rest of the URL may contain the project key.
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
            format!(
                ", a redirect to {origin} that is not followed; make that the host if it is right"
            )
        }
        None => " without a usable address".to_owned(),
    }
}

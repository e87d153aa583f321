//! Interprets answers without definitions.

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, LOCATION};
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

/// The media type of a body, if it is one; without its parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/+-.".contains(letter);
    let is_valid = essence.contains('/') && essence.len() <= 64 && essence.chars().all(is_plain);
    is_valid.then(|| essence.to_ascii_lowercase())
}

/// How much of the beginning of a body is searched for a page.
const BEGINNING: usize = 64 * 1024;

/// The error of a 200 with a page in place of definitions. Nothing of the body is shown.
pub(super) fn page(
    endpoint: &Endpoint,
    content_type: Option<&str>,
    body: &[u8],
) -> Option<FetchError> {
    if body.trim_ascii_start().first() != Some(&b'<') {
        // JSON, or something that the decoder's error explains.
        return None;
    }
    let what = if is_login(body) {
        "a login page"
    } else {
        "a page"
    };
    let message = format!(
        "{} answered 200 with {what} ({}) in place of flag definitions; check the host, and have a proxy or gateway in \
         between pass /flags/definitions on",
        endpoint.name(),
        content_type.unwrap_or("no content type"),
    );
    Some(FetchError::new(FetchErrorKind::Unusable, message))
}

/// Whether a page asks for a password or names a login.
fn is_login(body: &[u8]) -> bool {
    let beginning = &body[..body.len().min(BEGINNING)];
    let beginning = String::from_utf8_lossy(beginning).to_ascii_lowercase();
    [
        "type=\"password\"",
        "type='password'",
        "type=password",
        "<title>login",
        "<title>log in",
        "<title>sign in",
    ]
    .iter()
    .any(|sign| beginning.contains(sign))
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
    let content_type = content_type(response.headers());
    let page = content_type.filter(|name| name == "text/html" || name == "application/xhtml+xml");
    let advice = match (status, page) {
        (status, _) if status.is_redirection() => redirect_advice(response),
        (status, Some(page)) => page_advice(status, &page),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
            "; check that the secret key is valid and belongs to the project".to_owned()
        }
        (StatusCode::PAYMENT_REQUIRED, None) => {
            "; the project's quota of feature-flag requests is used up, raise its billing limit"
                .to_owned()
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => "; fetch less often".to_owned(),
        (status, None) if status.is_client_error() => {
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

/// The API answers in JSON, so a page is probably that of another server.
fn page_advice(status: StatusCode, content_type: &str) -> String {
    let check = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "check that it lets this machine through, then that the secret key is valid"
        }
        status if status.is_server_error() => "check whether that reaches PostHog",
        _ => "check that the host is that of a PostHog API",
    };
    format!(
        " with a page ({content_type}), as a proxy or gateway in between sends, where the API sends JSON; {check}"
    )
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

//! The PostHog HTTP API as a source of definitions.

mod answer;
mod body;
mod builder;
mod client;
mod endpoint;
mod error;
mod resolver;
mod retry_after;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, IF_NONE_MATCH};
use secrecy::{ExposeSecret, SecretString};

use crate::{FetchError, FetchFailure, FetchResponse, FlagDefinitionSource, KeyFingerprint, ProjectFingerprint};

use endpoint::Endpoint;

pub use builder::PostHogApiBuilder;
pub use error::PostHogApiError;

/// Fetches flag definitions from PostHog: `GET {host}/flags/definitions?token=…&send_cohorts`.
///
/// It takes two keys. The *project key* (`phc_…`) says which project. The *secret key* (`phs_…`, or a personal API key
/// `phx_…`) allows to read its definitions; without one this worker reads from the cache only, and
/// [`can_fetch`](FlagDefinitionSource::can_fetch) is `false`. Neither is ever shown in an error, a log or `Debug`.
///
/// One request costs 10 units of PostHog's feature-flag quota when it brings definitions, 1 when they are unchanged.
///
/// - **Time.** A request, its redirects and its body together end within the request limit (default 10 s).
/// - **Memory.** A body is read up to the body limit (default 64 MiB), counted after decompression.
/// - **Redirects** are followed up to three times, and only to the same scheme, host and port. The key goes nowhere else.
/// - **Proxies.** `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are honoured, in lower case too. A host on this
///   machine (`localhost`, `127.0.0.1`, `::1`) is never asked through a proxy.
/// - **TLS** by rustls with *ring*, private to this client: no process-wide default is installed or used. Certificates are
///   checked with the system's roots, on Linux those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if set. They are loaded for an
///   `https` host with a secret key only, so a container without certificates can run a cache-only reader, or reach
///   PostHog by `http` inside its cluster.
///
/// Cloning is cheap; clones share their connections.
///
/// ```
/// use flagcache_core::{FlagDefinitionSource, PostHogApi};
///
/// let api = PostHogApi::builder().host("https://eu.i.posthog.com").project_key("phc_example").build()?;
/// assert!(!api.can_fetch(), "no secret key: a cache-only reader");
/// # Ok::<(), flagcache_core::PostHogApiError>(())
/// ```
#[derive(Clone)]
pub struct PostHogApi {
    endpoint: Arc<Endpoint>,
    project_key: SecretString,
    /// Knows the secret key. A cache-only reader has none, and so cannot send a request.
    client: Option<reqwest::Client>,
    key_fingerprint: Option<KeyFingerprint>,
    request_limit: Duration,
    body_limit: usize,
}

impl PostHogApi {
    /// Starts a source: give it a project key, and a secret key if this worker may fetch.
    pub fn builder() -> PostHogApiBuilder {
        PostHogApiBuilder::default()
    }

    /// A source from the environment, with the defaults for the rest.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `POSTHOG_PROJECT_KEY` | the project key (`phc_…`); required |
    /// | `POSTHOG_SECRET_KEY` | the secret key (`phs_…`); absent, empty or blank makes a cache-only reader |
    /// | `POSTHOG_HOST` | default `https://us.i.posthog.com` |
    ///
    /// # Errors
    ///
    /// As [`PostHogApiBuilder::build`], and if a variable is not Unicode.
    pub fn from_env() -> Result<Self, PostHogApiError> {
        PostHogApiBuilder::from_variables(std::env::var)?.build()
    }

    async fn request(&self, client: &reqwest::Client, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let mut request = client.get(self.endpoint.definitions_url(self.project_key.expose_secret()));
        if let Some(etag) = etag.and_then(if_none_match) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| answer::no_answer(&self.endpoint, error))?;
        match response.status() {
            StatusCode::OK => {
                let etag = answer::etag(response.headers());
                let body = body::read(response, self.body_limit, &self.endpoint).await?;
                Ok(FetchResponse::Definitions { body, etag })
            }
            StatusCode::NOT_MODIFIED => Ok(FetchResponse::NotModified { etag: answer::etag(response.headers()) }),
            _ => Err(answer::refusal(&self.endpoint, &response)),
        }
    }
}

#[async_trait]
impl FlagDefinitionSource for PostHogApi {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let Some(client) = &self.client else {
            return Err(FetchError::new(
                FetchFailure::Unauthorized,
                "no request was sent because there is no secret key; set one (`phs_…`) to fetch definitions",
            ));
        };
        match tokio::time::timeout(self.request_limit, self.request(client, etag)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::new(
                FetchFailure::Timeout,
                format!(
                    "{} gave no complete answer within the request limit of {:?}",
                    self.endpoint.name(),
                    self.request_limit
                ),
            )),
        }
    }

    fn can_fetch(&self) -> bool {
        self.client.is_some()
    }

    fn project(&self) -> Option<ProjectFingerprint> {
        Some(ProjectFingerprint::of(self.project_key.expose_secret()))
    }

    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        self.key_fingerprint
    }
}

impl fmt::Debug for PostHogApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostHogApi")
            .field("host", &self.endpoint.name())
            .field("project_key", &format_args!("[…]"))
            .field("secret_key", &self.client.as_ref().map(|_| format_args!("[…]")))
            .field("request_limit", &self.request_limit)
            .field("body_limit", &self.body_limit)
            .finish()
    }
}

/// The header for an ETag that came from a server or out of a store, where anybody may have written it. One that cannot be
/// sent costs a full answer instead of an error. `*` would be confirmed whatever the definitions are.
fn if_none_match(etag: &str) -> Option<HeaderValue> {
    let etag = etag.trim();
    if etag.is_empty() || etag == "*" {
        return None;
    }
    HeaderValue::from_bytes(etag.as_bytes()).ok()
}

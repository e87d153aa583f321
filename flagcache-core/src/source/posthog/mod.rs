//! [`PostHogApi`]: the PostHog HTTP API as a source of definitions.

mod answer;
mod body;
mod builder;
mod client;
mod endpoint;
mod error;
mod fault;
mod proxy;
mod resolver;
mod retry_after;
mod roots;
mod secret_key;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    FetchError, FetchErrorKind, FetchResponse, FlagDefinitionSource, KeyFingerprint,
    ProjectFingerprint,
};

use endpoint::Endpoint;
use fault::Connection;
use secret_key::{HeldKey, SecretKey};

pub use builder::PostHogApiBuilder;
pub use error::PostHogApiError;

/// Fetches flag definitions from PostHog: `GET {host}/flags/definitions?token=…&send_cohorts`.
///
/// It takes two keys. The *project key* (`phc_…`) identifies the project. The *secret key* (`phs_…`, or a personal API
/// key `phx_…`) authorizes reading its definitions; without one this worker reads from the cache only, and
/// [`can_fetch`](FlagDefinitionSource::can_fetch) is `false`. Neither is ever shown in an error, a log or `Debug`.
///
/// To replace the secret key without a restart, give it as a [file](PostHogApiBuilder::secret_key_file) or a
/// [function](PostHogApiBuilder::secret_key_fn). It is read before each request, and once more when the API refuses it:
/// if the key has been replaced, the request is repeated with the new one at once.
///
/// A request costs 10 units of PostHog's feature-flag quota if it returns definitions, 1 if they are unchanged.
///
/// - **Timeout.** A request, its redirects and its body must complete within the request timeout (default 10 s).
/// - **Memory.** A body may have up to `max_body_bytes` (default 64 MiB), counted after decompression.
/// - **Redirects** are followed up to three times, and only to the same scheme, host and port. The key is sent nowhere
///   else.
/// - **HTTP/1.1** only, also with servers that offer HTTP/2. A request that a server leaves unanswered when it closes a
///   kept-alive connection is sent once more.
/// - **Addresses.** All addresses of a host are tried within the [connect timeout](PostHogApiBuilder::connect_timeout),
///   half the request timeout, IPv6 and IPv4 in parallel.
/// - **Proxies.** `HTTPS_PROXY` (`HTTP_PROXY` for an `http` host), else `ALL_PROXY`, names an HTTP proxy:
///   `http://user:password@host:port`. `NO_PROXY` excepts hosts. All may be in lower case too. A malformed or
///   unsupported proxy, such as `socks5://`, is an error when the source is built. A host on this machine (`localhost`,
///   `127.0.0.1`, `::1`) is never reached through a proxy.
/// - **TLS** 1.2 and 1.3 by rustls with *ring*, private to this client: no process-wide default is installed or used.
///   Certificates are verified with the system's roots, on Linux those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if set,
///   and with [custom ones](PostHogApiBuilder::root_certificates). The system's roots are loaded only for an `https`
///   host with a secret key, so a container without certificates can run a cache-only reader, or reach PostHog by
///   `http` inside its cluster.
/// - **The app's host** (`https://app.posthog.com`, `https://us.posthog.com`, `https://eu.posthog.com`) is replaced by
///   that of its API (`https://us.i.posthog.com`, `https://eu.i.posthog.com`), as in `posthog-rs`.
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
    /// Holds the secret key. A cache-only reader has none, and cannot send requests.
    client: Option<Arc<Client>>,
    request_timeout: Duration,
    max_body_bytes: usize,
}

struct Client {
    http: reqwest::Client,
    secret_key: Arc<SecretKey>,
    connection: Connection,
    /// Whether the last request was answered, so that the next one may use a kept-alive connection that the server is
    /// closing.
    kept_alive: AtomicBool,
}

impl Client {
    /// Sends a GET. If the server closes a kept-alive connection without an answer, sends it once more on a new one:
    /// servers may close an idle connection while a request is on its way.
    async fn get(&self, url: Url, headers: HeaderMap) -> reqwest::Result<Response> {
        let send = || self.http.get(url.clone()).headers(headers.clone()).send();
        let kept_alive = self.kept_alive.swap(false, Ordering::Relaxed);
        let mut result = send().await;
        if kept_alive && result.as_ref().is_err_and(fault::is_unanswered) {
            result = send().await;
        }
        self.kept_alive.store(result.is_ok(), Ordering::Relaxed);
        result
    }
}

impl PostHogApi {
    /// Configures a source. It needs a project key, and a secret key if this worker may fetch.
    pub fn builder() -> PostHogApiBuilder {
        PostHogApiBuilder::default()
    }

    /// A source from the environment, with the defaults for the rest.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `POSTHOG_PROJECT_KEY` | the project key (`phc_…`); required |
    /// | `POSTHOG_SECRET_KEY` | the secret key (`phs_…`); if absent, empty or blank, the worker is a cache-only reader |
    /// | `POSTHOG_SECRET_KEY_FILE` | in its place: the path of a [file](PostHogApiBuilder::secret_key_file) that contains it |
    /// | `POSTHOG_HOST` | default `https://us.i.posthog.com` |
    ///
    /// # Errors
    ///
    /// As [`PostHogApiBuilder::build`], and if a variable is not Unicode.
    pub fn from_env() -> Result<Self, PostHogApiError> {
        PostHogApiBuilder::from_variables(std::env::var)?.build()
    }

    /// Sends a request with the current key. If the API refuses the key and another one can be read, sends it once more.
    async fn request(
        &self,
        client: &Client,
        etag: Option<&str>,
    ) -> Result<FetchResponse, FetchError> {
        // The rest of the time is for the request.
        let limit = self.request_timeout / 4;
        let key = client.secret_key.read_again(limit).await;
        let result = self.request_with(client, &key, etag).await;
        if !result
            .as_ref()
            .is_err_and(|error| error.kind() == FetchErrorKind::Unauthorized)
        {
            return result;
        }
        let now = client.secret_key.read_again(limit).await;
        if now.header == key.header {
            return result;
        }
        self.request_with(client, &now, etag).await
    }

    async fn request_with(
        &self,
        client: &Client,
        key: &HeldKey,
        etag: Option<&str>,
    ) -> Result<FetchResponse, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, key.header.clone());
        if let Some(etag) = etag.and_then(if_none_match) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        let is_conditional = headers.contains_key(IF_NONE_MATCH);
        let url = self
            .endpoint
            .definitions_url(self.project_key.expose_secret());
        let response = client.get(url, headers).await;
        let response = response
            .map_err(|error| fault::no_answer(&self.endpoint, &client.connection, error))?;
        match response.status() {
            StatusCode::OK => {
                let etag = answer::etag(response.headers());
                let content_type = answer::content_type(response.headers());
                let body = body::read(response, self.max_body_bytes, &self.endpoint).await?;
                if let Some(error) = answer::page(&self.endpoint, content_type.as_deref(), &body) {
                    return Err(error);
                }
                Ok(FetchResponse::Definitions { body, etag })
            }
            StatusCode::NOT_MODIFIED if !is_conditional => {
                Err(answer::unasked_not_modified(&self.endpoint))
            }
            StatusCode::NOT_MODIFIED => Ok(FetchResponse::NotModified {
                etag: answer::etag(response.headers()),
            }),
            _ => Err(answer::refusal(
                &self.endpoint,
                &client.connection.route,
                &response,
            )),
        }
    }
}

#[async_trait]
impl FlagDefinitionSource for PostHogApi {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let Some(client) = &self.client else {
            return Err(FetchError::new(
                FetchErrorKind::Unauthorized,
                "no request was sent because there is no secret key; set one (`phs_…`) to fetch definitions",
            ));
        };
        match tokio::time::timeout(self.request_timeout, self.request(client, etag)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::new(
                FetchErrorKind::Timeout,
                format!(
                    "{} gave no complete answer within the request timeout of {:?}",
                    self.endpoint.name(),
                    self.request_timeout
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
        let client = self.client.as_ref()?;
        Some(client.secret_key.held().fingerprint)
    }

    async fn reload_key(&self) {
        if let Some(client) = &self.client {
            client.secret_key.read_again(self.request_timeout / 4).await;
        }
    }
}

impl fmt::Debug for PostHogApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostHogApi")
            .field("host", &self.endpoint.name())
            .field("project_key", &format_args!("[…]"))
            .field(
                "secret_key",
                &self.client.as_ref().map(|_| format_args!("[…]")),
            )
            .field("request_timeout", &self.request_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish()
    }
}

/// The header for an ETag, which may come from an untrusted store. If it cannot be sent, the request is unconditional.
/// So is `*`, which would match any definitions.
fn if_none_match(etag: &str) -> Option<HeaderValue> {
    let etag = etag.trim();
    if etag.is_empty() || etag == "*" {
        return None;
    }
    HeaderValue::from_bytes(etag.as_bytes()).ok()
}

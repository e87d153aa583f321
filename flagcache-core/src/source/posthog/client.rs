//! Builds the HTTP client: TLS, proxies, redirects.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::endpoint::Endpoint;
use super::error::PostHogApiError;
use super::proxy::Route;
use super::resolver::DetachedResolver;

const MOST_REDIRECTS: usize = 3;

/// How a client connects, besides the endpoint.
pub(super) struct Options {
    pub(super) user_agent: HeaderValue,
    pub(super) connect_timeout: Duration,
    /// `None` for the system's roots only.
    pub(super) root_certificates: Option<Vec<CertificateDer<'static>>>,
    pub(super) route: Route,
}

/// A client for requests to `endpoint` alone. It limits the connect time; the caller limits the whole request.
pub(super) fn build(
    endpoint: &Endpoint,
    options: Options,
) -> Result<reqwest::Client, PostHogApiError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let tls = tls(endpoint, options.root_certificates)
        .map_err(|error| PostHogApiError::Client(error.into()))?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // One small request at a time gains nothing from HTTP/2, which the dependency may be built without.
        .http1_only()
        // For all addresses of the host together, each of which gets an equal part.
        .connect_timeout(options.connect_timeout)
        .dns_resolver(Arc::new(DetachedResolver))
        .default_headers(headers)
        .user_agent(options.user_agent)
        .redirect(Policy::custom(follow_within_origin))
        .referer(false)
        // One request at a time; clones that fetch concurrently open one connection each.
        .pool_max_idle_per_host(1);
    let builder = options.route.apply(builder)?;
    builder
        .build()
        .map_err(|error| PostHogApiError::Client(error.without_url().into()))
}

/// A TLS configuration of our own. The client's default would use the process-wide crypto provider, and panic if there
/// is none.
fn tls(
    endpoint: &Endpoint,
    root_certificates: Option<Vec<CertificateDer<'static>>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let mut tls = if endpoint.is_https() {
        let verifier =
            Verifier::new_with_extra_roots(root_certificates.unwrap_or_default(), provider)?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    } else {
        // TLS is not used, and the machine may have no root certificates.
        builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// Follows redirects within the origin only. Another scheme, host or port must not get the secret key, and gets no
/// request either, because the URL may carry the project key.
fn follow_within_origin(attempt: Attempt<'_>) -> Action {
    let within = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if within && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

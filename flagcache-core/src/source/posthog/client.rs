//! The HTTP client: TLS, proxies, redirects.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};

use super::endpoint::Endpoint;
use super::error::PostHogApiError;
use super::proxy::Route;
use super::resolver::DetachedResolver;

const MOST_REDIRECTS: usize = 3;

/// How a client is to connect, beside what the endpoint says.
pub(super) struct Options {
    pub(super) user_agent: HeaderValue,
    pub(super) connect_timeout: Duration,
    /// `None` for none beside the system's.
    pub(super) root_certificates: Option<Vec<CertificateDer<'static>>>,
    pub(super) route: Route,
}

/// A client for requests to `endpoint` alone: it sends the secret key with each. It bounds the time to connect; the caller
/// bounds the request as a whole.
pub(super) fn build(
    endpoint: &Endpoint,
    options: Options,
    secret_key: &SecretString,
) -> Result<reqwest::Client, PostHogApiError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, bearer(secret_key)?);
    let tls = tls(endpoint, options.root_certificates)
        .map_err(|error| PostHogApiError::Client(error.into()))?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // One small request at a time gains nothing from HTTP/2, which the dependency may be built without.
        .http1_only()
        // Over all addresses of the host, each of which gets an equal part.
        .connect_timeout(options.connect_timeout)
        .dns_resolver(Arc::new(DetachedResolver))
        .default_headers(headers)
        .user_agent(options.user_agent)
        .redirect(Policy::custom(follow_within_origin))
        .referer(false)
        // One request at a time; clones that fetch at the same moment open one each.
        .pool_max_idle_per_host(1);
    let builder = options.route.apply(builder)?;
    builder
        .build()
        .map_err(|error| PostHogApiError::Client(error.without_url().into()))
}

/// Marked sensitive, so that nothing that prints headers shows it.
fn bearer(secret_key: &SecretString) -> Result<HeaderValue, PostHogApiError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret_key.expose_secret()))
        .map_err(|_| PostHogApiError::InvalidSecretKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A configuration of our own, because the client would otherwise take the process-wide crypto provider, and panic where
/// the application has installed none.
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
        // TLS is never spoken, and a machine without root certificates must do.
        builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// The secret key is for one origin: another scheme, host or port does not get it, and gets no request either, because
/// the address may carry the project key.
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

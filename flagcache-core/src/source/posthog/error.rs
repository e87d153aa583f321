//! [`PostHogApiError`]: why a source could not be built.

use std::error::Error;

use thiserror::Error;

/// Why [`PostHogApiBuilder::build`](crate::PostHogApiBuilder::build) or
/// [`PostHogApi::from_env`](crate::PostHogApi::from_env) failed. All are configuration errors, which a retry does not
/// fix. None shows a key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostHogApiError {
    /// The host cannot be used; the text says why.
    #[error("the PostHog host cannot be used: {0}")]
    InvalidHost(&'static str),
    /// The project key is absent, empty or blank.
    #[error(
        "the project key is missing; set `project_key` (`POSTHOG_PROJECT_KEY`) to the project's `phc_…` key"
    )]
    MissingProjectKey,
    /// A secret key was given as the project key. It would have been sent in URLs.
    #[error(
        "the project key is a secret key (`phs_…` or `phx_…`); give that as `secret_key` and the `phc_…` key here"
    )]
    SecretKeyAsProjectKey,
    /// The secret key has characters that no key has, such as a line break.
    #[error("the secret key has characters that a header cannot carry; copy it again")]
    InvalidSecretKey,
    /// The secret key could not be read for the first time, or is empty. Later failures only keep the last key.
    #[error("the secret key cannot be read from {origin}")]
    UnreadableSecretKey {
        /// The file, or the function.
        origin: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The User-Agent suffix has characters that a header cannot carry.
    #[error("the user agent suffix has characters that a header cannot carry")]
    InvalidUserAgent,
    /// A timeout or size is zero, so that no request could succeed.
    #[error("{0} is zero; no request could succeed")]
    ZeroLimit(&'static str),
    /// Not valid root certificates; the text says what was given instead.
    #[error("`root_certificates` takes certificates in PEM, but was given {0}")]
    RootCertificates(&'static str),
    /// A proxy that the environment names cannot be used.
    #[error("the proxy in the environment variable {variable} cannot be used: {reason}")]
    Proxy {
        /// The variable that names it.
        variable: &'static str,
        /// The reason, and what to do. Never repeats the variable's text.
        reason: &'static str,
    },
    /// An environment variable is not Unicode.
    #[error("the environment variable {0} is not valid Unicode")]
    NotUnicode(&'static str),
    /// The HTTP client could not be created, for example because the system has no root certificates.
    #[error(
        "no HTTPS client could be made; the system needs root certificates (package `ca-certificates`, or `SSL_CERT_FILE`)"
    )]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

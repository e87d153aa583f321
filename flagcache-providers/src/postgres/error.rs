//! [`PostgresConfigError`], and the provider errors of a PostgreSQL server.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::versioned::VersionedConfigError;

/// An error of [`PostgresStoreBuilder::build`](super::PostgresStoreBuilder::build).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresConfigError {
    /// The URL is invalid. The message does not show it, because it may contain a password.
    #[error(
        "the URL of the PostgreSQL server cannot be read; write postgres://user:password@host:port/database"
    )]
    Url(#[source] tokio_postgres::Error),
    /// The name of the table would need quotes.
    #[error(
        "{0:?} cannot name the table; use lower-case letters, digits and `_`, optionally with a schema: `app.flagcache`"
    )]
    Table(String),
    /// The response timeout is zero.
    #[error("the response timeout is zero, so every call would fail; set it to about 1 s")]
    ResponseTimeout,
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be read; give certificates in PEM")]
    RootCertificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS cannot be configured.
    #[error("TLS cannot be configured")]
    Tls(#[source] rustls::Error),
    /// The service's name or the lease TTL is invalid.
    #[error(transparent)]
    Versioned(#[from] VersionedConfigError),
}

/// Describes a failure, the endpoint and the remedy. The error of the server is the source.
pub(super) fn failed(endpoint: &str, error: tokio_postgres::Error) -> ProviderError {
    let code = error.code().cloned();
    let (kind, remedy) = match code {
        Some(code) if code == SqlState::INSUFFICIENT_PRIVILEGE => (
            ProviderErrorKind::PermissionDenied,
            "grant the user SELECT, INSERT and UPDATE on the table, and CREATE on its schema or create the table beforehand",
        ),
        Some(code)
            if code == SqlState::INVALID_PASSWORD
                || code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            (
                ProviderErrorKind::PermissionDenied,
                "check the user, the password and the server's pg_hba.conf",
            )
        }
        Some(code) if code == SqlState::INVALID_CATALOG_NAME => (
            ProviderErrorKind::Other,
            "there is no such database; check the last part of the URL",
        ),
        Some(code) if code == SqlState::READ_ONLY_SQL_TRANSACTION => (
            ProviderErrorKind::Unavailable,
            "this server is read-only; name the primary, or all servers with target_session_attrs=read-write",
        ),
        Some(code) if is_unavailable(&code) => (
            ProviderErrorKind::Unavailable,
            "it is starting or stopping, or has too many connections",
        ),
        Some(_) => (ProviderErrorKind::Other, "the server refused the statement"),
        None => (
            ProviderErrorKind::Unavailable,
            "check that it is running and can be reached, and check its TLS certificate, if any",
        ),
    };
    let message = format!("the PostgreSQL server at {endpoint} failed; {remedy}");
    ProviderError::new(kind, message).with_source(error)
}

fn is_unavailable(code: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::QUERY_CANCELED,
    ]
    .contains(code)
        // Connection exceptions, which include the errors of PgBouncer.
        || code.code().starts_with("08")
}

pub(super) fn timed_out(endpoint: &str, timeout: Duration) -> ProviderError {
    let message = format!(
        "the PostgreSQL server at {endpoint} did not answer within {timeout:?}; the next call opens a new connection"
    );
    ProviderError::new(ProviderErrorKind::Timeout, message)
}

//! What goes wrong with a PostgreSQL server, and what to do about it.

use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::versioned::VersionedConfigError;

/// Why a [`PostgresStoreBuilder`](super::PostgresStoreBuilder) builds no store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresConfigError {
    /// The URL cannot be read. It is not shown, because it may hold a password.
    #[error(
        "the URL of the PostgreSQL server cannot be read; write postgres://user:password@host:port/database"
    )]
    Url(#[source] tokio_postgres::Error),
    /// The name of the table would have to be quoted.
    #[error(
        "{0:?} cannot name the table; use lower-case letters, digits and `_`, with a schema if wanted: `app.flagcache`"
    )]
    Table(String),
    /// The time that an answer may take is zero.
    #[error("a response timeout of zero lets no call succeed; give 1 s or so")]
    ResponseTimeout,
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be read; give certificates in PEM")]
    RootCertificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The service's name or the lease cannot be used.
    #[error(transparent)]
    Versioned(#[from] VersionedConfigError),
}

/// An error with what failed, where, and what to do. The server's own message is the source.
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
                "check user and password, and what pg_hba.conf demands",
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
            "it starts, stops or has no connection to spare",
        ),
        Some(_) => (ProviderErrorKind::Other, "the server refused the statement"),
        None => (
            ProviderErrorKind::Unavailable,
            "check that it runs there and can be reached, and its TLS certificate if it has one",
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
        // Connection exceptions, and PgBouncer's own.
        || code.code().starts_with("08")
}

pub(super) fn timed_out(endpoint: &str, timeout: Duration) -> ProviderError {
    let message = format!(
        "the PostgreSQL server at {endpoint} did not answer within {timeout:?}; its connection is opened anew"
    );
    ProviderError::new(ProviderErrorKind::Timeout, message)
}

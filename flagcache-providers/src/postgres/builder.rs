//! [`PostgresStoreBuilder`]: configures a PostgreSQL store.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::client::{Client, endpoint};
use super::table::Table;
use super::{PostgresConfigError, PostgresStore, tls};
use crate::Versioned;

/// Configures a [`PostgresStore`]; returned by [`PostgresStore::builder`].
#[derive(Clone)]
pub struct PostgresStoreBuilder {
    url: String,
    service: String,
    table: String,
    response_timeout: Duration,
    lease_ttl: Duration,
    listen: bool,
    root_certificates: Option<Vec<u8>>,
}

impl PostgresStoreBuilder {
    pub(super) fn new(url: String, service: String) -> Self {
        Self {
            url,
            service,
            table: "flagcache".to_owned(),
            response_timeout: Duration::from_secs(1),
            lease_ttl: Versioned::DEFAULT_LEASE_TTL,
            listen: true,
            root_certificates: None,
        }
    }

    /// The table, optionally with a schema; default `flagcache`. It is created if it does not exist.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The timeout of one call, including connecting; default 1 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// The TTL of the lease: the time within which a killed leader is replaced; default 10 s. See
    /// [`Versioned::with_lease_ttl`](crate::Versioned::with_lease_ttl).
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Whether to listen for changes on a separate connection; default `true`. Without it, or behind a pooler without
    /// `LISTEN`, changes are seen at the next tick.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }

    /// Root certificates in PEM, trusted instead of those of the system.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Builds the store. Does not connect.
    ///
    /// # Errors
    /// If the URL, the service, the table, a duration or the certificates are invalid.
    pub fn build(self) -> Result<PostgresStore, PostgresConfigError> {
        let mut config: Config = self.url.parse().map_err(PostgresConfigError::Url)?;
        if !is_table(&self.table) {
            return Err(PostgresConfigError::Table(self.table));
        }
        if self.response_timeout.is_zero() {
            return Err(PostgresConfigError::ResponseTimeout);
        }
        if config.get_hosts().len() > 1 {
            // Each read must return the last write, so never use a replica.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("flagcache");
        }
        // The listener sends nothing, so only keepalives detect a lost server, within a minute.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3);
        let tls = tls::connector(config.get_ssl_mode(), self.root_certificates.as_deref())?;
        let endpoint = endpoint(&config);
        let client = Client::new(config, tls, self.response_timeout);
        let table = Table::new(client, &self.table, self.listen);
        let versioned = Versioned::new(table, self.service)?.with_lease_ttl(self.lease_ttl)?;
        Ok(PostgresStore::new(versioned, endpoint))
    }
}

/// Does not show the URL, which may contain a password.
impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("service", &self.service)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// Whether the text is one or two SQL identifiers that need no quotes.
fn is_table(name: &str) -> bool {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.len() <= 50
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    name.split('.').count() <= 2 && name.split('.').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_needs_no_quotes() {
        for table in ["flagcache", "app.flags_2", "_x"] {
            assert!(is_table(table), "{table}");
        }
        for table in ["", "Flags", "a.b.c", "a b", "a;drop", "1a", ".a", "a."] {
            assert!(!is_table(table), "{table}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_no_password_shown() {
        let builder = |url: &str| PostgresStoreBuilder::new(url.to_owned(), "checkout".to_owned());
        let error = builder("postgres://app:hunter2@[::1").build().unwrap_err();
        assert!(matches!(error, PostgresConfigError::Url(_)));
        assert!(!format!("{error:?} {error}").contains("hunter2"));
        let local = "postgres://app:hunter2@127.0.0.1/app?sslmode=disable";
        let store = builder(local).build().unwrap();
        assert!(!format!("{store:?} {:?}", builder(local)).contains("hunter2"));
        assert!(builder(local).table("x;y").build().is_err());
        assert!(
            builder(local)
                .response_timeout(Duration::ZERO)
                .build()
                .is_err()
        );
        assert!(builder(local).lease_ttl(Duration::ZERO).build().is_err());
        assert!(builder(local).root_certificates("none").build().is_err());
    }
}

//! Setting a store up.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::client::{Client, endpoint};
use super::table::Table;
use super::{PostgresConfigError, PostgresStore, tls};
use crate::Versioned;

/// Sets a [`PostgresStore`] up; made by [`PostgresStore::builder`].
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

    /// The table, with a schema if wanted; default `flagcache`. It is created if it is not there.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// How long an answer may take, connecting included; default 1 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Within which time a leader that was killed is replaced; default 10 s. See
    /// [`Versioned::with_lease_ttl`](crate::Versioned::with_lease_ttl).
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Whether to listen for changes on a connection of its own; default `true`. Without it, or where a pooler takes no
    /// `LISTEN`, changes are seen at the ticks.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }

    /// The root certificates to trust, in PEM, in place of the system's.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Builds the store. Connects to nothing.
    ///
    /// # Errors
    /// If the URL, the service, the table, a duration or the certificates cannot be used.
    pub fn build(self) -> Result<PostgresStore, PostgresConfigError> {
        let mut config: Config = self.url.parse().map_err(PostgresConfigError::Url)?;
        if !is_table(&self.table) {
            return Err(PostgresConfigError::Table(self.table));
        }
        if self.response_timeout.is_zero() {
            return Err(PostgresConfigError::ResponseTimeout);
        }
        if config.get_hosts().len() > 1 {
            // What was written must be seen by the next read: never a replica.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("flagcache");
        }
        // What listens sends nothing, so this alone shows that its server is gone: within a minute.
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

/// The URL is not shown: it may hold a password.
impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("service", &self.service)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// One or two names that need no quotes.
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

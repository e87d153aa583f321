//! [`RedisStoreBuilder`]: configures a Redis store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use thiserror::Error;
use url::Url;

use super::RedisStore;
use super::connection::config::Config;
use super::connection::credentials::{Credentials, Origin};
use super::connection::endpoint::{Endpoint, Sentinels, of_sentinel};
use super::connection::keys::Keys;
use super::connection::tls::{ClientCertificate, Tls};
use super::connection::url::{ServerUrl, Shape};

const LOCK_TTL: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const DATA_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const SERVICE_LENGTH: usize = 200;

/// Why a [`RedisStore`] cannot be built. Never shows the URL, which may contain a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RedisConfigError {
    /// The URL does not name a Redis server.
    #[error(
        "the Redis URL cannot be used; write redis://[user:password@]host[:port][/database], \
         redis+sentinel://host[:port],…/primary-name[/database], redis+cluster://host[:port],…, any of these with rediss \
         for TLS, or redis+unix:///path?db=0&user=…&pass=…"
    )]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The credentials could not be read for the first time. Later failures only keep the last ones.
    #[error("the credentials for Redis cannot be read from {origin}")]
    Credentials {
        /// The file, or the function.
        origin: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service's name is not a valid part of a key.
    #[error(
        "the service's name must have 1 to {SERVICE_LENGTH} characters, none of them white space or a control character"
    )]
    Service,
    /// The service's name has no hash tag, which a cluster needs to keep its keys together.
    #[error(
        "a cluster would spread the keys of service `{service}` over its nodes; name the service `{tagged}`, which \
         keeps them together"
    )]
    NoHashTag {
        /// The given service name.
        service: String,
        /// The service name to use.
        tagged: String,
    },
    /// A certificate or a private key is not valid PEM.
    #[error(
        "the root certificates, or the client certificate and its key, cannot be used; give them in PEM"
    )]
    Certificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Certificates are given, but the URL does not use TLS.
    #[error("certificates are given, but the URL does not use TLS; write rediss in place of redis")]
    NoTls,
    /// A timeout or TTL is zero, or too short in relation to another.
    #[error("the {what} of {given:?} is too short; give {needed:?} or more")]
    TooShort {
        /// Which setting.
        what: &'static str,
        /// The given value.
        given: Duration,
        /// The minimum.
        needed: Duration,
    },
}

/// Builds a [`RedisStore`]; made by [`RedisStore::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct RedisStoreBuilder {
    url: SecretString,
    service: String,
    username: Option<String>,
    password: Option<SecretString>,
    credentials: Option<Origin>,
    sentinel_username: Option<String>,
    sentinel_password: Option<SecretString>,
    tls: Tls,
    lock_ttl: Duration,
    response_timeout: Duration,
    data_ttl: Option<Duration>,
    patches: bool,
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("service", &self.service)
            .field("tls", &self.tls)
            .field("lock_ttl", &self.lock_ttl)
            .field("response_timeout", &self.response_timeout)
            .field("data_ttl", &self.data_ttl)
            .finish_non_exhaustive()
    }
}

impl RedisStoreBuilder {
    pub(super) fn new(url: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            url: SecretString::from(url.into()),
            service: service.into(),
            username: None,
            password: None,
            credentials: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: Tls::default(),
            lock_ttl: LOCK_TTL,
            response_timeout: RESPONSE_TIMEOUT,
            data_ttl: Some(DATA_TTL),
            patches: true,
        }
    }

    /// The ACL user, in place of that in the URL.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password, in place of that in the URL. Here it needs no percent-encoding.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(SecretString::from(password.into()));
        self
    }

    /// A file that contains the password, in place of [`password`](Self::password). The password can be replaced while
    /// workers run: the file is read for each connection, and again when the server rejects the password. It may be
    /// written anew, replaced by a rename, or be a symbolic link, as the secrets of Kubernetes and Docker are. A line
    /// break at its end is ignored.
    ///
    /// If the file cannot be read or is empty, the last password stays in use, and a warning names the path. Redis keeps
    /// a connection that was opened with the old password, so the workers need not change at the same time:
    /// allow both passwords (`ACL SETUSER app >new`), replace the file, and remove the old one (`ACL SETUSER app <old`).
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(Origin::PasswordFile(path.into()));
        self
    }

    /// A function that returns the ACL user, or `None` for that of the URL, and the password, for credentials that a
    /// secret manager replaces. It is called as a [file](Self::password_file) is read, with the same rules: for each
    /// connection and after a rejection. It may block for a quarter of the response timeout. Its error is logged, so it
    /// must not contain the password.
    pub fn credentials_fn<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        mut self,
        read: impl Fn() -> Result<(Option<String>, String), E> + Send + Sync + 'static,
    ) -> Self {
        let read = move || read().map_err(Into::into);
        self.credentials = Some(Origin::Function(Arc::new(read)));
        self
    }

    /// The ACL user of the Sentinels, which have users of their own. Default: the default user.
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.sentinel_username = Some(username.into());
        self
    }

    /// The password of the Sentinels. Default: none, even if the URL contains one, which is for the primary.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(SecretString::from(password.into()));
        self
    }

    /// The root certificates to trust, one or more in PEM, in place of the system's. For `rediss` URLs.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(pem.into());
        self
    }

    /// The client certificate, with its intermediate certificates if the servers need them, and its private key, both
    /// in PEM. For `rediss` URLs. Default: none.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let key = SecretSlice::from(key.into());
        self.tls.client = Some(ClientCertificate {
            chain: certificate.into(),
            key,
        });
        self
    }

    /// The TTL of the leader lock: how long a fleet waits after its leader was killed. Default 10 s; at least three
    /// response timeouts, so that two renewals may fail before leadership is lost.
    pub fn lock_ttl(mut self, life: Duration) -> Self {
        self.lock_ttl = life;
        self
    }

    /// The timeout of one exchange with the server, connecting included. Default 1 s: below the poller's provider
    /// timeout of 2 s, so that the store can report the cause. Increase it if 1 MB takes longer to transfer.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = limit;
        self
    }

    /// How long the copy outlives the last leader. `None`: for ever. Default 24 h; the leader extends it when less than
    /// half is left.
    pub fn data_ttl(mut self, life: impl Into<Option<Duration>>) -> Self {
        self.data_ttl = life.into();
        self
    }

    /// Transfers the whole copy at each change, as a previous release does. For tests and measurements; not API-stable.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn without_patches(mut self) -> Self {
        self.patches = false;
        self
    }

    /// Validates the settings. Does not connect: the server may be down.
    pub fn build(self) -> Result<RedisStore, RedisConfigError> {
        let length = self.service.chars().count();
        if length == 0
            || length > SERVICE_LENGTH
            || self
                .service
                .chars()
                .any(|letter| letter.is_whitespace() || letter.is_control())
        {
            return Err(RedisConfigError::Service);
        }
        let one = Duration::from_millis(1);
        at_least("response timeout", self.response_timeout, one)?;
        at_least("lock TTL", self.lock_ttl, self.response_timeout * 3)?;
        if let Some(life) = self.data_ttl {
            at_least("data TTL", life, self.lock_ttl)?;
        }
        let endpoint = self.endpoint()?;
        if matches!(endpoint, Endpoint::Cluster(_)) && !Keys::of(&self.service).are_tagged() {
            let tagged = format!("{{{}}}", self.service.replace(['{', '}'], ""));
            return Err(RedisConfigError::NoHashTag {
                service: self.service,
                tagged,
            });
        }
        let credentials = self.credentials.map(|origin| {
            let name = origin.name();
            Credentials::new(origin).map_err(|source| RedisConfigError::Credentials {
                origin: name,
                source,
            })
        });
        Ok(RedisStore::new(Config {
            endpoint,
            credentials: credentials.transpose()?.map(Arc::new),
            service: self.service,
            lock_ttl: self.lock_ttl,
            response_timeout: self.response_timeout,
            data_ttl: self.data_ttl,
            patches: self.patches,
        }))
    }

    fn endpoint(&self) -> Result<Endpoint, RedisConfigError> {
        let ServerUrl { shape, servers } =
            ServerUrl::parse(self.url.expose_secret()).map_err(RedisConfigError::Url)?;
        let mut servers = servers
            .into_iter()
            .map(|url| self.connection_info(url))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = servers.first().cloned() else {
            return Err(RedisConfigError::Url("it names no server".into()));
        };
        Ok(match shape {
            Shape::Single => Endpoint::Single(first),
            Shape::Cluster => Endpoint::Cluster(servers),
            Shape::Sentinel { primary } => {
                let username = self.sentinel_username.as_deref();
                let password = self
                    .sentinel_password
                    .as_ref()
                    .map(ExposeSecret::expose_secret);
                servers = servers
                    .into_iter()
                    .map(|server| of_sentinel(server, username, password))
                    .collect();
                Endpoint::Sentinel(Sentinels {
                    servers,
                    primary,
                    template: first,
                })
            }
        })
    }

    fn connection_info(&self, url: Url) -> Result<ConnectionInfo, RedisConfigError> {
        let known: &[&str] = if url.scheme().ends_with("unix") {
            &["protocol", "db", "user", "pass"]
        } else {
            &["protocol"]
        };
        if url.query_pairs().any(|(name, _)| !known.contains(&&*name)) {
            let text = format!(
                "a URL of this kind has no other options than {}",
                known.join(", ")
            );
            return Err(RedisConfigError::Url(text.into()));
        }
        if url.fragment().is_some() {
            // Such as `#insecure`, which some clients accept, or the rest of a password.
            return Err(RedisConfigError::Url(
                "it contains `#`; in a name or a password, write %23 instead".into(),
            ));
        }
        let speaks = url.query_pairs().any(|(name, _)| name == "protocol");
        let info = url
            .into_connection_info()
            .map_err(|error| RedisConfigError::Url(error.into()))?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_lib_name("flagcache", env!("CARGO_PKG_VERSION"));
        if !speaks {
            settings = settings.set_protocol(ProtocolVersion::RESP3);
        }
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose_secret());
        }
        let info = info.set_redis_settings(settings);
        // Does not connect, but rejects what the client could not use.
        Client::open(info.clone()).map_err(|error| RedisConfigError::Url(error.into()))?;
        if self.tls.is_default() {
            return Ok(info);
        }
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(RedisConfigError::NoTls);
        }
        self.tls.apply(info).map_err(RedisConfigError::Certificates)
    }
}

fn at_least(what: &'static str, given: Duration, needed: Duration) -> Result<(), RedisConfigError> {
    if given < needed {
        Err(RedisConfigError::TooShort {
            what,
            given,
            needed,
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url, "checkout")
    }

    #[test]
    fn a_lock_ttl_shorter_than_three_response_timeouts_is_refused() {
        let error = builder("redis://localhost")
            .lock_ttl(Duration::from_millis(2_999))
            .build()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the lock TTL of 2.999s is too short; give 3s or more"
        );
        builder("redis://localhost")
            .lock_ttl(Duration::from_secs(3))
            .build()
            .unwrap();
    }

    #[test]
    fn a_name_that_cannot_be_in_a_key_is_refused() {
        for service in ["", "a b", "a\n", &"x".repeat(201)] {
            let built = RedisStoreBuilder::new("redis://localhost", service).build();
            assert!(
                matches!(built, Err(RedisConfigError::Service)),
                "{service:?}"
            );
        }
    }

    #[test]
    #[cfg_attr(windows, ignore = "the Redis client has no Unix sockets on Windows")]
    fn every_kind_of_address_is_understood() {
        for (url, endpoint) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://user:s3cret@cache:7000/3", "redis://cache:7000/3"),
            ("rediss://user:s3cret@cache:7000/3", "rediss://cache:7000/3"),
            (
                "redis+unix:///run/redis.sock?db=2&pass=s3cret",
                "redis+unix:///run/redis.sock?db=2",
            ),
            (
                "unix:///run/a%20b.sock?user=me&pass=s3cret",
                "redis+unix:///run/a b.sock?db=0",
            ),
            (
                "redis+sentinel://:s3cret@a,b:1/flags/3",
                "redis+sentinel://a:26379,b:1/flags/3",
            ),
            (
                "rediss+sentinel://u:s3cret@a/flags",
                "rediss+sentinel://a:26379/flags/0",
            ),
            (
                "redis+cluster://u:s3cret@a,b:1",
                "redis+cluster://a:6379,b:1/0",
            ),
        ] {
            let built = RedisStoreBuilder::new(url, "{checkout}").sentinel_password("s3cret");
            let store = built.clone().build().unwrap();
            assert_eq!(store.endpoint(), endpoint);
            assert!(
                !format!("{:?} {store:?} {built:?}", built.endpoint()).contains("s3cret"),
                "{url}"
            );
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_being_shown() {
        for url in [
            "",
            "cache:6379",
            "http://u:s3cret@cache",
            "redis://u:s3cret@cache/x",
            "redis://u:s3cret@0.0.0.0",
            "redis://u:s3cret@cache?db=2",
            "rediss://u:s3cret@cache#insecure",
            "redis+unix:///run/redis.sock?db=s3cret",
            "redis+unix:///run/redis.sock?password=s3cret",
            "redis+unix://u:s3cret@run/redis.sock",
            "unix:run/redis.sock?pass=s3cret",
            "redis+sentinel://u:s3cret@cache",
            "redis+sentinel://u:s3cret@cache:x/flags",
            "redis+cluster://u:s3cret@a,0.0.0.0",
            "redis+cluster://u:s3cret@a/1",
        ] {
            let error = builder(url).build().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(matches!(error, RedisConfigError::Url(_)), "{url}: {shown}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn the_protocol_is_resp3_unless_the_url_says_otherwise() {
        let speaks = |url: &str| {
            builder(url)
                .endpoint()
                .unwrap()
                .template()
                .unwrap()
                .redis_settings()
                .protocol()
        };
        assert_eq!(speaks("redis://cache"), ProtocolVersion::RESP3);
        assert_eq!(
            speaks("redis://cache?protocol=resp2"),
            ProtocolVersion::RESP2
        );
        assert_eq!(
            speaks("redis+sentinel://cache/flags"),
            ProtocolVersion::RESP3
        );
        assert_eq!(
            speaks("redis+cluster://cache?protocol=resp2"),
            ProtocolVersion::RESP2
        );
    }

    #[test]
    fn a_cluster_needs_a_hash_tag() {
        let build =
            |service: &str| RedisStoreBuilder::new("redis+cluster://cache", service).build();
        let error = build("checkout-prod").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a cluster would spread the keys of service `checkout-prod` over its nodes; name the service \
             `{checkout-prod}`, which keeps them together"
        );
        for service in ["{checkout-prod}", "{checkout}-prod", "prod-{checkout}"] {
            build(service).unwrap();
        }
        // The server uses the first brace, and ignores an empty tag.
        for service in ["{}checkout", "{}{checkout}", "checkout}", "{checkout"] {
            let Err(RedisConfigError::NoHashTag { tagged, .. }) = build(service) else {
                panic!("{service}")
            };
            assert_eq!(tagged, "{checkout}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_refused() {
        let error = builder("rediss://cache")
            .client_certificate("no pem", "s3cret")
            .build()
            .unwrap_err();
        assert!(
            matches!(error, RedisConfigError::Certificates(_)),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        let error = builder("redis://cache")
            .root_certificates("whatever")
            .build()
            .unwrap_err();
        assert!(matches!(error, RedisConfigError::NoTls), "{error:?}");
    }
}

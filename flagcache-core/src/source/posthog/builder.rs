//! [`PostHogApiBuilder`]: configures a source.

use std::env::VarError;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::endpoint::Endpoint;
use super::error::PostHogApiError;
use super::fault::Connection;
use super::proxy::Route;
use super::secret_key::{KeyOrigin, SecretKey};
use super::{Client, PostHogApi, client, roots};

const DEFAULT_HOST: &str = "https://us.i.posthog.com";
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Configures a [`PostHogApi`]. White space around keys and host is ignored, because secrets read from files often
/// contain it.
pub struct PostHogApiBuilder {
    host: String,
    project_key: Option<SecretString>,
    secret_key: Option<KeyOrigin>,
    request_timeout: Duration,
    connect_timeout: Option<Duration>,
    max_body_bytes: usize,
    root_certificates: Option<Vec<u8>>,
    no_proxy: bool,
    user_agent_suffix: String,
}

impl Default for PostHogApiBuilder {
    fn default() -> Self {
        Self {
            host: DEFAULT_HOST.to_owned(),
            project_key: None,
            secret_key: None,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            connect_timeout: None,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            root_certificates: None,
            no_proxy: false,
            user_agent_suffix: String::new(),
        }
    }
}

impl PostHogApiBuilder {
    /// The API's URL, such as `https://eu.i.posthog.com` or that of a self-hosted PostHog, possibly with a path.
    /// Default `https://us.i.posthog.com`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The project key (`phc_…`). Required.
    #[must_use]
    pub fn project_key(mut self, key: impl Into<String>) -> Self {
        self.project_key = Some(SecretString::from(key.into()));
        self
    }

    /// The secret key (`phs_…`, or a personal API key `phx_…`). Without one, or with an empty or blank one, the worker is a
    /// cache-only reader.
    #[must_use]
    pub fn secret_key(mut self, key: impl Into<String>) -> Self {
        self.secret_key = trimmed(Some(SecretString::from(key.into()))).map(KeyOrigin::Value);
        self
    }

    /// A file that contains the secret key, in place of [`secret_key`](Self::secret_key). The key can be replaced while
    /// workers run: the file is read before each request, and again when the API refuses the key. It may be written
    /// anew, replaced by a rename, or be a symbolic link, as the secrets of Kubernetes and Docker are. White space around
    /// the key is ignored.
    ///
    /// If the file cannot be read, is empty, or does not respond within a quarter of the request timeout, the last key
    /// stays in use, and a warning names the path.
    #[must_use]
    pub fn secret_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.secret_key = Some(KeyOrigin::File(path.into()));
        self
    }

    /// A function that returns the secret key, in place of [`secret_key`](Self::secret_key), for keys that a secret
    /// manager replaces. It is called as a [file](Self::secret_key_file) is read, with the same rules: before each
    /// request and after a refusal. It may block, but should return a key that the client of the secret manager has
    /// cached. Its error is logged, so it must not contain the key.
    ///
    /// ```
    /// # use std::sync::{Arc, RwLock};
    /// use flagcache_core::PostHogApi;
    ///
    /// let key = Arc::new(RwLock::new("phs_first".to_owned()));
    /// let current = Arc::clone(&key);
    /// let api = PostHogApi::builder()
    ///     .project_key("phc_example")
    ///     .secret_key_fn(move || match current.read() {
    ///         Ok(key) => Ok(key.clone()),
    ///         Err(_) => Err("the thread that renews the key panicked"),
    ///     })
    ///     .build()?;
    /// # let _ = api;
    /// # Ok::<(), flagcache_core::PostHogApiError>(())
    /// ```
    #[must_use]
    pub fn secret_key_fn<E: Into<Box<dyn Error + Send + Sync>>>(
        mut self,
        read: impl Fn() -> Result<String, E> + Send + Sync + 'static,
    ) -> Self {
        let read = move || read().map_err(Into::into);
        self.secret_key = Some(KeyOrigin::Function(Arc::new(read)));
        self
    }

    /// The timeout of a request, from the DNS lookup to the last byte of the body. Default 10 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The timeout of connecting: the lookup, the addresses of the host one after the other, TLS. Each address gets an
    /// equal part, so that an unresponsive one does not use up the time of the next. Default half the request timeout.
    /// Increase it where connecting takes seconds, for example over a slow proxy.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Root certificates that are trusted besides the system's, in PEM, one or several. For a self-hosted PostHog with
    /// a private CA, and for proxies that inspect TLS. Not on Android.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Ignores the proxies of the environment and the system. For a host inside your own network, if you cannot add it
    /// to `NO_PROXY`.
    #[must_use]
    pub fn no_proxy(mut self) -> Self {
        self.no_proxy = true;
        self
    }

    /// The maximum size of a body in bytes, counted after decompression. Default 64 MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Text after `flagcache/<version>` in the User-Agent, to distinguish services in the logs of PostHog or a proxy.
    /// Default none.
    #[must_use]
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = suffix.into();
        self
    }

    /// Validates the configuration and builds the source. Sends nothing.
    ///
    /// # Errors
    ///
    /// If the project key is missing or is a secret key; if the file or the function of the secret key gives none; if the
    /// host is not a plain `http` or `https` URL; if a key or the suffix is not a valid header value; if a timeout or the
    /// maximum size is zero; if `root_certificates` holds no certificate. With a secret key also if the proxy of the
    /// environment cannot be used, and if there are no root certificates for an `https` host.
    pub fn build(self) -> Result<PostHogApi, PostHogApiError> {
        let endpoint = Endpoint::parse(&self.host)?;
        let project_key = trimmed(self.project_key).ok_or(PostHogApiError::MissingProjectKey)?;
        if ["phs_", "phx_"]
            .iter()
            .any(|prefix| project_key.expose_secret().starts_with(prefix))
        {
            return Err(PostHogApiError::SecretKeyAsProjectKey);
        }
        if self.request_timeout.is_zero() {
            return Err(PostHogApiError::ZeroLimit("request_timeout"));
        }
        let connect_timeout = self.connect_timeout.unwrap_or(self.request_timeout / 2);
        if connect_timeout.is_zero() {
            return Err(PostHogApiError::ZeroLimit("connect_timeout"));
        }
        if self.max_body_bytes == 0 {
            return Err(PostHogApiError::ZeroLimit("max_body_bytes"));
        }
        let user_agent = format!(
            "flagcache/{} {}",
            env!("CARGO_PKG_VERSION"),
            self.user_agent_suffix
        );
        let user_agent = HeaderValue::try_from(user_agent.trim())
            .map_err(|_| PostHogApiError::InvalidUserAgent)?;
        let root_certificates = self
            .root_certificates
            .as_deref()
            .map(roots::parse)
            .transpose()?;
        let own_roots = root_certificates.is_some();
        let client = match self.secret_key {
            Some(origin) => {
                let secret_key = SecretKey::new(origin, project_key.clone())?;
                let route = if self.no_proxy {
                    Route::Direct
                } else {
                    Route::of(&endpoint, std::env::var)?
                };
                let connection = Connection {
                    route: route.clone(),
                    connect_timeout,
                    own_roots,
                };
                let options = client::Options {
                    user_agent,
                    connect_timeout,
                    root_certificates,
                    route,
                };
                Some(Client {
                    http: client::build(&endpoint, options)?,
                    secret_key: Arc::new(secret_key),
                    connection,
                    kept_alive: false.into(),
                })
            }
            None => None,
        };
        Ok(PostHogApi {
            endpoint: Arc::new(endpoint),
            project_key,
            client: client.map(Arc::new),
            request_timeout: self.request_timeout,
            max_body_bytes: self.max_body_bytes,
        })
    }

    /// The environment, with `lookup` in place of `std::env::var`.
    pub(super) fn from_variables(
        lookup: impl Fn(&'static str) -> Result<String, VarError>,
    ) -> Result<Self, PostHogApiError> {
        let variable = |name| match lookup(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(PostHogApiError::NotUnicode(name)),
        };
        let value = variable("POSTHOG_SECRET_KEY")?
            .map(SecretString::from)
            .map(KeyOrigin::Value);
        let file = variable("POSTHOG_SECRET_KEY_FILE")?.map(|path| KeyOrigin::File(path.into()));
        let secret_key = file.or(value);
        Ok(Self {
            host: variable("POSTHOG_HOST")?.unwrap_or_else(|| DEFAULT_HOST.to_owned()),
            project_key: variable("POSTHOG_PROJECT_KEY")?.map(SecretString::from),
            secret_key,
            ..Self::default()
        })
    }
}

impl fmt::Debug for PostHogApiBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The host is not validated yet and may contain a password.
        f.debug_struct("PostHogApiBuilder")
            .field("host", &format_args!("[…]"))
            .field(
                "project_key",
                &self.project_key.as_ref().map(|_| format_args!("[…]")),
            )
            .field(
                "secret_key",
                &self.secret_key.as_ref().map(|_| format_args!("[…]")),
            )
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("root_certificates", &self.root_certificates.is_some())
            .field("no_proxy", &self.no_proxy)
            .field("user_agent_suffix", &self.user_agent_suffix)
            .finish()
    }
}

/// A key without surrounding white space; `None` if nothing is left.
fn trimmed(key: Option<SecretString>) -> Option<SecretString> {
    let key = key?;
    let trimmed = key.expose_secret().trim();
    (!trimmed.is_empty()).then(|| SecretString::from(trimmed))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{FlagDefinitionSource, KeyFingerprint, ProjectFingerprint};

    fn build(
        configure: impl FnOnce(PostHogApiBuilder) -> PostHogApiBuilder,
    ) -> Result<PostHogApi, PostHogApiError> {
        configure(PostHogApi::builder().host("http://a").project_key("phc_a")).build()
    }

    fn from_variables(variables: &[(&'static str, &str)]) -> Result<PostHogApi, PostHogApiError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        PostHogApiBuilder::from_variables(|name| {
            variables
                .get(name)
                .map(|value| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        })?
        .build()
    }

    #[test]
    fn b1_11_absent_empty_and_blank_secret_keys_make_a_reader() {
        assert!(!build(|api| api).unwrap().can_fetch());
        for key in ["", " ", "\t\r\n"] {
            assert!(
                !build(|api| api.secret_key(key)).unwrap().can_fetch(),
                "{key:?}"
            );
        }
        assert!(build(|api| api.secret_key("phs_a\n")).unwrap().can_fetch());
    }

    #[test]
    fn b2_32_secret_keys_are_refused_as_project_key() {
        for key in ["phs_a", "phx_a", " phs_a"] {
            let error = build(|api| api.project_key(key)).unwrap_err();
            assert!(
                matches!(error, PostHogApiError::SecretKeyAsProjectKey),
                "{key:?}: {error:?}"
            );
        }
    }

    #[test]
    fn a_secret_key_that_cannot_be_read_at_first_is_an_error_that_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let error = build(|api| api.secret_key_file(&path)).unwrap_err();
        assert!(error.to_string().contains("key"), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
        std::fs::write(&path, " \n").unwrap();
        let error = build(|api| api.secret_key_file(&path)).unwrap_err();
        assert!(
            matches!(error, PostHogApiError::UnreadableSecretKey { .. }),
            "{error:?}"
        );
        std::fs::write(&path, "phs_hidden\n").unwrap();
        let api = build(|api| api.secret_key_file(&path)).unwrap();
        assert_eq!(
            api.key_fingerprint(),
            Some(KeyFingerprint::of("phc_a", "phs_hidden"))
        );
        assert!(!format!("{api:?}").contains("hidden"));
        let api = from_variables(&[
            ("POSTHOG_HOST", "http://a"),
            ("POSTHOG_PROJECT_KEY", "phc_a"),
            ("POSTHOG_SECRET_KEY", "phs_other"),
            ("POSTHOG_SECRET_KEY_FILE", path.to_str().unwrap()),
        ])
        .unwrap();
        assert_eq!(
            api.key_fingerprint(),
            Some(KeyFingerprint::of("phc_a", "phs_hidden"))
        );
    }

    #[test]
    fn a_project_key_is_required() {
        assert!(matches!(
            PostHogApi::builder().build(),
            Err(PostHogApiError::MissingProjectKey)
        ));
        assert!(matches!(
            build(|api| api.project_key(" \n")),
            Err(PostHogApiError::MissingProjectKey)
        ));
        assert!(matches!(
            from_variables(&[]),
            Err(PostHogApiError::MissingProjectKey)
        ));
    }

    #[test]
    fn what_no_request_could_carry_is_refused() {
        assert!(matches!(
            build(|api| api.secret_key("phs_a\nb")),
            Err(PostHogApiError::InvalidSecretKey)
        ));
        assert!(matches!(
            build(|api| api.user_agent_suffix("a\r\nb")),
            Err(PostHogApiError::InvalidUserAgent)
        ));
        assert!(matches!(
            build(|api| api.request_timeout(Duration::ZERO)),
            Err(PostHogApiError::ZeroLimit(_))
        ));
        assert!(matches!(
            build(|api| api.connect_timeout(Duration::ZERO)),
            Err(PostHogApiError::ZeroLimit(_))
        ));
        assert!(matches!(
            build(|api| api.max_body_bytes(0)),
            Err(PostHogApiError::ZeroLimit(_))
        ));
    }

    #[test]
    fn b9_71_invalid_root_certificates_are_refused_and_named() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases: [(&[u8], &str); 6] = [
            (b"", "given empty"),
            (b" \n", "given empty"),
            (b"/etc/ssl/ca.pem", "text without a certificate"),
            (key.as_bytes(), "a private key"),
            (&[0x30, 0x82, 1, 2, 3], "DER"),
            (damaged.as_bytes(), "a certificate that cannot be read"),
        ];
        for (given, named) in cases {
            let error = build(|api| api.root_certificates(given)).unwrap_err();
            assert!(
                matches!(error, PostHogApiError::RootCertificates(_)),
                "{error:?}"
            );
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn the_environment_gives_host_and_keys() {
        let api = from_variables(&[
            ("POSTHOG_HOST", "http://a:1/"),
            ("POSTHOG_PROJECT_KEY", "phc_a\n"),
            ("POSTHOG_SECRET_KEY", "phs_a"),
        ])
        .unwrap();
        assert_eq!(api.endpoint.name(), "a:1");
        assert_eq!(api.project(), Some(ProjectFingerprint::of("phc_a")));
        assert!(api.can_fetch());
    }

    #[test]
    fn b1_11_blank_variables_count_as_absent() {
        let api = from_variables(&[
            ("POSTHOG_HOST", ""),
            ("POSTHOG_PROJECT_KEY", "phc_a"),
            ("POSTHOG_SECRET_KEY", " "),
        ])
        .unwrap();
        assert_eq!(api.endpoint.name(), "us.i.posthog.com");
        assert!(!api.can_fetch());
    }

    #[test]
    fn a_variable_that_is_no_text_is_named() {
        let error = PostHogApiBuilder::from_variables(|name| match name {
            "POSTHOG_SECRET_KEY" => Err(VarError::NotUnicode("phs_hidden".into())),
            _ => Ok("phc_a".to_owned()),
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable POSTHOG_SECRET_KEY is not valid Unicode"
        );
    }

    #[test]
    fn b2_32_debug_shows_no_key() {
        let builder = PostHogApi::builder()
            .host("http://phs_a@b")
            .project_key("phc_hidden")
            .secret_key("phs_hidden");
        let shown = format!("{builder:?}");
        assert!(
            !shown.contains("hidden") && !shown.contains("phs_a"),
            "{shown}"
        );
        let api = build(|api| api.project_key("phc_hidden").secret_key("phs_hidden")).unwrap();
        let shown = format!(
            "{api:?} {:?}",
            api.client
                .as_ref()
                .map(|client| (&client.http, &client.connection))
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }
}

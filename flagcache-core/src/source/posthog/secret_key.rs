//! [`SecretKey`]: the secret key, which is read again if it comes from a file or a function.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::error::PostHogApiError;
use crate::KeyFingerprint;
use crate::poller::observer::TARGET;
use crate::reloadable::{Reload, Reloadable, read_secret_file};
use crate::text::{chain, escaped};

type BoxError = Box<dyn Error + Send + Sync>;

/// Where the secret key comes from.
#[derive(Clone)]
pub(super) enum KeyOrigin {
    /// It never changes.
    Value(SecretString),
    File(PathBuf),
    Function(Arc<dyn Fn() -> Result<String, BoxError> + Send + Sync>),
}

impl KeyOrigin {
    /// Reads the key. May block.
    fn read(&self) -> Result<SecretString, BoxError> {
        let text = match self {
            Self::Value(key) => return Ok(key.clone()),
            Self::File(path) => Zeroizing::new(read_secret_file(path)?),
            Self::Function(read) => Zeroizing::new(read()?),
        };
        match text.trim() {
            "" => Err("it is empty".into()),
            key => Ok(SecretString::from(key)),
        }
    }

    /// For logs and errors.
    fn name(&self) -> String {
        match self {
            Self::Value(_) => "`secret_key`".to_owned(),
            Self::File(path) => escaped(&format!("the file {}", path.display())).into_owned(),
            Self::Function(_) => "the function of `secret_key_fn`".to_owned(),
        }
    }
}

/// A key that was read.
#[derive(Clone)]
pub(super) struct HeldKey {
    /// The value of the header `Authorization`, marked as sensitive, so that it is hidden wherever headers are printed.
    pub(super) header: HeaderValue,
    pub(super) fingerprint: KeyFingerprint,
}

impl HeldKey {
    fn new(project_key: &SecretString, key: &SecretString) -> Result<Self, PostHogApiError> {
        let bearer = Zeroizing::new(format!("Bearer {}", key.expose_secret()));
        let mut header = HeaderValue::try_from(bearer.as_str())
            .map_err(|_| PostHogApiError::InvalidSecretKey)?;
        header.set_sensitive(true);
        Ok(Self {
            header,
            fingerprint: KeyFingerprint::of(project_key.expose_secret(), key.expose_secret()),
        })
    }
}

impl PartialEq for HeldKey {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header
    }
}

/// The secret key of a source, read before each request and after a refusal.
pub(super) struct SecretKey {
    origin: KeyOrigin,
    key: Reloadable<HeldKey>,
}

impl SecretKey {
    /// Reads the key for the first time.
    pub(super) fn new(
        origin: KeyOrigin,
        project_key: SecretString,
    ) -> Result<Self, PostHogApiError> {
        let source = origin.clone();
        let read = move || Ok(HeldKey::new(&project_key, &source.read()?)?);
        let key =
            Reloadable::new(read).map_err(|error| match error.downcast::<PostHogApiError>() {
                Ok(error) => *error,
                Err(source) => PostHogApiError::UnreadableSecretKey {
                    origin: origin.name(),
                    source,
                },
            })?;
        Ok(Self { origin, key })
    }

    /// The key of the last read that succeeded.
    pub(super) fn held(&self) -> HeldKey {
        self.key.held()
    }

    /// Reads the key again; if that fails or takes longer than `limit`, the last one is kept.
    pub(super) async fn read_again(&self, limit: Duration) -> HeldKey {
        if let KeyOrigin::Value(_) = self.origin {
            return self.held();
        }
        match self.key.reload(limit).await {
            Reload::Read {
                replaced,
                recovered,
            } if replaced || recovered => tracing::info!(
                name: "flagcache.key_read",
                target: TARGET,
                origin = self.origin.name(),
                replaced,
                "the secret key was read"
            ),
            Reload::Failed(error) => tracing::warn!(
                name: "flagcache.key_unreadable",
                target: TARGET,
                origin = self.origin.name(),
                error = chain(&*error),
                "the secret key cannot be read; the last one stays in use"
            ),
            Reload::Read { .. } | Reload::FailedAgain => {}
        }
        self.held()
    }
}

//! [`SecretKey`]: the secret key, which is read again if it comes from a file or a function.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::error::PostHogApiError;
use crate::KeyFingerprint;
use crate::poller::observer::TARGET;
use crate::text::{chain, escaped};

type BoxError = Box<dyn Error + Send + Sync>;

/// Longer than any key. Bounds the read, so that a wrong path cannot fill the memory.
const LONGEST_FILE: u64 = 64 * 1024;

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
            Self::File(path) => {
                let mut text = Zeroizing::new(String::new());
                let size = File::open(path)?
                    .take(LONGEST_FILE)
                    .read_to_string(&mut text)?;
                if size as u64 == LONGEST_FILE {
                    return Err("it is too large for a key".into());
                }
                text
            }
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

/// The secret key of a source. It is read before each request and after a refusal, not watched: a read costs
/// microseconds, sees a file that was written in place as well as one that was replaced by a rename or through a
/// symbolic link, as in Kubernetes, and misses no change.
pub(super) struct SecretKey {
    origin: KeyOrigin,
    project_key: SecretString,
    held: Mutex<HeldKey>,
    /// Whether the last read failed, which was logged.
    failed: Mutex<bool>,
    /// Held during a read, so that a read that hangs blocks only one thread.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl SecretKey {
    /// Reads the key for the first time.
    pub(super) fn new(
        origin: KeyOrigin,
        project_key: SecretString,
    ) -> Result<Self, PostHogApiError> {
        let key = origin
            .read()
            .map_err(|source| PostHogApiError::UnreadableSecretKey {
                origin: origin.name(),
                source,
            })?;
        let held = HeldKey::new(&project_key, &key)?;
        Ok(Self {
            origin,
            project_key,
            held: Mutex::new(held),
            failed: Mutex::new(false),
            reading: Arc::default(),
        })
    }

    /// The key of the last read that succeeded.
    pub(super) fn held(&self) -> HeldKey {
        self.held.lock().clone()
    }

    /// Reads the key again; if that fails or takes longer than `limit`, the last one is kept.
    pub(super) async fn read_again(self: &Arc<Self>, limit: Duration) -> HeldKey {
        if let KeyOrigin::Value(_) = self.origin {
            return self.held();
        }
        let this = Arc::clone(self);
        let read = async {
            let reading = Arc::clone(&this.reading).lock_owned().await;
            let reads = move || {
                let key = this.origin.read()?;
                let held = HeldKey::new(&this.project_key, &key)?;
                drop(reading);
                Ok(held)
            };
            tokio::task::spawn_blocking(reads).await
        };
        let result = match tokio::time::timeout(limit, read).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the function panicked".into()),
            Err(_) => Err(BoxError::from(format!("it took longer than {limit:?}"))),
        };
        self.take(result);
        self.held()
    }

    fn take(&self, result: Result<HeldKey, BoxError>) {
        let failed = mem::replace(&mut *self.failed.lock(), result.is_err());
        match result {
            Ok(read) => {
                let before = mem::replace(&mut *self.held.lock(), read.clone());
                if failed || before.header != read.header {
                    tracing::info!(
                        name: "flagcache.key_read",
                        target: TARGET,
                        origin = self.origin.name(),
                        replaced = before.header != read.header,
                        "the secret key was read"
                    );
                }
            }
            Err(error) if !failed => tracing::warn!(
                name: "flagcache.key_unreadable",
                target: TARGET,
                origin = self.origin.name(),
                error = chain(&*error),
                "the secret key cannot be read; the last one stays in use"
            ),
            Err(_) => {}
        }
    }
}

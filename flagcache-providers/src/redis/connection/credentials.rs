//! [`Credentials`]: a user and a password that may be replaced while the store is in use.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ConnectionInfo, ErrorKind, RedisError};
use secrecy::{ExposeSecret, SecretString};

pub(in crate::redis) type BoxError = Box<dyn Error + Send + Sync>;

/// What a function of the user returns: the ACL user, if it is not that of the URL, and the password.
pub(in crate::redis) type Function =
    dyn Fn() -> Result<(Option<String>, String), BoxError> + Send + Sync;

/// Longer than any password. Bounds the read, so that a wrong path cannot fill the memory.
const LONGEST_FILE: u64 = 64 * 1024;

/// Where user and password come from.
#[derive(Clone)]
pub(in crate::redis) enum Origin {
    /// A file with the password.
    PasswordFile(PathBuf),
    Function(Arc<Function>),
}

impl Origin {
    /// Reads them. May block.
    fn read(&self) -> Result<Login, BoxError> {
        let (username, password) = match self {
            Self::PasswordFile(path) => {
                let mut password = String::new();
                File::open(path)?
                    .take(LONGEST_FILE)
                    .read_to_string(&mut password)?;
                if password.len() as u64 == LONGEST_FILE {
                    return Err("it is too large for a password".into());
                }
                (None, password)
            }
            Self::Function(read) => read()?,
        };
        let password = SecretString::from(password);
        match password.expose_secret().trim_end_matches(['\r', '\n']) {
            "" => Err("the password is empty".into()),
            trimmed => Ok(Login {
                username,
                password: SecretString::from(trimmed),
            }),
        }
    }

    /// For logs and errors.
    pub(in crate::redis) fn name(&self) -> String {
        match self {
            Self::PasswordFile(path) => format!("the file {}", path.display())
                .escape_debug()
                .to_string(),
            Self::Function(_) => "the function of `credentials_fn`".to_owned(),
        }
    }
}

#[derive(Clone)]
struct Login {
    username: Option<String>,
    password: SecretString,
}

impl Login {
    fn is(&self, other: &Self) -> bool {
        self.username == other.username
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// User and password of a store that are read for each connection.
pub(in crate::redis) struct Credentials {
    origin: Origin,
    held: Mutex<Login>,
    /// Whether the last read failed, which was logged.
    failed: Mutex<bool>,
    /// Held during a read, so that a read that hangs blocks only one thread.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("origin", &self.origin.name())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads them for the first time.
    pub(in crate::redis) fn new(origin: Origin) -> Result<Self, BoxError> {
        let held = Mutex::new(origin.read()?);
        Ok(Self {
            origin,
            held,
            failed: Mutex::new(false),
            reading: Arc::default(),
        })
    }

    /// Reads them again; if that fails or takes longer than `limit`, the last ones are kept. Returns whether they have
    /// changed.
    pub(in crate::redis) async fn read_again(self: &Arc<Self>, limit: Duration) -> bool {
        let this = Arc::clone(self);
        let read = async {
            let reading = Arc::clone(&this.reading).lock_owned().await;
            let reads = move || {
                let _reading = reading;
                this.origin.read()
            };
            tokio::task::spawn_blocking(reads).await
        };
        let result = match tokio::time::timeout(limit, read).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the function panicked".into()),
            Err(_) => Err(BoxError::from(format!("it took longer than {limit:?}"))),
        };
        let failed = mem::replace(&mut *self.failed.lock(), result.is_err());
        match result {
            Ok(read) => !mem::replace(&mut *self.held.lock(), read.clone()).is(&read),
            Err(error) => {
                if !failed {
                    tracing::warn!(
                        origin = self.origin.name(),
                        %error,
                        "the credentials for Redis cannot be read; the last ones stay in use"
                    );
                }
                false
            }
        }
    }

    /// A connection to `server` with them.
    pub(in crate::redis) fn apply(&self, server: &ConnectionInfo) -> ConnectionInfo {
        let held = self.held.lock().clone();
        let mut settings = server
            .redis_settings()
            .clone()
            .set_password(held.password.expose_secret());
        if let Some(username) = held.username {
            settings = settings.set_username(username);
        }
        server.clone().set_redis_settings(settings)
    }
}

/// Whether the server rejects the user or the password, or demands them.
pub(in crate::redis) fn is_unauthenticated(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
}

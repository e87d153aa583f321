//! [`Credentials`]: a user and a password that may be replaced while the store is in use.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::macro_support::{Reload, Reloadable, read_secret_file};
use redis::{ConnectionInfo, ErrorKind, RedisError};
use secrecy::{ExposeSecret, SecretString};

pub(in crate::redis) type BoxError = Box<dyn Error + Send + Sync>;

/// What a function of the user returns: the ACL user, if it is not that of the URL, and the password.
pub(in crate::redis) type Function =
    dyn Fn() -> Result<(Option<String>, String), BoxError> + Send + Sync;

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
            Self::PasswordFile(path) => (None, read_secret_file(path)?),
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

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.username == other.username
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// User and password of a store, read for each connection.
pub(in crate::redis) struct Credentials {
    origin: Origin,
    login: Reloadable<Login>,
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
        let source = origin.clone();
        let login = Reloadable::new(move || source.read())?;
        Ok(Self { origin, login })
    }

    /// Reads them again; if that fails or takes longer than `limit`, the last ones are kept. Returns whether they have
    /// changed.
    pub(in crate::redis) async fn read_again(&self, limit: Duration) -> bool {
        match self.login.reload(limit).await {
            Reload::Read { replaced, .. } => replaced,
            Reload::Failed(error) => {
                tracing::warn!(
                    origin = self.origin.name(),
                    %error,
                    "the credentials for Redis cannot be read; the last ones stay in use"
                );
                false
            }
            Reload::FailedAgain => false,
        }
    }

    /// A connection to `server` with them.
    pub(in crate::redis) fn apply(&self, server: &ConnectionInfo) -> ConnectionInfo {
        let held = self.login.held();
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

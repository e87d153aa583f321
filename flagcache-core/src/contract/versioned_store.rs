//! The contract of a store with versions, of which flagcache makes a whole provider.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ProviderError;

/// Names one state of one key: what a write changed it to. Opaque to flagcache, which only compares it and gives it back.
///
/// A version must never return to a key, not even after the key was deleted. A counter of the server's, a revision or a
/// generation is right. A hash of the value is enough for flagcache, because it never writes the same leader record twice.
///
/// ```
/// use flagcache_core::Version;
///
/// let version = Version::from(42_i64);
/// assert_eq!(version.as_str(), "42");
/// assert_eq!(version.parse::<i64>(), Ok(42));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version as the number, or whatever else, that it was made from.
    ///
    /// # Errors
    /// If the text is not one.
    pub fn parse<T: FromStr>(&self) -> Result<T, T::Err> {
        self.0.parse()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Version {
    fn from(version: &str) -> Self {
        Self(version.into())
    }
}

impl From<String> for Version {
    fn from(version: String) -> Self {
        Self(version.into())
    }
}

macro_rules! version_from_number {
    ($($number:ty),+) => {
        $(impl From<$number> for Version {
            fn from(version: $number) -> Self {
                Self(version.to_string().into())
            }
        })+
    };
}

version_from_number!(i64, u64);

/// The state in which a key must be for a [write](VersionedStore::write) to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key exists and has this version.
    Version(Version),
}

impl Expected {
    /// The version, unless the key must be absent.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Absent => None,
            Self::Version(version) => Some(version),
        }
    }
}

impl From<Option<Version>> for Expected {
    fn from(version: Option<Version>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}

/// A value and the version that it has.
pub type VersionedValue = (Bytes, Version);

/// The answer of [`read_if_changed`](VersionedStore::read_if_changed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadIfChanged {
    /// The key still has the known version.
    Unchanged,
    /// The key is in another state: its present value, `None` if it does not exist.
    Changed(Option<VersionedValue>),
}

/// A key-value store that can write on condition of a version: all that flagcache needs to elect a leader, fence late
/// writes and share the definitions.
///
/// Write an implementation with `#[flag_cache_store]` on an inherent `impl` block; `Versioned`, in `flagcache-providers`,
/// makes providers of it. By hand, put [`#[async_trait]`](https://docs.rs/async-trait) on the implementation.
///
/// The keys are few, three or four for a service, of the form `posthog/flags/<service>/<name>`. Values are JSON: the leader
/// record is smaller than 1 KB, a copy of the definitions as large as they are.
///
/// Reads and writes of one key must be linearizable: a read that begins after a write has returned gives that write's value
/// or a later one. Never read from a replica that may lag. Futures must be cancel safe. A write whose future was dropped, or
/// that returned an error, may or may not have happened; flagcache reads the key again to find out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a versioned store",
    label = "not a versioned store",
    note = "put `#[flag_cache_store]` on an `impl {Self}` block that has the methods `read` and `write`"
)]
#[async_trait]
pub trait VersionedStore: Send + Sync + 'static {
    /// The value of `key` and its version; `None` if the key does not exist.
    ///
    /// An error must never look like a key that does not exist.
    async fn read(&self, key: &str) -> Result<Option<VersionedValue>, ProviderError>;

    /// Sets `key` to `value` if it is in the `expected` state, in one atomic step, and gives its new version. `None` if it is
    /// in another state; nothing was written then.
    async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
    ) -> Result<Option<Version>, ProviderError>;

    /// [`read`](Self::read) for a caller that knows the value of the version `known`. Implement it if the store can answer
    /// "unchanged" without moving the value: every worker looks at the leader record and at the copy at every tick.
    async fn read_if_changed(
        &self,
        key: &str,
        known: &Version,
    ) -> Result<ReadIfChanged, ProviderError> {
        let value = self.read(key).await?;
        Ok(match &value {
            Some((_, version)) if version == known => ReadIfChanged::Unchanged,
            _ => ReadIfChanged::Changed(value),
        })
    }

    /// Begins to watch `key` and calls [`changed.notify()`](ChangeNotifier::notify) whenever it is written, by anyone; `true`
    /// if the store can do that. Called once, inside a runtime; must return at once, so start a task or a thread here, and
    /// end it when [`changed.is_connected()`](ChangeNotifier::is_connected) is `false`.
    ///
    /// A key of its own: flagcache writes it after each change that other workers should see soon, and never when a lease is
    /// renewed. Notify after a reconnect too, since changes may have been missed. Notifications may be lost or come twice;
    /// workers also look at their ticks.
    fn watch(&self, key: &str, changed: ChangeNotifier) -> bool {
        let _ = (key, changed);
        false
    }
}

/// Passes notifications of a [watched](VersionedStore::watch) key on. Cheap to clone, usable from any thread, in or out of a
/// runtime. It keeps nothing alive.
#[derive(Clone)]
pub struct ChangeNotifier {
    listener: Weak<dyn Fn() + Send + Sync>,
}

impl ChangeNotifier {
    /// A notifier that calls `listener` for as long as that exists.
    pub fn new(listener: Weak<dyn Fn() + Send + Sync>) -> Self {
        Self { listener }
    }

    /// Notifies that the key may have changed. Never blocks.
    pub fn notify(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener();
        }
    }

    /// Whether anyone still listens. Stop watching when not.
    pub fn is_connected(&self) -> bool {
        self.listener.strong_count() > 0
    }
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNotifier")
            .field("is_connected", &self.is_connected())
            .finish()
    }
}

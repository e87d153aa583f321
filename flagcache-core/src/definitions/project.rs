//! [`ProjectFingerprint`]: identifies the project of definitions.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// Identifies the project that definitions belong to, without revealing its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProjectFingerprint(u64);

impl ProjectFingerprint {
    /// The fingerprint of a project key (`phc_…`).
    pub fn of(project_key: &str) -> Self {
        Self(xxh3_64(project_key.as_bytes()))
    }

    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ProjectFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectFingerprint({:016x})", self.0)
    }
}

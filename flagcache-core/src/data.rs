//! One immutable set of flag definitions.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Which project a set belongs to, without showing its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProjectFingerprint(u64);

impl ProjectFingerprint {
    /// The fingerprint of a project key (`phc_…`).
    pub fn of(project_key: &str) -> Self {
        Self(xxh3_64(project_key.as_bytes()))
    }
}

impl fmt::Debug for ProjectFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectFingerprint({:016x})", self.0)
    }
}

/// Why bytes are no set of flag definitions.
#[derive(Debug, Error)]
#[error("PLACEHOLDER")]
pub struct DataError {}

/// PLACEHOLDER
#[derive(Clone, Debug)]
pub struct FlagDefinitionCacheData {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raw: Bytes,
}

#[allow(missing_docs, clippy::todo, unused_variables)]
impl FlagDefinitionCacheData {
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, DataError> {
        Ok(Self { inner: Arc::new(Inner { raw: json.into() }) })
    }
    pub fn to_json(&self) -> Bytes {
        self.inner.raw.clone()
    }
    pub fn from_api_response(
        body: impl Into<Bytes>,
        etag: Option<&str>,
        fetched_at: SystemTime,
        project: Option<ProjectFingerprint>,
    ) -> Result<Self, DataError> {
        todo!()
    }
    pub fn etag(&self) -> Option<&str> {
        todo!()
    }
}

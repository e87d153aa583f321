//! [`Fingerprint`]: identifies a stored copy without transferring it.

use flagcache_core::{FlagDefinitionCacheData, HEAD_LEN};
use sha1_smol::Sha1;

/// The length of the head of a stored copy, which identifies it; the scripts read as much.
const HEAD: usize = 400;
const _: () = assert!(HEAD_LEN == HEAD);

/// The first member of a copy in our format; the tick script looks for the same.
const OWN: &[u8] = br#"{"_flagcache":"#;

/// Identifies a stored copy without transferring it: its length, and the digest of its head as the server computes it.
///
/// The digest, not the head, is transferred, so that a tick is as small for a long service name as for a short one. It
/// identifies a copy only in our format, whose head contains a fingerprint of all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Fingerprint {
    pub(in crate::redis) length: u64,
    pub(in crate::redis) digest: String,
    pub(in crate::redis) own: bool,
}

impl Fingerprint {
    /// The fingerprint of a copy in any format.
    pub(in crate::redis) fn of(copy: &[u8]) -> Self {
        Self::with(&copy[..copy.len().min(HEAD)], copy.len())
    }

    /// The fingerprint of the copy that is stored for `data`.
    pub(in crate::redis) fn of_data(data: &FlagDefinitionCacheData) -> Self {
        Self::with(&data.head(), data.json_len())
    }

    fn with(head: &[u8], length: usize) -> Self {
        Self {
            length: length as u64,
            digest: Sha1::from(head).hexdigest(),
            own: head.starts_with(OWN),
        }
    }
}

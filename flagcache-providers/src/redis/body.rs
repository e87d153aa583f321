//! Reading the body of the stored copy.

use bytes::Bytes;
use flagcache_core::ProviderError;

use super::call::Call;
use super::keys::Keys;
use super::link::Link;

const DOING: &str = "read the definitions";

/// The copy in the store, as far as its bytes go.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) link: &'a Link,
    pub(super) keys: &'a Keys,
}

impl Body<'_> {
    /// A body longer than this is worth reading in pieces of this length.
    ///
    /// A connection keeps the buffer of the largest answer that it ever had, so that a worker would hold a large set twice
    /// for good. Other calls have their turn between two pieces. And Redis closes a connection that listens for notices
    /// over an answer of more than 32 MB.
    pub(super) const PIECE: u64 = 1024 * 1024;

    /// All of it in one answer.
    pub(super) async fn at_once(self) -> Result<Option<Bytes>, ProviderError> {
        let value: Option<Vec<u8>> = self.link.run(DOING, Call::get(&self.keys.data)).await?;
        Ok(value.map(Bytes::from))
    }

    /// A body that was this long a moment ago. If it changes meanwhile, what comes out is neither the old one nor the new
    /// one; the caller has to see to that.
    pub(super) async fn in_pieces(self, length: u64) -> Result<Bytes, ProviderError> {
        let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        for from in (0..length).step_by(Self::PIECE as usize) {
            let last = (from + Self::PIECE).min(length) - 1;
            let piece: Vec<u8> = self.link.run(DOING, Call::range(&self.keys.data, from, last)).await?;
            body.extend_from_slice(&piece);
        }
        Ok(Bytes::from(body))
    }
}

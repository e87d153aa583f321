//! Reading the body of the stored copy.

use bytes::Bytes;
use flagcache_core::{ProviderError, ProviderErrorKind};

use super::connection::call::Call;
use super::connection::client::Client;
use super::keys::Keys;

const DOING: &str = "read the definitions";

/// The copy in the store, as far as its bytes go.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) client: &'a Client,
    pub(super) keys: &'a Keys,
}

impl Body<'_> {
    /// A body longer than this is worth reading in pieces of this length.
    ///
    /// A connection keeps the buffer of the largest answer that it ever had, so that a worker would hold a large set twice
    /// for good. Other calls have their turn between two pieces. And Redis closes a connection that listens for notifications
    /// over an answer of more than 32 MB.
    pub(super) const PIECE: u64 = 1024 * 1024;

    /// All of it in one answer.
    pub(super) async fn at_once(self) -> Result<Option<Bytes>, ProviderError> {
        let value: Option<Vec<u8>> = self.client.run(DOING, Call::get(&self.keys.data)).await?;
        Ok(value.map(Bytes::from))
    }

    /// How long it is now; 0 if there is none.
    pub(super) async fn length(self) -> Result<u64, ProviderError> {
        self.client.run(DOING, Call::length(&self.keys.data)).await
    }

    /// A body that was this long a moment ago. If it changes meanwhile, what comes out is neither the old one nor the new
    /// one; the caller has to see to that.
    pub(super) async fn in_pieces(self, length: u64) -> Result<Bytes, ProviderError> {
        let mut body = Vec::new();
        // A server that is out of its mind is no reason to end the process.
        let room = usize::try_from(length)
            .ok()
            .and_then(|length| body.try_reserve_exact(length).ok());
        room.ok_or_else(|| {
            let problem =
                format!("the server says that the stored copy has {length} bytes, which is more than fits in memory");
            ProviderError::new(ProviderErrorKind::InvalidData, problem)
        })?;
        for from in (0..length).step_by(Self::PIECE as usize) {
            let last = (from + Self::PIECE).min(length) - 1;
            let piece: Vec<u8> = self
                .client
                .run(DOING, Call::range(&self.keys.data, from, last))
                .await?;
            body.extend_from_slice(&piece);
            if (piece.len() as u64) < last + 1 - from {
                break;
            }
        }
        Ok(Bytes::from(body))
    }
}

//! Reads the body of the stored copy.

use bytes::Bytes;
use flagcache_core::{ProviderError, ProviderErrorKind};

use super::super::connection::call::Call;
use super::super::connection::client::Client;
use super::super::connection::keys::Keys;
use super::super::scripts::{self, Patches};

const DOING: &str = "read the definitions";

/// Access to the bytes of the stored copy.
#[derive(Clone, Copy)]
pub(in crate::redis) struct Body<'a> {
    pub(in crate::redis) client: &'a Client,
    pub(in crate::redis) keys: &'a Keys,
}

impl Body<'_> {
    /// Longer bodies are read in pieces of this length.
    ///
    /// A connection keeps a buffer of the size of its largest reply, so a worker would otherwise hold large definitions
    /// twice for good. Other calls can run between two pieces. And Redis closes a subscribed connection over a reply of
    /// more than 32 MB.
    pub(in crate::redis) const PIECE: u64 = 1024 * 1024;

    /// The whole body in one reply.
    pub(in crate::redis) async fn at_once(self) -> Result<Option<Bytes>, ProviderError> {
        let value: Option<Vec<u8>> = self.client.run(DOING, Call::get(&self.keys.data)).await?;
        Ok(value.map(Bytes::from))
    }

    /// The patches from the copy with this digest to the current one.
    pub(in crate::redis) async fn patches(self, from: &str) -> Result<Patches, ProviderError> {
        self.client
            .run("read the patches", scripts::patches(self.keys, from))
            .await
    }

    /// Its current length; 0 if there is no copy.
    pub(in crate::redis) async fn length(self) -> Result<u64, ProviderError> {
        self.client.run(DOING, Call::length(&self.keys.data)).await
    }

    /// A body that had this length a moment ago. If it changes meanwhile, the result may be a mixture; the caller must
    /// check it.
    pub(in crate::redis) async fn in_pieces(self, length: u64) -> Result<Bytes, ProviderError> {
        let mut body = Vec::new();
        // Uses `try_reserve`: an absurd length reported by the server must not abort the process.
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

//! [`Staging`]: sends a large copy in pieces.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Buf;
use flagcache_core::{FlagDefinitionCacheData, ProviderError, ProviderErrorKind};

use super::super::scripts::{self, StageReply};
use super::body::Body;

/// Shorter than what is read at once, because it is held several times.
const PIECE: usize = 512 * 1024;

/// Sends a large copy in pieces to a key of its own, from which the publish script takes it.
///
/// The redis crate holds what it sends three times, so a large copy that was sent in one call would take four times its
/// size in the leader. And other calls can run between two pieces, each of which has the response timeout.
#[derive(Debug, Default)]
pub(in crate::redis) struct Staging {
    warned: AtomicBool,
}

/// The result of [`Staging::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) enum Staged {
    /// The whole copy is at the staging key.
    All,
    /// It is to be sent with the publish script.
    None,
    /// The lock does not hold the token.
    Refused,
}

impl Staging {
    /// Stages the copy, of this length, if it is large.
    pub(in crate::redis) async fn stage(
        &self,
        token: &str,
        data: &FlagDefinitionCacheData,
        length: u64,
        body: Body<'_>,
    ) -> Result<Staged, ProviderError> {
        if length <= Body::PIECE {
            return Ok(Staged::None);
        }
        let staged = self.send(token, data, length, body).await;
        Ok(self.usable(staged, body)?.unwrap_or(Staged::None))
    }

    /// `None` if a call failed for another reason than the connection, such as a missing permission: the copy is then sent
    /// in one call. Warns, once until the next success.
    pub(in crate::redis) fn usable<T>(
        &self,
        result: Result<T, ProviderError>,
        body: Body<'_>,
    ) -> Result<Option<T>, ProviderError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ProviderErrorKind::Unavailable => Err(error),
            Err(error) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        key = body.keys.staging,
                        error = format!("{error:#}"),
                        "the copy is sent in one call, which takes more memory, because it cannot be sent in pieces"
                    );
                }
                Ok(None)
            }
        }
    }

    /// The copy was published from its pieces.
    pub(in crate::redis) fn succeeded(&self) {
        self.warned.store(false, Ordering::Relaxed);
    }

    async fn send(
        &self,
        token: &str,
        data: &FlagDefinitionCacheData,
        length: u64,
        body: Body<'_>,
    ) -> Result<Staged, ProviderError> {
        let [head, members, tail] = data.to_json_parts();
        let mut rest = head.chain(members).chain(tail);
        while rest.has_remaining() {
            let offset = length - rest.remaining() as u64;
            let piece = rest.copy_to_bytes(rest.remaining().min(PIECE));
            let call = scripts::stage(body.keys, token, offset, &piece, length);
            match body.client.run("store the definitions", call).await? {
                StageReply::Written => {}
                StageReply::Refused => return Ok(Staged::Refused),
                StageReply::Gone => return Ok(Staged::None),
            }
        }
        Ok(Staged::All)
    }
}

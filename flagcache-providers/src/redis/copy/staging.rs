//! [`Staging`]: sends a large copy in pieces.

use std::time::{Duration, Instant};

use bytes::Buf;
use flagcache_core::{FlagDefinitionCacheData, ProviderError, ProviderErrorKind};
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::scripts::{self, StageReply};
use super::body::Body;

/// Shorter than what is read at once, because it is held several times.
const PIECE: usize = 512 * 1024;

/// After a refusal, for this long each copy is sent in one call.
const PAUSE: Duration = Duration::from_secs(600);

/// Sends a large copy in pieces to a key of its own, from which the publish script takes it.
///
/// The redis crate holds what it sends three times, so a large copy that was sent in one call would take four times its
/// size in the leader. Each piece has the response timeout of its own, and other calls can run between two.
#[derive(Debug, Default)]
pub(in crate::redis) struct Staging {
    /// When the server last refused it, unless it has succeeded since.
    refused_at: Mutex<Option<Instant>>,
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
        let pauses = self
            .refused_at
            .lock()
            .is_some_and(|at| at.elapsed() < PAUSE);
        if length <= Body::PIECE || pauses {
            return Ok(Staged::None);
        }
        let staged = self.send(token, data, length, body).await;
        Ok(self.usable(staged, body)?.unwrap_or(Staged::None))
    }

    /// `None` if the server refused a call, as without a permission: the copy is then sent in one call. Warns, once until
    /// the next success.
    pub(in crate::redis) fn usable<T>(
        &self,
        result: Result<T, ProviderError>,
        body: Body<'_>,
    ) -> Result<Option<T>, ProviderError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            // Not all keys are at one node, as the staging key is new.
            Err(error) if is_try_again(&error) => return Ok(None),
            Err(error) if error.kind() == ProviderErrorKind::Unavailable => return Err(error),
            Err(error) => error,
        };
        if self.refused_at.lock().replace(Instant::now()).is_none() {
            tracing::warn!(
                key = body.keys.staging,
                error = format!("{error:#}"),
                "the copy is sent in one call, which takes more memory, because it cannot be sent in pieces"
            );
        }
        Ok(None)
    }

    /// A copy was published from its pieces.
    pub(in crate::redis) fn succeeded(&self) {
        *self.refused_at.lock() = None;
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
            let call = scripts::stage(body.keys, token, offset, &piece);
            match body.client.run("store the definitions", call).await? {
                StageReply::Written => {}
                StageReply::Refused => return Ok(Staged::Refused),
                StageReply::Gone => return Ok(Staged::None),
            }
        }
        Ok(Staged::All)
    }
}

/// Whether a cluster could not run a script because it is moving its keys.
fn is_try_again(error: &ProviderError) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<RedisError>())
        .is_some_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain))
}

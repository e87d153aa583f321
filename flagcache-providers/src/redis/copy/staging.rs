//! [`Staging`]: sends a large copy in pieces.

use std::time::{Duration, Instant};

use bytes::Buf;
use flagcache_core::{FlagDefinitionCacheData, ProviderError, ProviderErrorKind};
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::connection::call::Call;
use super::body::Body;

/// The length of a piece in bytes. Shorter than [`Body::PIECE`], because the redis crate holds a request three times.
const PIECE: usize = 256 * 1024;

const DOING: &str = "store the definitions";

/// The TTL of the staging key in milliseconds, from its last piece on.
const TTL: u32 = 60_000;

/// After a refusal, for this long each copy is sent in one call.
const PAUSE: Duration = Duration::from_secs(600);

/// Sends a large copy in pieces to a key of its own, from which the publish script takes it.
///
/// The redis crate holds what it sends three times, so a large copy that was sent in one call would take four times its
/// size in the leader. Each piece has the response timeout of its own, and other calls can run between two. Pieces are sent
/// with plain commands, because Redis's Lua hashes every byte of a script's arguments, which takes about as long as storing
/// them.
///
/// The lock does not protect the key. The length that APPEND returns shows that a piece is lost, or that a former leader
/// sends pieces too. If a former leader replaces the key by its first piece, the publish script finds the head of another
/// copy.
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
    /// Nothing that can be published: the copy is to be sent with the publish script.
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
        let is_paused = self
            .refused_at
            .lock()
            .is_some_and(|at| at.elapsed() < PAUSE);
        if length <= Body::PIECE || is_paused {
            return Ok(Staged::None);
        }
        let staged = self.send(token, data, body).await;
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
        Body { client, keys }: Body<'_>,
    ) -> Result<Staged, ProviderError> {
        let held: Option<Vec<u8>> = client.run(DOING, Call::get(&keys.lock)).await?;
        if held.as_deref() != Some(token.as_bytes()) {
            return Ok(Staged::Refused);
        }
        let [head, members, tail] = data.to_json_parts();
        let mut rest = head.chain(members).chain(tail);
        let mut length = 0;
        while rest.has_remaining() {
            let piece = rest.copy_to_bytes(rest.remaining().min(PIECE));
            let is_first = length == 0;
            length += piece.len() as u64;
            if is_first {
                let set = Call::set(&keys.staging, &piece, TTL);
                client.run::<()>(DOING, set).await?;
                continue;
            }
            // Sent together: APPEND to a missing key creates one without a TTL.
            let append = client.run::<u64>(DOING, Call::append(&keys.staging, &piece));
            let expire = client.run::<bool>(DOING, Call::expire(&keys.staging, TTL));
            let (stored, _) = tokio::try_join!(append, expire)?;
            if stored != length {
                return Ok(Staged::None);
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

//! [`Staging`]: sends a large copy in pieces.

use std::time::{Duration, Instant};

use bytes::Buf;
use flagcache_core::{FlagDefinitionCacheData, ProviderError, ProviderErrorKind};
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::connection::call::Call;
use super::body::Body;

/// Shorter than what is read at once, because it is held several times.
const PIECE: usize = 512 * 1024;

const DOING: &str = "store the definitions";

/// Seconds after which the server deletes what an abandoned publish leaves behind.
const TTL: u32 = 60;

/// After a refusal, for this long each copy is sent in one call.
const PAUSE: Duration = Duration::from_secs(600);

/// Sends a large copy in pieces to a key of its own, from which the publish script takes it.
///
/// The redis crate holds what it sends three times, so a large copy that was sent in one call would take four times its
/// size in the leader. Each piece has the response timeout of its own, and other calls can run between two. No script
/// handles a piece: Lua hashes each byte of a string, which takes as long as the rest of the publish.
///
/// The key is not protected by the lock. The server's answer to each piece says how much is there, so pieces that were lost,
/// or that a former leader sends meanwhile, are noticed; so is its first piece, which begins with the head of its own copy.
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
        let mut next = || rest.copy_to_bytes(rest.remaining().min(PIECE));
        let mut sent = next();
        let first = Call::set(&keys.staging, &sent, TTL);
        client.run::<()>(DOING, first).await?;
        let mut length = sent.len() as u64;
        loop {
            sent = next();
            if sent.is_empty() {
                return Ok(Staged::All);
            }
            length += sent.len() as u64;
            let appended = Call::append(&keys.staging, &sent);
            let there: u64 = client.run(DOING, appended).await?;
            if there != length {
                // Appended to nothing, it would never expire.
                let remove = Call::delete(&keys.staging);
                client.run::<()>(DOING, remove).await?;
                return Ok(Staged::None);
            }
        }
    }
}

/// Whether a cluster could not run a script because it is moving its keys.
fn is_try_again(error: &ProviderError) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<RedisError>())
        .is_some_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain))
}

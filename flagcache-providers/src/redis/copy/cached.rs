//! [`SharedCopy`]: the decoded copy that all pollers of one store share.

use parking_lot::Mutex;
use std::sync::Arc;

use bytes::Bytes;
use flagcache_core::{
    DataError, DataErrorKind, FlagDefinitionCacheData, Patch, PatchError, ProviderError,
    ProviderErrorKind,
};
use sha1_smol::Sha1;

use super::super::scripts::{Link, Patches};
use super::body::Body;
use super::fingerprint::Fingerprint;
use super::patching::Patching;

/// How often to retry reading a large copy in pieces if it changes meanwhile, before reading it in one.
const TRIES: u32 = 2;

/// A stored copy, and its decoded form.
#[derive(Debug)]
struct Held {
    fingerprint: Fingerprint,
    data: FlagDefinitionCacheData,
}

/// The last copy that this process read or stored.
#[derive(Debug)]
pub(in crate::redis) struct SharedCopy {
    held: Mutex<Option<Arc<Held>>>,
    /// Held while reading and decoding a copy, so that many pollers of one process read a change once.
    reading: tokio::sync::Mutex<()>,
    patching: Patching,
}

impl SharedCopy {
    pub(in crate::redis) fn new(uses_patches: bool) -> Self {
        Self {
            held: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            patching: Patching::new(uses_patches),
        }
    }

    /// The copy with this fingerprint: the cached one, or the result of `read`.
    pub(in crate::redis) async fn get(
        &self,
        seen: &Fingerprint,
        body: Body<'_>,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        if let Some(data) = self.find(seen) {
            return Ok(Some(data));
        }
        let _reading = self.reading.lock().await;
        // Another poller may have read it meanwhile.
        if let Some(data) = self.find(seen) {
            return Ok(Some(data));
        }
        if let Some(Held { fingerprint, data }) = self.read_patches(seen, body).await? {
            self.hold(fingerprint, data.clone());
            return Ok(Some(data));
        }
        if seen.own
            && seen.length > Body::PIECE
            && let Some(Held { fingerprint, data }) = self.read_in_pieces(seen, body).await?
        {
            self.hold(fingerprint, data.clone());
            return Ok(Some(data));
        }
        let Some(bytes) = body.at_once().await? else {
            return Ok(None);
        };
        let fingerprint = Fingerprint::of(&bytes);
        // Another SDK's copy is read every time, but decoded only if it has changed.
        if let Some(held) = self
            .held()
            .filter(|held| held.fingerprint == fingerprint && held.data.raw_json() == bytes)
        {
            return Ok(Some(held.data.clone()));
        }
        let data = self.decode(bytes).await?;
        self.hold(fingerprint, data.clone());
        Ok(Some(data))
    }

    /// The current copy, from the cached one and the patches. `None` if the whole copy must be read.
    async fn read_patches(
        &self,
        seen: &Fingerprint,
        body: Body<'_>,
    ) -> Result<Option<Held>, ProviderError> {
        let Some(held) = self.held().filter(|held| {
            held.fingerprint.own && seen.own && self.patching.is_worthwhile(seen.length)
        }) else {
            return Ok(None);
        };
        let reply = match body.patches(&held.fingerprint.digest).await {
            // The whole copy cannot be read either.
            Err(error) if error.kind() == ProviderErrorKind::Unavailable => return Err(error),
            Err(_) => return Ok(None),
            Ok(reply) => reply,
        };
        if let Patches::Refused(error) = &reply {
            self.patching.warn(&body.keys.patches, error);
            return Ok(None);
        }
        self.patching.clear();
        let Patches::Chain {
            length,
            digest,
            patches,
        } = reply
        else {
            return Ok(None);
        };
        match apply(patches, &held.data).await {
            Ok(found)
                if found.fingerprint.length == length && found.fingerprint.digest == digest =>
            {
                Ok(Some(found))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(
                    key = body.keys.patches,
                    error,
                    "the whole copy is read, because the patches to it cannot be applied"
                );
                Ok(None)
            }
        }
    }

    /// The link from the cached copy to `data`, whose fingerprint this is.
    pub(in crate::redis) fn link(
        &self,
        data: &FlagDefinitionCacheData,
        fingerprint: &Fingerprint,
    ) -> Option<Link> {
        let held = self.held().filter(|held| {
            held.fingerprint.own
                && held.fingerprint != *fingerprint
                && self.patching.is_worthwhile(fingerprint.length)
        })?;
        let patch = Patch::between(&held.data, data)?.encode();
        self.patching.fits(patch.len()).then(|| Link {
            from: held.fingerprint.digest.clone(),
            to: fingerprint.digest.clone(),
            patch,
        })
    }

    pub(in crate::redis) fn patching(&self) -> &Patching {
        &self.patching
    }

    /// Reads a large copy in our format, with its fingerprint. `None` if it is gone, was edited, or changed during each
    /// attempt.
    ///
    /// The head identifies the content: pieces of two copies are either not JSON or do not match the head.
    async fn read_in_pieces(
        &self,
        seen: &Fingerprint,
        body: Body<'_>,
    ) -> Result<Option<Held>, ProviderError> {
        let mut length = seen.length;
        for _ in 0..TRIES {
            let bytes = body.in_pieces(length).await?;
            let fingerprint = Fingerprint::of(&bytes);
            if !fingerprint.own {
                break;
            }
            match self.decode(bytes).await {
                Ok(data) if Sha1::from(data.head()).hexdigest() == fingerprint.digest => {
                    return Ok(Some(Held { fingerprint, data }));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        DataErrorKind::NewerSchema | DataErrorKind::OtherFeed
                    ) =>
                {
                    return Err(error.into());
                }
                _ => length = body.length().await?,
            }
        }
        Ok(None)
    }

    /// Decodes a copy, which probably differs little from the cached one.
    async fn decode(&self, bytes: Bytes) -> Result<FlagDefinitionCacheData, DataError> {
        let previous = self.held().map(|held| held.data.clone());
        FlagDefinitionCacheData::decode_after(bytes, previous.as_ref()).await
    }

    /// The fingerprint of the cached copy if it can stand for `data`: our format, the same content and the same ETag.
    pub(in crate::redis) fn stands_for(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Option<Fingerprint> {
        self.held()
            .filter(|held| {
                held.fingerprint.own
                    && held.data.etag() == data.etag()
                    && held.data.same_content(data)
            })
            .map(|held| held.fingerprint.clone())
    }

    fn find(&self, seen: &Fingerprint) -> Option<FlagDefinitionCacheData> {
        self.held()
            .filter(|held| seen.own && held.fingerprint == *seen)
            .map(|held| held.data.clone())
    }

    /// Remembers what was just read or stored.
    pub(in crate::redis) fn hold(&self, fingerprint: Fingerprint, data: FlagDefinitionCacheData) {
        let held = Held { fingerprint, data };
        *self.held.lock() = Some(Arc::new(held));
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().clone()
    }
}

/// Decodes the patches and applies them to `data`.
async fn apply(patches: Vec<Vec<u8>>, data: &FlagDefinitionCacheData) -> Result<Held, PatchError> {
    let patches = patches
        .into_iter()
        .map(Patch::decode)
        .collect::<Result<_, _>>()?;
    let data = Patch::apply_all(patches, data).await?;
    let fingerprint = Fingerprint::of_data(&data);
    Ok(Held { fingerprint, data })
}

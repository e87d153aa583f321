//! The ways in which a call can go wrong.

use std::time::Duration;

use flagcache_core::{FlagDefinitionCacheData, ProviderError, ProviderErrorKind};

/// What no decoder can take for a set of definitions: what a crash in the middle of a plain write leaves behind.
const GARBAGE: &[u8] = br#"{"flags":[{"key":"half-writt"#;

/// What goes wrong in a provider call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with an error of this kind.
    Error(ProviderErrorKind),
    /// The store holds half a set: real garbage went through
    /// [`from_json`](FlagDefinitionCacheData::from_json), and its error is what the call returns.
    Undecodable,
    /// The call panics at its first poll.
    Panic,
    /// The call never ends.
    Hang,
    /// The call goes its ordinary way, this much later.
    Slow(Duration),
}

impl Fault {
    /// Suffers the fault. Returns `Ok` only where the call then goes its ordinary way.
    pub(crate) async fn strike(self) -> Result<(), ProviderError> {
        match self {
            Self::Error(kind) => Err(ProviderError::new(kind, format!("injected fault: {kind}"))),
            Self::Undecodable => match FlagDefinitionCacheData::from_json(GARBAGE) {
                Ok(_) => Ok(()),
                Err(error) => Err(ProviderError::new(
                    ProviderErrorKind::InvalidData,
                    "injected fault: the stored copy is no set of definitions",
                )
                .with_source(error)),
            },
            Self::Panic => injected_panic(),
            Self::Hang => std::future::pending().await,
            Self::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
        }
    }
}

/// The panic of [`Fault::Panic`].
#[expect(
    clippy::panic,
    reason = "panicking is the fault that the test asked for"
)]
pub(crate) fn injected_panic() -> ! {
    panic!("injected fault: panic")
}

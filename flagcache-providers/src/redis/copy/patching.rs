//! [`Patching`]: when patches are used, and the warning if the server refuses them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::error;

/// A shorter copy is read whole.
const MIN_COPY: u64 = 4096;

/// The longest patch that is stored. The publish script applies the same limit to all patches together.
const MAX_PATCH: usize = 1024 * 1024;

/// Whether this process uses patches, and whether it has warned about them.
#[derive(Debug)]
pub(in crate::redis) struct Patching {
    is_on: bool,
    warned: AtomicBool,
}

impl Patching {
    pub(in crate::redis) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            warned: AtomicBool::default(),
        }
    }

    /// Whether a copy of this length may be patched.
    pub(in crate::redis) fn is_worthwhile(&self, length: u64) -> bool {
        self.is_on && length >= MIN_COPY
    }

    pub(in crate::redis) fn fits(&self, patch: usize) -> bool {
        patch <= MAX_PATCH
    }

    /// Warns that whole copies are used, once until the next success.
    pub(in crate::redis) fn warn(&self, key: &str, refusal: &str) {
        if self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let remedy = if error::is_about_permission(refusal) {
            format!("grant `~{key}`")
        } else {
            "delete the key if it has another type than hash".to_owned()
        };
        tracing::warn!(
            key,
            error = refusal,
            "each change transfers the whole copy, because the server refuses access to the patches: {remedy}"
        );
    }

    pub(in crate::redis) fn clear(&self) {
        self.warned.store(false, Ordering::Relaxed);
    }
}

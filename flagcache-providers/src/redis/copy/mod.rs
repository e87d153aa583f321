//! The stored copy: which one this process holds, and reading another.

pub(super) mod body;
pub(super) mod cached;
pub(super) mod fingerprint;
pub(super) mod patching;
pub(super) mod staging;

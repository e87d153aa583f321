//! [`FlagDefinitionCacheData`](snapshot::FlagDefinitionCacheData): one immutable snapshot of the API's JSON, its index, and its stored form.

pub(crate) mod compared;
pub(crate) mod diff;
pub(crate) mod error;
pub(crate) mod fingerprint;
pub(crate) mod flag;
pub(crate) mod incremental;
pub(crate) mod index;
pub(crate) mod patch;
pub(crate) mod patched;
pub(crate) mod piece_table;
pub(crate) mod project;
pub(crate) mod scan;
pub(crate) mod serde_form;
pub(crate) mod snapshot;
pub(crate) mod stored_form;

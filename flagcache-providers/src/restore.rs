//! When a store's copy is to be replaced by what its leader serves. The same rule for the embedded stores.

use flagcache_core::FlagDefinitionCacheData;

/// Whether the store already holds `data`: the flags, and the ETag that makes a successor's first request conditional.
pub(crate) fn is_same_copy(
    stored: &FlagDefinitionCacheData,
    data: &FlagDefinitionCacheData,
) -> bool {
    stored.same_content(data) && stored.etag() == data.etag()
}

/// Whether a leader that received no new set must put `data` in the place of `stored`.
///
/// What the API just confirmed always wins. After a failure the copy may be one that the last leader stored a moment ago
/// and that this one has not read yet: a younger copy of our project stays. One without a fetch time is another hand's.
pub(crate) fn must_replace(
    stored: &FlagDefinitionCacheData,
    data: &FlagDefinitionCacheData,
    data_was_confirmed: bool,
) -> bool {
    let is_younger = stored
        .fetched_at()
        .is_some_and(|stored| data.fetched_at().is_none_or(|ours| stored > ours));
    let is_ours = stored.project() == data.project();
    !is_same_copy(stored, data) && (data_was_confirmed || !is_ours || !is_younger)
}

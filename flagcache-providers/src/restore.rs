//! When a leader replaces the stored copy by what it serves; shared by the memory and the file store.

use flagcache_core::FlagDefinitionCacheData;

/// Whether the store already holds `data`: the same flags, and the ETag that makes a successor's first request
/// conditional.
pub(crate) fn is_same_copy(
    stored: &FlagDefinitionCacheData,
    data: &FlagDefinitionCacheData,
) -> bool {
    stored.same_content(data) && stored.etag() == data.etag()
}

/// Whether a leader that received no new definitions must replace `stored` by `data`.
///
/// Definitions that the API just confirmed always replace it. After a failure the stored copy may be one that the
/// previous leader stored a moment ago and this one has not read yet: a newer copy of our project stays. A copy without
/// a fetch time was not written by flagcache.
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

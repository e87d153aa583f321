//! When a leader replaces the stored copy by what it serves: one rule for all stores.

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
/// a fetch time was not written by flagcache, and does not count as newer.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use flagcache_core::ProjectFingerprint;

    use super::*;

    fn fetched(key: &str, etag: &str, after_secs: u64, project: &str) -> FlagDefinitionCacheData {
        FlagDefinitionCacheData::from_api_response(
            format!(r#"{{"flags":[{{"key":"{key}"}}]}}"#),
            Some(etag),
            SystemTime::UNIX_EPOCH + Duration::from_secs(after_secs),
            Some(ProjectFingerprint::of(project)),
        )
        .unwrap()
    }

    #[test]
    fn b8_63_only_a_newer_copy_of_our_project_stays_after_a_failure() {
        let ours = fetched("a", "1", 100, "phc_ours");
        let foreign = FlagDefinitionCacheData::from_json(r#"{"flags":[{"key":"b"}]}"#).unwrap();
        let stored = [
            ("newer", fetched("b", "2", 101, "phc_ours"), false),
            ("older", fetched("b", "2", 99, "phc_ours"), true),
            (
                "fetched at the same time",
                fetched("b", "2", 100, "phc_ours"),
                true,
            ),
            (
                "newer, of another project",
                fetched("b", "2", 101, "phc_other"),
                true,
            ),
            ("without a fetch time", foreign, true),
            (
                "newer, with another ETag",
                fetched("a", "2", 101, "phc_ours"),
                false,
            ),
            (
                "the same, fetched earlier",
                fetched("a", "1", 1, "phc_ours"),
                false,
            ),
        ];
        for (name, stored, replaced) in stored {
            assert_eq!(must_replace(&stored, &ours, false), replaced, "{name}");
            let differs = !is_same_copy(&stored, &ours);
            assert_eq!(
                must_replace(&stored, &ours, true),
                differs,
                "{name}, confirmed"
            );
        }
    }
}

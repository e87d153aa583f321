//! Describes what is wrong with a copy.

use flagcache_core::{FlagDefinitionCacheData, ProviderError};

const REMEDY: &str = "store what `to_json` gives, and read it by `from_json`";

/// What distinguishes the copy that the store gives from `expected`, in definitions or ETag; `None` if nothing does.
pub(super) fn difference(
    copy: Option<&FlagDefinitionCacheData>,
    expected: &FlagDefinitionCacheData,
) -> Option<String> {
    let Some(copy) = copy else {
        return Some(format!(
            "the store gives nothing in place of {}",
            named(expected)
        ));
    };
    if !copy.same_content(expected) {
        return Some(format!(
            "the store gives {} in place of {}",
            named(copy),
            named(expected)
        ));
    }
    lost("ETag", copy.etag(), expected.etag())
}

/// Which metadata was lost.
pub(super) fn metadata_difference(
    copy: Option<&FlagDefinitionCacheData>,
    expected: &FlagDefinitionCacheData,
) -> Option<String> {
    let Some(copy) = copy else {
        return difference(None, expected);
    };
    lost("ETag", copy.etag(), expected.etag())
        .or_else(|| lost("fetch time", copy.fetched_at(), expected.fetched_at()))
        .or_else(|| lost("project", copy.project(), expected.project()))
}

/// A copy, or the lack of one, for a message that says that it should not be there.
pub(super) fn answer(answer: &Result<Option<FlagDefinitionCacheData>, ProviderError>) -> String {
    match answer {
        Ok(Some(copy)) => named(copy),
        Ok(None) => "`None` (an empty store)".to_owned(),
        Err(error) => format!("the error \"{error}\""),
    }
}

fn lost<T: PartialEq>(what: &str, found: Option<T>, expected: Option<T>) -> Option<String> {
    match (found, expected) {
        (found, expected) if found == expected => None,
        (None, _) => Some(format!("the {what} was lost: {REMEDY}")),
        _ => Some(format!("the {what} was changed: {REMEDY}")),
    }
}

/// A set of definitions by its first flag and its size.
fn named(data: &FlagDefinitionCacheData) -> String {
    let bytes = data.raw_json().len();
    match data.flags().next() {
        Some(flag) if data.len() == 1 => format!("the set of `{}` ({bytes} bytes)", flag.key()),
        Some(flag) => format!(
            "the set of {} flags from `{}` on ({bytes} bytes)",
            data.len(),
            flag.key()
        ),
        None => format!("a set without flags ({bytes} bytes)"),
    }
}

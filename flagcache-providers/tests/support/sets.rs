//! The definitions that the tests of the stores use.
#![allow(
    dead_code,
    reason = "each test binary compiles its own copy, and not each uses all"
)]

use std::time::{Duration, SystemTime};

use flagcache_core::FlagDefinitionCacheData;

/// Definitions with one flag, fetched `age` seconds before some moment.
pub(crate) fn fetched(key: &str, etag: &str, age: u64) -> FlagDefinitionCacheData {
    let body =
        format!(r#"{{"flags":[{{"key":"{key}"}}],"group_type_mapping":{{}},"cohorts":{{}}}}"#);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 - age);
    FlagDefinitionCacheData::from_api_response(body, Some(etag), at, None).unwrap()
}

/// Definitions without metadata, as another program would store them.
pub(crate) fn foreign() -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#)
        .unwrap()
}

//! Distinguishable definitions.

use std::time::{Duration, SystemTime};

use flagcache::FlagDefinitionCacheData;

/// An API body with one flag of this key.
pub(crate) fn body(key: &str) -> String {
    format!(
        r#"{{"flags":[{{"key":"{key}","active":true}}],"group_type_mapping":{{}},"cohorts":{{}}}}"#
    )
}

/// The set of [`body`] as a leader stored it: with an ETag and the time of its fetch.
pub(crate) fn stored(key: &str, etag: &str) -> FlagDefinitionCacheData {
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    FlagDefinitionCacheData::from_api_response(body(key), Some(etag), fetched_at, None).unwrap()
}

/// The set of [`body`] without metadata, as another SDK stores it.
pub(crate) fn foreign(key: &str) -> FlagDefinitionCacheData {
    set(&body(key))
}

pub(crate) fn set(json: &str) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(json.to_owned()).unwrap()
}

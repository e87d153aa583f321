//! The set of flag definitions: what is taken in, what is refused, how it is stored and compared.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows the test functions, not the helpers beside them"
)]

mod compare;
mod error;
mod members;
mod patch;
mod properties;
mod serde_form;
mod stored_form;

use std::time::{Duration, SystemTime};

use flagcache_core::{FlagDefinitionCacheData, ProjectFingerprint};

/// An API body as PostHog writes it, with members that this release does not know.
const BODY: &str = concat!(
    r#"{"flags": [{"id": 9007199254740993, "key": "checkout", "active": true, "filters": {"groups": [{"rollout_percentage": 33.330000000000000001}]}}, "#,
    r#"{"key": "b\u00e9ta", "filters": {"x_new": {"deep": [1e400, -0.0, "\ud83d\ude00"]}}}], "#,
    r#""group_type_mapping": {"0": "company"}, "cohorts": {"7": {"type": "AND", "values": []}}, "#,
    r#""minimal_flag_called_events": true, "property_matching_version": 2, "quota": 18446744073709551615, "ünknown": [0.1]}"#,
);

fn set(json: &str) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(json.to_owned()).unwrap()
}

fn api(json: &str, etag: Option<&str>) -> FlagDefinitionCacheData {
    let project = Some(ProjectFingerprint::of("phc_test"));
    FlagDefinitionCacheData::from_api_response(json.to_owned(), etag, fetched_at(), project)
        .unwrap()
}

fn fetched_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_760_000_000_123)
}

fn stored_text(set: &FlagDefinitionCacheData) -> String {
    String::from_utf8(set.to_json().to_vec()).unwrap()
}

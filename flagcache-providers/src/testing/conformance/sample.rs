//! Sets of definitions to store.

use std::time::{Duration, SystemTime};

use flagcache_core::{FlagDefinitionCacheData, ProjectFingerprint};

/// What typed models and other JSON readers lose: unknown members on every level, 64-bit integers, fractions that no `f64`
/// prints back, escapes, member order, space.
const RICH: &str = r#"{"zebra": {"unknown": [1, 2.50, null]},
  "flags": [
    {"key": "rollout", "id": 9223372036854775807, "active": true, "_future": {"deep": [18446744073709551615]},
     "filters": {"groups": [{"rollout_percentage": 33.333333333333333333}], "payloads": {"true": "{\"a\": 1}"}}},
    {"key": "schl\u00fcssel", "active": false}
  ],
  "group_type_mapping": {"0": "organization"}, "cohorts": {"7": {"type": "OR", "values": []}},
  "property_matching_version": 2, "minimal_flag_called_events": true, "alpha": -0.0}"#;

/// When the samples were fetched, in whole milliseconds as the stored form keeps it.
const FETCHED_AT: Duration = Duration::from_millis(1_800_000_000_123);

/// A set with everything that a careless store loses.
pub(super) fn rich() -> FlagDefinitionCacheData {
    fetched(RICH.to_owned(), "W/\"rich-1\"", Duration::ZERO)
}

/// A small set: number `number` of a series, each fetched a second after the one before.
pub(super) fn numbered(number: u64) -> FlagDefinitionCacheData {
    let body = format!(
        r#"{{"flags":[{{"key":"flag-{number}"}}],"group_type_mapping":{{}},"cohorts":{{}}}}"#
    );
    fetched(body, &format!("\"{number}\""), Duration::from_secs(number))
}

/// A set of about `kilobytes` whose content says `number` throughout.
pub(super) fn large(number: u64, kilobytes: usize) -> FlagDefinitionCacheData {
    let flag = |index| {
        format!(
            r#"{{"key":"flag-{number}-{index}","filler":"{}"}}"#,
            "x".repeat(900)
        )
    };
    let flags: Vec<String> = (0..kilobytes).map(flag).collect();
    let body = format!(
        r#"{{"flags":[{}],"group_type_mapping":{{}},"cohorts":{{}}}}"#,
        flags.join(",")
    );
    fetched(
        body,
        &format!("\"large-{number}\""),
        Duration::from_secs(number),
    )
}

/// A valid set of no flags.
pub(super) fn empty() -> FlagDefinitionCacheData {
    fetched(
        r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#.to_owned(),
        "\"empty\"",
        Duration::ZERO,
    )
}

#[expect(clippy::expect_used, reason = "the samples are fixed")]
fn fetched(body: String, etag: &str, later: Duration) -> FlagDefinitionCacheData {
    let at = SystemTime::UNIX_EPOCH + FETCHED_AT + later;
    FlagDefinitionCacheData::from_api_response(
        body,
        Some(etag),
        at,
        Some(ProjectFingerprint::of("phc_sample")),
    )
    .expect("a valid sample")
}

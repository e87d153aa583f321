//! Whatever the API answers: no panic, nothing it says about itself is trusted, and its numbers survive.
#![no_main]

use std::time::{Duration, SystemTime};

use flagcache_core::{FlagDefinitionCacheData, ProjectFingerprint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let project = ProjectFingerprint::of("phc_fuzz");
    let taken = FlagDefinitionCacheData::from_api_response(bytes.to_vec(), Some("W/\"1\""), fetched_at, Some(project));
    let Ok(set) = taken else { return };
    assert_eq!((set.etag(), set.fetched_at(), set.project()), (Some("W/\"1\""), Some(fetched_at), Some(project)));
    let again = FlagDefinitionCacheData::from_json(set.to_json()).expect("the stored form can be read");
    assert_eq!((again.etag(), again.fetched_at(), again.project()), (set.etag(), set.fetched_at(), set.project()));
    // The API's own bytes, but for white space around the members.
    assert!(again.same_content(&set));
    let texts = |set: &FlagDefinitionCacheData| -> Vec<String> {
        set.members().map(|(name, value)| format!("{name}: {}", value.as_str())).collect()
    };
    assert_eq!(texts(&again), texts(&set));
    assert!(again.diff(&set).is_empty());
});

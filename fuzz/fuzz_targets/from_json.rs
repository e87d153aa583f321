//! Whatever lies in a store: no panic, and what is taken in comes out again the same.
#![no_main]

use flagcache_core::FlagDefinitionCacheData;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = FlagDefinitionCacheData::from_json(bytes.to_vec()) else { return };
    for flag in set.flags() {
        assert!(set.flag(flag.key()).is_some());
        serde_json::from_str::<serde::de::IgnoredAny>(flag.json()).expect("a flag is JSON");
    }
    let stored = set.to_json();
    assert!(stored.starts_with(&set.head()), "the head is the beginning of the stored form");
    let again = FlagDefinitionCacheData::from_json(stored.clone()).expect("the stored form can be read");
    assert!(again.same_content(&set));
    assert_eq!(again.copy_id(), set.copy_id());
    assert_eq!(again.to_json(), stored);
    assert!(again.diff(&set).is_empty());
});

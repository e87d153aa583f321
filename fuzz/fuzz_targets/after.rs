//! A copy, and the same with some bytes replaced: decoded against the first, the second gives what it gives alone.
//!
//! The input is a copy, the bytes to insert, and three bytes: how many are inserted, how many removed, and where, in
//! 256ths of the copy.
#![no_main]

use flagcache_core::{DataError, FlagDefinitionCacheData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((rest, &[inserted, removed, at])) = input.split_last_chunk() else { return };
    let (copy, inserted) = rest.split_at(rest.len().saturating_sub(usize::from(inserted)));
    let Ok(previous) = FlagDefinitionCacheData::from_json(copy.to_vec()) else { return };
    for copy in [copy.to_vec(), Vec::from(previous.to_json())] {
        let start = copy.len() * usize::from(at) / 256;
        let end = (start + usize::from(removed)).min(copy.len());
        let mut edited = copy;
        edited.splice(start..end, inserted.iter().copied());
        let whole = FlagDefinitionCacheData::from_json(edited.clone());
        let after = FlagDefinitionCacheData::from_json_after(edited, &previous);
        assert_eq!(observed(&after), observed(&whole));
    }
});

/// What can be seen of it: the stored form, each flag by its place and by its key, and each member; or the error.
fn observed(result: &Result<FlagDefinitionCacheData, DataError>) -> Vec<String> {
    let data = match result {
        Ok(data) => data,
        Err(error) => return vec![format!("{:?} {error}", error.kind())],
    };
    let mut seen = vec![format!("{data:?} {:?} {:?}", data.copy_id(), data.to_json())];
    for flag in data.flags() {
        let found = data.flag(flag.key()).expect("a flag is found by its key");
        seen.push(format!("{} {} {}", flag.key(), flag.json(), found.json()));
    }
    seen.extend(data.members().map(|(name, json)| format!("{name} {}", json.as_str())));
    seen
}

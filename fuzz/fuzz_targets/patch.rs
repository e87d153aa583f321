//! Whatever lies in a store as a patch: no panic, no more memory than the old definitions and the patch take together,
//! and no snapshot but the promised one.
#![no_main]

use flagcache_core::{FlagDefinitionCacheData, Patch};
use libfuzzer_sys::fuzz_target;

const OLD: &str = concat!(
    r#"{"flags": [{"key": "a", "filters": {"groups": [{"rollout_percentage": 50}]}}, {"key": "größer", "active": true}, "#,
    r#"{"key": "c", "active": false}], "group_type_mapping": {"0": "company"}, "cohorts": {"7": {"type": "AND"}}}"#,
);
const MAGIC: &[u8] = b"fcp1";

fuzz_target!(|bytes: &[u8]| {
    let old = FlagDefinitionCacheData::from_json(OLD).expect("definitions");
    // As it is, and as a patch that was made from these definitions.
    let origin = [MAGIC, &old.content_fingerprint().as_u64().to_le_bytes(), bytes].concat();
    for encoded in [bytes, &origin] {
        let Ok(patch) = Patch::decode(encoded.to_vec()) else { continue };
        assert_eq!(patch.encode(), encoded);
        let Ok(new) = patch.apply(&old) else { continue };
        assert!(new.to_json().len() <= OLD.len() + encoded.len());
        let promised = u64::from_le_bytes(encoded[12..20].try_into().expect("eight bytes"));
        assert_eq!(new.content_fingerprint().as_u64(), promised);
    }
    // Any definitions, and the patch between them and these, with so much in common that there is one.
    let padded = |text: &str| {
        let members = text.trim_start().strip_prefix('{')?;
        let padding = "x".repeat(4 * (text.len() + OLD.len()));
        FlagDefinitionCacheData::from_json(format!(r#"{{"padding":"{padding}",{members}"#)).ok()
    };
    let Some(new) = std::str::from_utf8(bytes).ok().and_then(padded) else { return };
    let old = padded(OLD).expect("definitions");
    for (old, new) in [(&old, &new), (&new, &old)] {
        let Some(patch) = Patch::between(old, new) else { continue };
        let patched = patch.apply(old).expect("the patch applies to what it was made from");
        assert_eq!(patched.to_json(), new.to_json());
    }
});

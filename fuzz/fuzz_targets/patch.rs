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

/// Definitions whose flags are so long that a patched text shares them.
fn long(flag: &str) -> FlagDefinitionCacheData {
    let flags: Vec<_> = ["a", "größer", flag, "c"]
        .iter()
        .map(|key| format!(r#"{{"key":"{key}","name":"{}"}}"#, key.repeat(6_000)))
        .collect();
    let json = format!(r#"{{"flags":[{}],"cohorts":{{"7":"{}"}}}}"#, flags.join(", "), "y".repeat(5_000));
    FlagDefinitionCacheData::from_json(json).expect("definitions")
}

/// The same as `long("d")`, in pieces.
fn patched() -> FlagDefinitionCacheData {
    let (old, new) = (long("b"), long("d"));
    Patch::between(&old, &new).expect("a patch").apply(&old).expect("the patch applies")
}

/// Compares patched definitions with those that a whole scan finds.
fn compare(patched: &FlagDefinitionCacheData) {
    let whole = FlagDefinitionCacheData::from_json(patched.to_json()).expect("definitions");
    assert_eq!((&whole, whole.head(), whole.json_len()), (patched, patched.head(), patched.json_len()));
    let flags = |data: &FlagDefinitionCacheData| -> Vec<_> {
        data.flags().map(|flag| (flag.key().to_owned(), flag.json().to_owned())).collect()
    };
    assert_eq!(flags(patched), flags(&whole));
    for (key, _) in flags(&whole) {
        assert_eq!(patched.flag(&key).map(|flag| flag.json()), whole.flag(&key).map(|flag| flag.json()));
    }
    for ((name, value), (whole_name, whole_value)) in patched.members().zip(whole.members()) {
        assert_eq!((name, value.as_str()), (whole_name, whole_value.as_str()));
    }
}

/// A patch whose lengths are right: every four bytes are a step, most of which are like those of a real patch.
fn of_steps(old: &FlagDefinitionCacheData, bytes: &[u8]) -> Vec<u8> {
    let raw_len = old.raw_json().len() - 2;
    let head = old.to_json_parts()[0].clone();
    let mut instructions = Vec::new();
    let mut len = 0;
    for step in bytes.chunks_exact(4) {
        let literal = [step[1]];
        let insert: &[u8] = match step[0] % 16 {
            0 => &head,
            1 => b",",
            2 => b"[",
            3 => b"]",
            4 => b"}",
            5 => br#"{"key":"a"}"#,
            6 => br#""flags":["#,
            7 => &literal,
            _ => b"",
        };
        let at = |byte: u8| (usize::from(byte) * raw_len / 255).min(raw_len);
        let (start, end) = (at(step[2]), at(step[3]).max(at(step[2])));
        write_number(&mut instructions, insert.len());
        instructions.extend_from_slice(insert);
        write_number(&mut instructions, start);
        write_number(&mut instructions, end - start);
        len += insert.len() + end - start;
    }
    let mut encoded = MAGIC.to_vec();
    encoded.extend_from_slice(&old.content_fingerprint().as_u64().to_le_bytes());
    encoded.extend_from_slice(&old.content_fingerprint().as_u64().to_le_bytes());
    for number in [raw_len, raw_len.min(len), len, head.len().min(len - raw_len.min(len))] {
        write_number(&mut encoded, number);
    }
    encoded.extend_from_slice(&instructions);
    encoded
}

/// Seven bits per byte, the lowest first; the highest bit means that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fuzz_target!(|bytes: &[u8]| {
    // As it is, and as a patch that was made from these definitions.
    for old in [FlagDefinitionCacheData::from_json(OLD).expect("definitions"), long("b"), patched()] {
        let origin = [MAGIC, &old.content_fingerprint().as_u64().to_le_bytes(), bytes].concat();
        for encoded in [bytes, &origin, &of_steps(&old, bytes)] {
            let Ok(patch) = Patch::decode(encoded.to_vec()) else { continue };
            assert_eq!(patch.encode(), encoded);
            let Ok(new) = patch.apply(&old) else { continue };
            assert!(new.to_json().len() <= old.json_len() + encoded.len());
            let promised = u64::from_le_bytes(encoded[12..20].try_into().expect("eight bytes"));
            assert_eq!(new.content_fingerprint().as_u64(), promised);
            compare(&new);
        }
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
        let Some(back) = Patch::between(&patched, old) else { continue };
        let back = back.apply(&patched).expect("the patch applies");
        assert_eq!(back.to_json(), old.to_json());
        compare(&patched);
        compare(&back);
    }
});

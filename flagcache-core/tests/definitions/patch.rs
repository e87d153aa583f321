//! Patches: from one snapshot to another, and to nothing else.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::time::Duration;

use flagcache_core::{FlagDefinitionCacheData, Patch, PatchError, ProjectFingerprint};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::{BODY, api, fetched_at, set};

/// A body of flags with these numbers and values.
fn body(flags: impl IntoIterator<Item = (u32, u32)>, rest: &str) -> String {
    let flags: Vec<_> = flags
        .into_iter()
        .map(|(key, value)| {
            format!(
                r#"{{"id":{key},"key":"flag-{key}","filters":{{"groups":[{{"rollout_percentage":{value},"name":"größer"}}]}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"flags": [{}], "group_type_mapping": {{"0": "company"}}{rest}}}"#,
        flags.join(", ")
    )
}

fn same(number: u32) -> (u32, u32) {
    (number, 0)
}

/// The definitions of version `n`, with metadata.
fn version(n: u64, body: String) -> FlagDefinitionCacheData {
    let project = Some(ProjectFingerprint::of("phc_test"));
    let fetched_at = fetched_at() + Duration::from_secs(n);
    let etag = format!("W/\"{n}\"");
    FlagDefinitionCacheData::from_api_response(body, Some(&etag), fetched_at, project).unwrap()
}

/// Checks the patch between the two in all forms that a snapshot may have, and gives its length.
#[track_caller]
fn check(old: &FlagDefinitionCacheData, new: &FlagDefinitionCacheData) -> Option<usize> {
    let patch = Patch::between(old, new)?;
    let stored = |data: &FlagDefinitionCacheData| {
        FlagDefinitionCacheData::from_json(data.to_json()).unwrap()
    };
    assert_eq!(
        Patch::between(&stored(old), &stored(new)),
        Some(patch.clone())
    );
    let after = FlagDefinitionCacheData::from_json_after(new.to_json(), old).unwrap();
    let quick = Patch::between(old, &after).unwrap();
    assert_eq!(quick.apply(old).unwrap().to_json(), new.to_json());
    assert!(quick.encode().len() <= patch.encode().len());
    assert_eq!(Patch::decode(patch.encode()).unwrap(), patch);
    for old in [old.clone(), stored(old), old.with_etag(Some("another"))] {
        let patched = patch.apply(&old).unwrap();
        assert_eq!(patched.to_json(), new.to_json());
        assert_eq!(&patched, new);
        assert_eq!(patched.head(), new.head());
        let flags = |data: &FlagDefinitionCacheData| -> Vec<_> {
            let flags = data.flags();
            flags
                .map(|flag| (flag.key().to_owned(), flag.json().to_owned()))
                .collect()
        };
        assert_eq!(flags(&patched), flags(new));
        assert_eq!(patched.diff(&old), stored(new).diff(&old));
    }
    let len = patch.encode().len();
    assert!(len <= new.to_json().len() / 4, "{len}");
    Some(len)
}

#[test]
fn b12_83_a_change_inside_of_a_character_is_patched() {
    // Of two bytes, of which the first is the same, and of three, of which the last is.
    for [a, b] in [["ö", "ü"], ["‐", "耐"], ["o", "ö"]] {
        let [old, new] = [a, b].map(|name| body((0..50).map(same), &format!(r#","x":"{name}""#)));
        check(&version(1, old), &version(2, new)).unwrap();
    }
}

#[test]
fn b12_83_a_changed_flag_takes_as_much_as_changed_and_gives_the_stored_copy() {
    let old = version(1, body((0..1_000).map(same), ""));
    let changed = |number: u32| move |n| (n, u32::from(n == number) * 57);
    for number in [0, 500, 999] {
        let new = version(2, body((0..1_000).map(changed(number)), ""));
        let len = check(&old, &new).unwrap();
        assert!(len < 500, "{len} bytes");
    }
    // Metadata alone.
    assert!(check(&old, &version(2, body((0..1_000).map(same), ""))).unwrap() < 500);
}

#[test]
fn b12_83_added_removed_and_moved_flags_and_other_members_are_patched() {
    let old = version(1, body((0..200).map(same), ""));
    let cases = [
        body((0..201).map(same), ""),
        body((1..200).map(same), ""),
        body((0..100).chain(101..200).map(same), ""),
        body((100..200).chain(0..100).map(same), ""),
        body((0..100).chain([777]).chain(100..200).map(same), ""),
        body(
            (0..200).map(same),
            r#","property_matching_version":2,"ünknown":[1]"#,
        ),
        body((0..200).map(same), "").replace("company", "organisation"),
    ];
    for case in cases {
        let new = version(2, case);
        let (there, back) = (check(&old, &new), check(&new, &old));
        assert!(
            there.unwrap() < 1_200 && back.unwrap() < 1_200,
            "{there:?} {back:?}"
        );
    }
}

#[test]
fn b12_83_a_patch_that_is_not_worthwhile_is_none() {
    let old = version(1, body((0..100).map(same), ""));
    for new in [
        body((0..100).map(|n| (n + 1_000, 1)), ""),
        body([same(1)], ""),
        // More of the old definitions than there is.
        body((0..100).chain(0..100).map(same), ""),
    ] {
        assert_eq!(Patch::between(&old, &version(2, new)), None);
    }
    let small = set(r#"{"flags":[]}"#);
    assert_eq!(Patch::between(&small, &small), None);
    assert_eq!(Patch::between(&small, &api(BODY, None)), None);
}

#[test]
fn b12_83_a_patch_applies_only_to_the_content_that_it_was_made_from() {
    let versions: Vec<_> = (0..3)
        .map(|n| version(n, body((0..50).map(|at| (at, n as u32)), "")))
        .collect();
    let (old, new) = (version(0, body((0..50).map(same), "")), &versions[1]);
    let patch = Patch::between(&old, &version(1, body((0..51).map(same), ""))).unwrap();
    for other in [new, &versions[2], &set(r#"{"flags":[]}"#)] {
        assert!(matches!(patch.apply(other), Err(PatchError::OtherOrigin)));
    }
}

#[tokio::test]
async fn b12_83_a_chain_of_patches_gives_the_last_content_or_nothing() {
    let versions: Vec<_> = (0..5)
        .map(|n| {
            version(
                u64::from(n),
                body((0..2_000).map(|at| (at, u32::from(at == n) * n)), ""),
            )
        })
        .collect();
    let patches: Vec<_> = versions
        .windows(2)
        .map(|pair| Patch::between(&pair[0], &pair[1]).unwrap())
        .collect();
    let all = Patch::apply_all(patches.clone(), &versions[0])
        .await
        .unwrap();
    assert_eq!(all.to_json(), versions[4].to_json());
    assert_eq!(Patch::apply_all(Vec::new(), &all).await.unwrap(), all);
    for missing in 0..3 {
        let mut gap = patches.clone();
        gap.remove(missing);
        let error = Patch::apply_all(gap, &versions[0]).await.unwrap_err();
        assert!(matches!(error, PatchError::OtherOrigin), "{error}");
    }
}

#[test]
fn b12_83_a_damaged_patch_gives_nothing_else() {
    let old = version(1, body((0..30).map(same), ""));
    let new = version(2, body((0..30).map(|n| (n, u32::from(n == 7))), ""));
    let encoded = Patch::between(&old, &new).unwrap().encode();
    let check = |damaged: Vec<u8>| match Patch::decode(damaged) {
        Ok(patch) => match patch.apply(&old) {
            Ok(patched) => assert_eq!(patched.to_json(), new.to_json()),
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        Err(error) => assert!(matches!(error, PatchError::Malformed(_)), "{error}"),
    };
    for at in 0..encoded.len() {
        assert!(Patch::decode(encoded.slice(..at)).is_err());
        for flip in [1, 0x80, 0xff] {
            let mut damaged = encoded.to_vec();
            damaged[at] ^= flip;
            check(damaged);
        }
        let mut longer = encoded.to_vec();
        longer.insert(at, 0);
        check(longer);
    }
}

#[test]
fn b12_83_a_small_patch_cannot_demand_much_memory() {
    let number = |number: u32| -> Vec<u8> {
        (0..5)
            .map(|at| (number >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 })
            .collect()
    };
    let mut bomb = [b"fcp1".as_slice(), &[0; 16]].concat();
    // A million bytes of the old definitions, four thousand times.
    for length in [1_000_000, 4_000_000_000, 4_000_000_000, 0] {
        bomb.extend(number(length));
    }
    for _ in 0..4_000 {
        bomb.extend([&[0, 0], number(1_000_000).as_slice()].concat());
    }
    let error = Patch::decode(bomb).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a valid patch: it copies more than there is"
    );
}

/// Changes of one flag, and now and then more: so many that the follower's text is written anew several times.
#[test]
fn b12_83_a_long_chain_of_patches_ends_with_the_leaders_definitions() {
    let mut flags: Vec<_> = (0..2_000).map(same).collect();
    let mut rest = String::new();
    let mut leader = version(0, body(flags.clone(), &rest));
    let mut follower = FlagDefinitionCacheData::from_json(leader.to_json()).unwrap();
    for n in 1..400_u32 {
        match n % 40 {
            10 => flags.insert(n as usize, (10_000 + n, n)),
            20 => drop(flags.remove(n as usize)),
            30 => rest = format!(r#","cohorts": {{"{n}": {{}}}}"#),
            35 => flags[0].1 = n,
            36 => flags.last_mut().unwrap().1 = n,
            39 => flags[300..350].iter_mut().for_each(|flag| flag.1 = n),
            _ => flags[(n * 7 % 1_900) as usize].1 = n,
        }
        let new = version(u64::from(n), body(flags.clone(), &rest));
        let patch = Patch::between(&leader, &new).unwrap();
        let next = patch.apply(&follower).unwrap();
        assert_eq!(next, new);
        let mut file = Cursor::new(new.to_json());
        let read = FlagDefinitionCacheData::from_reader_after(&mut file, &follower);
        assert_eq!(read.unwrap().unwrap(), new);
        assert_eq!(next.diff(&follower), new.diff(&leader));
        if n % 20 == 19 {
            // A follower that becomes the leader computes the same patch.
            assert_eq!(Patch::between(&follower, &new), Some(patch));
            assert_eq!(next.to_json(), new.to_json());
            assert_eq!(next.json_len(), new.to_json().len());
            let [next, new] = [&next, &new].map(|data| data.deserialize::<Value>().unwrap());
            assert_eq!(next, new);
        }
        (leader, follower) = (new, next);
    }
}

/// A file of which less can be read than its length says, as if another program shortened it, or that fails.
struct Faulty {
    file: Cursor<Vec<u8>>,
    readable: u64,
    error: Option<ErrorKind>,
}

impl Read for Faulty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.readable.saturating_sub(self.file.position());
        match self.error {
            Some(error) if left == 0 => Err(error.into()),
            _ => (&mut self.file).take(left).read(buffer),
        }
    }
}

impl Seek for Faulty {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_file_that_is_shortened_or_fails_while_it_is_read_is_an_error_and_nothing_else() {
    let old = version(1, body((0..2_000).map(same), ""));
    let mut flags: Vec<_> = (0..2_000).map(same).collect();
    flags[1_000].1 = 7;
    let json = version(2, body(flags, "")).to_json().to_vec();
    let half = json.len() as u64 / 2;
    let read = |readable, error| {
        let file = Cursor::new(json.clone());
        let mut file = Faulty {
            file,
            readable,
            error,
        };
        FlagDefinitionCacheData::from_reader_after(&mut file, &old)
    };
    for readable in [0, 100, half, json.len() as u64 - 1] {
        read(readable, None).unwrap().unwrap_err();
        let error = read(readable, Some(ErrorKind::PermissionDenied)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(
        read(json.len() as u64, None).unwrap().unwrap().to_json(),
        json
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn b12_83_any_two_sets_are_patched_exactly(
        old in vec((0_u32..40, 0_u32..3), 0..60),
        edits in vec((any::<prop::sample::Index>(), 0_u8..4, 0_u32..60, 0_u32..3), 0..12),
        rest in "(,\"x\":\"[a-z]{0,8}\")?",
    ) {
        let mut new = old.clone();
        for (at, edit, key, value) in edits {
            let at = at.index(new.len() + 1);
            match edit {
                0 => new.insert(at, (key, value)),
                1 if at < new.len() => drop(new.remove(at)),
                2 if at < new.len() => new.rotate_left(at),
                _ if at < new.len() => new[at].1 = value,
                _ => {}
            }
        }
        check(&version(1, body(old, "")), &version(2, body(new, &rest)));
    }

    #[test]
    fn b12_83_any_bytes_are_refused_or_valid(
        mut bytes in vec(any::<u8>(), 0..200),
        is_prefixed in any::<bool>(),
    ) {
        let old = set(BODY);
        if is_prefixed {
            let from = old.content_fingerprint().as_u64().to_le_bytes();
            bytes.splice(..0, [b"fcp1".as_slice(), &from].concat());
        }
        if let Ok(patch) = Patch::decode(bytes) {
            prop_assert!(patch.apply(&old).is_err());
        }
    }
}

//! Definitions as a real project has them.

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Map, Value, json};

const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "JP", "BR", "IN", "SE", "KE"];
const AREAS: [&str; 8] = [
    "checkout",
    "search",
    "billing",
    "onboarding",
    "editor",
    "mobile",
    "api",
    "pricing",
];
const WORDS: [&str; 8] = [
    "new", "fast", "beta", "inline", "größer", "実験", "v2", "compact",
];

/// A set of flag definitions for tests, in the form in which the API sends it: about 1 KB a flag. For tests; not
/// API-stable.
///
/// ```
/// use flagcache_providers::testing::Definitions;
///
/// let mut set = Definitions::realistic(100, 7);
/// assert_eq!(set.to_json(), Definitions::realistic(100, 7).to_json(), "the same seed makes the same bytes");
/// let key = set.keys().nth(3).map(str::to_owned).unwrap();
/// assert!(set.set_rollout(&key, 12.5));
/// ```
#[derive(Clone, Debug)]
pub struct Definitions {
    body: Value,
}

impl Definitions {
    /// The valid set without flags.
    pub fn empty() -> Self {
        Self {
            body: json!({ "flags": [], "group_type_mapping": {}, "cohorts": {} }),
        }
    }

    /// `flags` flags with what real ones have: several condition groups on persons, groups and cohorts, whole and fractional
    /// rollouts, variants, payloads, inactive flags, ids beyond 2^53, and text beyond ASCII.
    pub fn realistic(flags: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let cohort_count = (flags / 20).max(2);
        let cohorts: Map<_, _> = (1..=cohort_count)
            .map(|id| (id.to_string(), cohort(&mut rng)))
            .collect();
        let flags: Vec<_> = (0..flags)
            .map(|index| flag(&mut rng, index, cohort_count))
            .collect();
        let mut body = json!({ "group_type_mapping": { "0": "organization", "1": "project", "2": "instance" } });
        // Moved in: the macro would copy what it is given.
        body["flags"] = Value::Array(flags);
        body["cohorts"] = Value::Object(cohorts);
        Self { body }
    }

    /// The keys of the flags, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.flags().iter().filter_map(|flag| flag["key"].as_str())
    }

    /// Sets the rollout of a flag's first condition group, in per cent. `false` if there is no such flag.
    #[must_use = "`false` means that nothing was changed"]
    pub fn set_rollout(&mut self, key: &str, percent: f64) -> bool {
        let Some(flag) = self
            .flags_mut()
            .and_then(|flags| flags.iter_mut().find(|flag| flag["key"] == key))
        else {
            return false;
        };
        flag["filters"]["groups"][0]["rollout_percentage"] = json!(percent);
        true
    }

    /// The set with the rollout of one flag changed, as [`set_rollout`](Self::set_rollout) does; unchanged if there is no
    /// such flag.
    #[must_use]
    pub fn with_rollout(mut self, key: &str, percent: f64) -> Self {
        let _ = self.set_rollout(key, percent);
        self
    }

    /// Removes a flag. `false` if there is no such flag.
    #[must_use = "`false` means that nothing was changed"]
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(flags) = self.flags_mut() else {
            return false;
        };
        let before = flags.len();
        flags.retain(|flag| flag["key"] != key);
        flags.len() < before
    }

    /// The body of an answer. The same set always gives the same bytes.
    pub fn to_json(&self) -> Bytes {
        Bytes::from(self.body.to_string())
    }

    fn flags(&self) -> &[Value] {
        self.body["flags"].as_array().map_or(&[], Vec::as_slice)
    }

    fn flags_mut(&mut self) -> Option<&mut Vec<Value>> {
        self.body["flags"].as_array_mut()
    }
}

impl From<&Definitions> for Bytes {
    fn from(definitions: &Definitions) -> Self {
        definitions.to_json()
    }
}

impl From<Definitions> for Bytes {
    fn from(definitions: Definitions) -> Self {
        definitions.to_json()
    }
}

fn flag(rng: &mut Rng, index: usize, cohorts: usize) -> Value {
    let key = format!(
        "{}-{}-{index}",
        pick(rng, &AREAS),
        pick(rng, &["rollout", "experiment", "kill-switch"])
    );
    let by_group = rng.u8(..10) == 0;
    let groups: Vec<Value> = (0..rng.usize(1..=3))
        .map(|_| condition_group(rng, by_group, cohorts))
        .collect();
    let mut filters = json!({ "groups": groups, "multivariate": null, "payloads": {} });
    if by_group {
        filters["aggregation_group_type_index"] = json!(0);
    }
    if rng.u8(..3) == 0 {
        filters["multivariate"] = json!({ "variants": [
            { "key": "control", "name": "", "rollout_percentage": 33.34 },
            { "key": "test-1", "name": "größer", "rollout_percentage": 33.33 },
            { "key": "test-2", "name": "実験 🚀", "rollout_percentage": 33.33 },
        ]});
        filters["payloads"] = json!({ "test-1": payload(rng), "test-2": payload(rng) });
    } else if rng.u8(..5) == 0 {
        filters["payloads"] = json!({ "true": payload(rng) });
    }
    json!({
        "id": (1u64 << 53) + 1 + index as u64,
        "team_id": 42,
        "key": key,
        "name": format!("{} {} {}", pick(rng, &WORDS), pick(rng, &AREAS), pick(rng, &WORDS)),
        "filters": filters,
        "deleted": false,
        "active": rng.u8(..10) != 0,
        "ensure_experience_continuity": rng.u8(..10) == 0,
        "has_encrypted_payloads": false,
        "version": rng.u32(1..40),
    })
}

fn condition_group(rng: &mut Rng, by_group: bool, cohorts: usize) -> Value {
    let properties: Vec<Value> = (0..rng.usize(0..=3))
        .map(|_| property(rng, by_group, cohorts))
        .collect();
    let rollout = match rng.u8(..4) {
        0 => json!(100),
        1 => json!(rng.u8(..=100)),
        2 => json!(f64::from(rng.u32(..100_000)) / 1000.0),
        _ => Value::Null,
    };
    json!({ "properties": properties, "rollout_percentage": rollout, "variant": null })
}

fn property(rng: &mut Rng, by_group: bool, cohorts: usize) -> Value {
    if by_group {
        return json!({ "key": "plan", "type": "group", "group_type_index": 0, "operator": "exact", "value": ["scale", "enterprise"] });
    }
    match rng.u8(..4) {
        0 => {
            json!({ "key": "id", "type": "cohort", "operator": "in", "value": rng.usize(1..=cohorts) })
        }
        1 => {
            json!({ "key": "email", "type": "person", "operator": "icontains", "value": format!("@{}.example", pick(rng, &AREAS)) })
        }
        2 => {
            json!({ "key": "$geoip_country_code", "type": "person", "operator": "exact", "value": [pick(rng, &COUNTRIES), pick(rng, &COUNTRIES)] })
        }
        _ => {
            json!({ "key": "app_build", "type": "person", "operator": "gte", "value": rng.u32(1000..9000).to_string() })
        }
    }
}

/// A payload is JSON inside a string.
fn payload(rng: &mut Rng) -> String {
    json!({ "title": pick(rng, &WORDS), "limit": rng.u32(..1000), "colors": ["#1d4aff", "#f54e00"], "nested": { "on": rng.bool() } })
        .to_string()
}

fn cohort(rng: &mut Rng) -> Value {
    let condition = json!({
        "type": "AND",
        "values": [
            { "key": "$geoip_country_code", "type": "person", "operator": "exact", "value": [pick(rng, &COUNTRIES)], "negation": false },
            { "key": "signed_up_at", "type": "person", "operator": "is_date_after", "value": format!("-{}d", rng.u8(1..90)), "negation": false },
        ],
    });
    json!({ "type": "OR", "values": [condition] })
}

fn pick(rng: &mut Rng, from: &[&'static str]) -> &'static str {
    from[rng.usize(..from.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_bytes() {
        assert_eq!(
            Definitions::realistic(50, 1).to_json(),
            Definitions::realistic(50, 1).to_json()
        );
        assert_ne!(
            Definitions::realistic(50, 1).to_json(),
            Definitions::realistic(50, 2).to_json()
        );
    }

    #[test]
    fn flags_are_about_a_kilobyte_with_distinct_keys_and_large_ids() {
        let set = Definitions::realistic(1000, 1);
        let json = set.to_json();
        let per_flag = json.len() / 1000;
        assert!((500..2000).contains(&per_flag), "{per_flag} bytes");
        let keys: std::collections::HashSet<_> = set.keys().collect();
        assert_eq!(keys.len(), 1000);
        let parsed: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            parsed["flags"][0]["id"].as_u64(),
            Some(9_007_199_254_740_993)
        );
    }

    #[test]
    fn one_rollout_changes_one_flag() {
        let before = Definitions::realistic(20, 1);
        let key = before.keys().nth(7).unwrap().to_owned();
        let after = before.clone().with_rollout(&key, 12.5);
        let differing: Vec<_> = before
            .flags()
            .iter()
            .zip(after.flags())
            .filter(|(a, b)| a != b)
            .collect();
        assert_eq!(differing.len(), 1);
        assert_eq!(differing[0].1["key"], key.as_str());
        assert!(!before.clone().set_rollout("no-such-flag", 1.0));
    }

    #[test]
    fn a_removed_flag_is_gone() {
        let mut set = Definitions::realistic(3, 1);
        let key = set.keys().next().unwrap().to_owned();
        assert!(set.remove(&key));
        assert!(!set.remove(&key));
        assert_eq!(set.keys().count(), 2);
    }
}

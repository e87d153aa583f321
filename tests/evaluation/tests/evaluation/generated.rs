//! Generates random definitions and subjects that cover all features that posthog-rs supports.

use fastrand::Rng;
use flagcache::FlagSubject;
use serde_json::{Map, Value, json};

pub(crate) const FLAGS: usize = 8;
const COHORTS: usize = 4;
const GROUP_TYPES: [&str; 2] = ["company", "project"];
const PLANS: [&str; 4] = ["free", "pro", "Pro", "größer 🚀"];
const MAILS: [&str; 4] = [
    "ada@example.com",
    "grace@example.org",
    "ADA@EXAMPLE.COM",
    "実験@example.jp",
];
const VERSIONS: [&str; 6] = [
    "1.2.3",
    "1.10.0",
    "2.0.0-beta",
    "v0.4",
    "01.2.3",
    "no version",
];
const DATES: [&str; 5] = ["2024-06-15", "2031-01-01T10:30:00Z", "-7d", "-2y", "soon"];

/// A response body: flags with all operators, nested cohorts, flags that depend on flags, groups, variants, payloads,
/// and matching versions.
pub(crate) fn definitions(seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let flags: Vec<Value> = (0..FLAGS).map(|index| flag(&mut rng, index)).collect();
    let cohorts: Map<String, Value> = (1..=COHORTS)
        .map(|id| (id.to_string(), cohort(&mut rng, id)))
        .collect();
    let mut body = json!({ "flags": flags, "cohorts": cohorts });
    body["group_type_mapping"] = json!({ "0": GROUP_TYPES[0], "1": GROUP_TYPES[1] });
    if rng.bool() {
        body["property_matching_version"] = json!(rng.u8(1..=3));
    }
    if rng.bool() {
        body["minimal_flag_called_events"] = json!(rng.bool());
    }
    body.to_string()
}

pub(crate) fn key(index: usize) -> String {
    format!("flag-{index}-größer")
}

/// A user with some of the properties that the conditions refer to.
pub(crate) fn subject(seed: u64) -> FlagSubject {
    let mut rng = Rng::with_seed(seed);
    let mut subject = FlagSubject::new(format!("user-{}", rng.u32(..)));
    for name in ["email", "plan", "age", "beta", "version", "joined"] {
        if rng.u8(..5) > 0 {
            subject = subject.property(name, value(&mut rng, name));
        }
    }
    for group_type in GROUP_TYPES {
        if rng.bool() {
            subject = subject.group(group_type, format!("{group_type}-{}", rng.u8(..)));
            if rng.u8(..4) > 0 {
                subject = subject.group_property(group_type, "plan", value(&mut rng, "plan"));
            }
        }
    }
    subject
}

fn flag(rng: &mut Rng, index: usize) -> Value {
    let mut filters =
        json!({ "groups": (0..rng.usize(..=3)).map(|_| condition(rng)).collect::<Vec<_>>() });
    if rng.u8(..3) == 0 {
        filters["multivariate"] = json!({ "variants": [
            { "key": "control", "rollout_percentage": 33.34 },
            { "key": "test", "name": "Test", "rollout_percentage": rng.u8(..60) },
        ]});
    }
    if rng.bool() {
        filters["payloads"] =
            json!({ "true": "{\"limit\":7}", "control": "plain", "test": { "limit": 1e3 } });
    }
    if rng.u8(..5) == 0 {
        filters["aggregation_group_type_index"] = json!(rng.u8(..=2));
    }
    if rng.u8(..4) == 0 {
        filters["early_exit"] = json!(true);
    }
    let mut flag = json!({ "id": (1u64 << 53) + 1, "key": key(index), "active": rng.u8(..10) > 0, "filters": filters });
    if rng.u8(..3) > 0 {
        flag["has_experiment"] = json!(rng.bool());
    }
    flag
}

fn condition(rng: &mut Rng) -> Value {
    let properties: Vec<Value> = (0..rng.usize(..=2)).map(|_| property(rng)).collect();
    let rollout = match rng.u8(..3) {
        0 => Value::Null,
        1 => json!(rng.u8(..=100)),
        _ => json!(rng.f64() * 100.0),
    };
    let mut condition = json!({ "properties": properties, "rollout_percentage": rollout });
    if rng.u8(..5) == 0 {
        condition["variant"] = json!(pick(rng, &["control", "test", "gone"]));
    }
    if rng.u8(..8) == 0 {
        condition["aggregation_group_type_index"] = json!(0);
    }
    condition
}

fn property(rng: &mut Rng) -> Value {
    match rng.u8(..8) {
        0 => {
            let id = rng.usize(1..=COHORTS + 1);
            let id = if rng.bool() {
                json!(id)
            } else {
                json!(id.to_string())
            };
            let mut cohort = json!({ "key": "id", "type": "cohort", "value": id });
            if rng.bool() {
                cohort["operator"] = json!(pick(rng, &["in", "not_in", "exact"]));
            }
            cohort
        }
        1 => json!({
            "key": format!("$feature/{}", key(rng.usize(..=FLAGS))),
            "type": "flag",
            "operator": pick(rng, &["exact", "is_not"]),
            "value": pick(rng, &[json!(true), json!(false), json!("control"), json!("true")]),
        }),
        _ => leaf(rng),
    }
}

/// A condition on one property.
fn leaf(rng: &mut Rng) -> Value {
    let name = pick(
        rng,
        &[
            "email",
            "plan",
            "age",
            "beta",
            "beta",
            "beta",
            "version",
            "joined",
            "distinct_id",
        ],
    );
    let texts = [
        "exact",
        "is_not",
        "icontains",
        "not_icontains",
        "starts_with",
        "not_starts_with",
        "ends_with",
    ];
    let (operator, value) = match (name, rng.u8(..3)) {
        (_, 0) => match rng.u8(..4) {
            0 => (pick(rng, &["is_set", "is_not_set"]), Value::Null),
            1 => (
                pick(rng, &["regex", "not_regex"]),
                pick(
                    rng,
                    &[
                        json!("^.*@example\\.(com|org)$"),
                        json!("p(ro"),
                        json!("\\d+"),
                    ],
                ),
            ),
            2 => ("no_such_operator", json!(1)),
            _ => (
                pick(rng, &["exact", "is_not"]),
                json!([value(rng, name), value(rng, name)]),
            ),
        },
        ("age", _) => (
            pick(rng, &["gt", "gte", "lt", "lte", "exact"]),
            value(rng, "age"),
        ),
        ("version", _) => {
            let comparing = [
                "semver_eq",
                "semver_neq",
                "semver_gt",
                "semver_gte",
                "semver_lt",
                "semver_lte",
            ];
            match rng.u8(..4) {
                0 => (
                    pick(rng, &["semver_tilde", "semver_caret"]),
                    value(rng, "version"),
                ),
                1 => (
                    "semver_wildcard",
                    pick(rng, &[json!("1.*"), json!("1.2.*"), json!("*")]),
                ),
                _ => (pick(rng, &comparing), value(rng, "version")),
            }
        }
        // The matching versions differ here.
        ("beta", _) => (pick(rng, &["exact", "is_not"]), value(rng, "beta")),
        ("joined", _) => (
            pick(rng, &["is_date_before", "is_date_after"]),
            value(rng, "joined"),
        ),
        (name, _) => (pick(rng, &texts), value(rng, name)),
    };
    json!({ "key": name, "type": "person", "operator": operator, "value": value })
}

/// A random value for a property of this name, of several types.
fn value(rng: &mut Rng, name: &str) -> Value {
    match name {
        "email" => json!(pick(rng, &MAILS)),
        "plan" => json!(pick(rng, &PLANS)),
        "age" => pick(
            rng,
            &[
                json!(7),
                json!(30),
                json!(30.5),
                json!("30"),
                json!("old"),
                json!(9_007_199_254_740_993_u64),
            ],
        ),
        "beta" => pick(
            rng,
            &[
                json!(true),
                json!(false),
                json!("true"),
                json!("True"),
                json!("yes"),
                json!(1),
                Value::Null,
            ],
        ),
        "version" => json!(pick(rng, &VERSIONS)),
        "joined" => json!(pick(rng, &DATES)),
        _ => json!("user-1"),
    }
}

fn cohort(rng: &mut Rng, id: usize) -> Value {
    let mut values: Vec<Value> = (0..rng.usize(..=2))
        .map(|_| {
            let mut leaf = leaf(rng);
            leaf["negation"] = json!(rng.bool());
            leaf
        })
        .collect();
    if rng.u8(..3) == 0 {
        // Another cohort, sometimes itself or one that does not exist.
        values.push(
            json!({ "type": "cohort", "key": "id", "value": rng.usize(id..=COHORTS + 1), "negation": rng.bool() }),
        );
    }
    json!({ "type": pick(rng, &["AND", "OR"]), "values": [{ "type": pick(rng, &["AND", "OR"]), "values": values }] })
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

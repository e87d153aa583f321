//! `LocalEvaluation` follows its poller, reports undecidable flags, and applies contexts and overrides.

use std::time::Duration;

use flagcache::testing::{ApiReply, ApiStub, ScriptedSource};
use flagcache::{
    FlagDefinitionCacheProvider, FlagDefinitionPoller, FlagSubject, LocalEvaluation, NotReadyError,
    OnUnauthorized, Overrides, TestFlags,
};
use posthog_rs::FlagValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::Level;

use crate::fixture::{TIMEOUT, api, definitions_of, on, poller, start};
use crate::logs;

const SHORT: Duration = Duration::from_millis(50);

fn is_on(flags: &LocalEvaluation, key: &str) -> bool {
    let value = flags.evaluate(key, &FlagSubject::new("ada")).unwrap();
    let evaluator = flags.evaluator();
    let none = (
        &Default::default(),
        &Default::default(),
        &Default::default(),
    );
    assert_eq!(
        evaluator
            .evaluate_flag(key, "ada", none.0, none.1, none.2)
            .unwrap(),
        value
    );
    value == Some(FlagValue::Boolean(true))
}

#[tokio::test]
async fn a_change_of_the_definitions_is_applied() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("a")]));
    let (poller, flags) = start(&stub).await;
    let clone = flags.clone();
    let evaluator = flags.evaluator();
    assert!(is_on(&flags, "a") && !is_on(&flags, "b"));
    stub.set_definitions(definitions_of(&[on("b")]));
    poller.refresh().await.unwrap();
    flags.synced().await;
    for flags in [&flags, &clone] {
        assert!(is_on(flags, "b") && !is_on(flags, "a"));
    }
    assert!(
        evaluator.cache().get_flag("b").is_some(),
        "an evaluator obtained before the change is updated too"
    );
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn equal_definitions_with_other_number_formats_are_installed_too() {
    let stub = ApiStub::start().await.unwrap();
    let wanting = |age: &str| {
        let property = format!(r#"{{"key":"age","operator":"exact","value":[{age}]}}"#);
        definitions_of(&[format!(
            r#"{{"key":"a","active":true,"filters":{{"groups":[{{"properties":[{property}]}}]}}}}"#
        )])
    };
    let adult = FlagSubject::new("ada").property("age", "18");
    let is_on = |flags: &LocalEvaluation| {
        flags.evaluate("a", &adult).unwrap() == Some(FlagValue::Boolean(true))
    };
    stub.set_definitions(wanting("18.0"));
    let (poller, flags) = start(&stub).await;
    let before = is_on(&flags);
    stub.set_definitions(wanting("18"));
    poller.refresh().await.unwrap();
    flags.synced().await;
    // The poller reports no change, but the values are compared as text.
    assert_eq!(
        (poller.status().version, before, is_on(&flags)),
        (1, false, true)
    );
    poller.shutdown().await.unwrap();
}

/// Definitions that some SDK has failed to handle, with a description of each.
const ODD_FLAGS: &str = include_str!("odd-flags.json");

/// A case of `ODD_FLAGS`. Its flag may be nested more deeply than serde_json can parse.
#[derive(Deserialize)]
struct Odd<'a> {
    name: &'a str,
    #[serde(borrow)]
    flag: &'a RawValue,
}

fn flag(key: &str, rules: &str) -> String {
    format!(r#"{{"key":"{key}","active":true,"filters":{{"groups":[{rules}]}}}}"#)
}

fn depending_on(key: &str) -> String {
    let dependency = json!({ "key": key, "type": "flag", "operator": "flag_evaluates_to", "value": true,
        "dependency_chain": [key] });
    flag(
        "dependent",
        &json!({ "properties": [dependency], "rollout_percentage": 100 }).to_string(),
    )
}

#[tokio::test]
async fn b10_76_a_flag_that_cannot_be_compiled_does_not_affect_the_others() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("kill-switch"), on("other")]));
    let (poller, flags) = start(&stub).await;
    let odd: Vec<Odd<'_>> = serde_json::from_str(ODD_FLAGS).unwrap();
    let decided = [
        "early_exit is null",
        "is_set without value",
        "variant false",
        "filters null",
        "properties null",
        "payload",
    ];
    for case in &odd {
        let name = case.name;
        let off = r#"{"key":"kill-switch","active":false,"filters":{"groups":[{}]}}"#.to_owned();
        stub.set_definitions(definitions_of(&[
            case.flag.to_string(),
            off,
            on("other"),
            depending_on("odd"),
        ]));
        poller.refresh().await.unwrap();
        flags.synced().await;
        assert!(
            !is_on(&flags, "kill-switch") && is_on(&flags, "other"),
            "{name}"
        );
        let ada = FlagSubject::new("ada").property("email", "ada@example.com");
        let (value, dependent) = (
            flags.evaluate("odd", &ada),
            flags.evaluate("dependent", &ada),
        );
        let undecidable: Vec<_> = flags
            .undecidable()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        if decided.iter().any(|decided| name.starts_with(decided)) {
            assert!(
                value.is_ok() && dependent.is_ok() && undecidable.is_empty(),
                "{name}: {value:?} {undecidable:?}"
            );
        } else {
            assert!(
                value.is_err() && dependent.is_err(),
                "{name}: {value:?} {dependent:?}"
            );
            assert_eq!(undecidable, ["dependent", "odd"], "{name}");
        }
        stub.set_definitions(definitions_of(&[on("kill-switch"), on("other")]));
        poller.refresh().await.unwrap();
        flags.synced().await;
        assert!(is_on(&flags, "kill-switch"), "{name}");
    }
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn b10_76_reasons_are_listed_and_only_changes_are_logged() {
    logs::capture();
    let stub = ApiStub::start().await.unwrap();
    let filter = |filter: &str| format!(r#"{{"properties":[{filter}]}}"#);
    let with = |key: &str, more: &str| {
        format!(r#"{{"key":"{key}","active":true,"filters":{{"groups":[{{}}]}},{more}}}"#)
    };
    stub.set_definitions(definitions_of(&[
        on("good"),
        r#"{"key":"switch"}"#.to_owned(),
        with("persistent", r#""ensure_experience_continuity":true"#),
        r#"{"key":"v2","active":true,"filters":{"version":2,"rules":[]}}"#.to_owned(),
        flag(
            "operator",
            &filter(r#"{"key":"plan","operator":"near","value":"pro"}"#),
        ),
        flag(
            "type",
            &filter(r#"{"key":"plan","type":"behavioral","value":"pro"}"#),
        ),
        flag(
            "cohort",
            &filter(r#"{"key":"id","type":"cohort","value":7}"#),
        ),
        flag(
            "odd\\u001b[31mkey",
            &filter(r#"{"key":"plan","operator":"near","value":"pro"}"#),
        ),
        depending_on("switch"),
    ]));
    let (poller, flags) = start(&stub).await;
    let undecidable = flags.undecidable();
    let reasons: Vec<(&str, &str)> = undecidable
        .iter()
        .map(|(key, reason)| (key.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("cohort", r#"the definitions have no cohort "7""#),
            (
                "dependent",
                r#"it depends on the flag "switch", which cannot be evaluated locally"#
            ),
            ("odd\u{1b}[31mkey", r#"the operator "near" is unknown"#),
            ("operator", r#"the operator "near" is unknown"#),
            (
                "persistent",
                "experience continuity can only be evaluated by PostHog"
            ),
            ("switch", "`active` is missing or not a boolean"),
            ("type", r#"the property type "behavioral" is unknown"#),
            ("v2", "the version of `filters` is unknown"),
        ]
    );
    let ada = FlagSubject::new("ada").property("plan", "pro");
    for (key, reason) in &undecidable {
        assert_eq!(
            flags.evaluate(key, &ada).unwrap_err().to_string(),
            *reason,
            "{key}"
        );
    }
    let warned = || logs::with("count", "8");
    assert_eq!(warned().len(), 1);
    assert_eq!(
        (warned()[0].level, warned()[0].name),
        (Level::WARN, "flagcache.undecidable_flags")
    );
    assert!(
        warned()[0].fields["flags"].contains(r"odd\u{1b}[31mkey"),
        "logged escaped"
    );

    // A change that leaves the list as it is causes no warning.
    let definitions = poller.definitions().unwrap().raw_json();
    let text = String::from_utf8(definitions.to_vec())
        .unwrap()
        .replace(r#""good""#, r#""better""#);
    stub.set_definitions(text);
    poller.refresh().await.unwrap();
    flags.synced().await;
    assert!(is_on(&flags, "better"));
    assert_eq!(warned().len(), 1);
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn wait_ready_fails_without_definitions() {
    let stub = ApiStub::start().await.unwrap();
    stub.always(ApiReply::status(500));
    let poller = poller().source(api(&stub)).start().unwrap();
    let flags = LocalEvaluation::attach(&poller);
    match flags.wait_ready(SHORT).await.unwrap_err() {
        NotReadyError::Timeout { timeout, .. } => assert_eq!(timeout, SHORT),
        other => panic!("{other:?}"),
    }
    assert_eq!(flags.evaluate("a", &FlagSubject::new("ada")).unwrap(), None);
    poller.shutdown().await.unwrap();
    assert!(matches!(
        flags.wait_ready(TIMEOUT).await,
        Err(NotReadyError::Stopped)
    ));
}

#[test]
fn b10_77_comparisons_in_which_the_sdks_differ_are_inconclusive() {
    let compares = |operator: &str, value: Value| json!({ "key": "age", "type": "person", "operator": operator, "value": value });
    let in_cohort = json!({ "key": "id", "type": "cohort", "value": 1 });
    for (filter, value, is_decided) in [
        (compares("gt", json!(7)), json!(30), true),
        (compares("gt", json!(7)), json!("30"), true),
        (compares("gt", json!(7)), Value::Null, true),
        (compares("gt", json!(7)), json!("old"), false),
        (compares("gt", json!(7)), json!("30 years"), false),
        (compares("gt", json!(7)), json!(true), false),
        (compares("regex", json!("o")), json!("old"), true),
        (compares("regex", json!("o")), json!(30), true),
        (compares("regex", json!("o")), json!(30.0), false),
        (compares("regex", json!("o")), json!({ "a": 1 }), false),
        (compares("icontains", json!("1e")), json!(30), true),
        (compares("icontains", json!("1e")), json!(1e-6), false),
        (compares("icontains", json!([1])), json!("old"), false),
        (in_cohort, json!(30), false),
    ] {
        let definitions = json!({
            "flags": [{ "key": "a", "active": true, "filters": { "groups": [{ "properties": [filter] }, {}] } }],
            "cohorts": { "1": { "type": "OR", "values": [] } },
        });
        let flags = TestFlags::from_json(definitions.to_string()).unwrap();
        let ada = FlagSubject::new("ada").property("age", value.clone());
        let result = flags.evaluate("a", &ada);
        assert_eq!(
            result.is_ok(),
            is_decided,
            "{filter} of {value}: {result:?}"
        );
    }
}

#[tokio::test]
async fn b10_77_flags_of_other_contexts_are_absent_and_false_for_dependent_flags() {
    let stub = ApiStub::start().await.unwrap();
    let of = |key: &str, name: &str, contexts: &str| {
        format!(
            r#"{{"key":"{key}","active":true,"filters":{{"groups":[{{}}]}},"{name}":{contexts}}}"#
        )
    };
    stub.set_definitions(definitions_of(&[
        on("everywhere"),
        of("here", "evaluation_contexts", r#"["web","checkout"]"#),
        of("there", "evaluation_contexts", r#"["mobile"]"#),
        of("there-too", "evaluation_tags", r#"["mobile"]"#),
        of("none", "evaluation_contexts", "[]"),
        depending_on("there"),
    ]));
    let poller = poller().source(api(&stub)).start().unwrap();
    let flags = LocalEvaluation::builder(&poller)
        .evaluation_contexts(["checkout"])
        .attach();
    flags.wait_ready(TIMEOUT).await.unwrap();
    for key in ["everywhere", "here", "none"] {
        assert!(is_on(&flags, key), "{key}");
    }
    for key in ["there", "there-too"] {
        assert_eq!(
            flags.evaluate(key, &FlagSubject::new("ada")).unwrap(),
            None,
            "{key}"
        );
    }
    assert_eq!(
        flags
            .evaluate("dependent", &FlagSubject::new("ada"))
            .unwrap(),
        Some(FlagValue::Boolean(false))
    );
    assert_eq!(flags.evaluate_all(&FlagSubject::new("ada")).len(), 4);
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn b10_79_overrides_apply_to_every_evaluator_and_reach_no_store() {
    logs::capture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.json");
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("a"), on("b"), depending_on("a")]));
    let store = flagcache::FileStore::builder(folder.path().join("store"), "checkout")
        .build()
        .unwrap();
    let poller = poller()
        .source(api(&stub))
        .flag_definition_cache_provider(store.provider())
        .start()
        .unwrap();
    let overrides = Overrides::new()
        .set("a", false)
        .set("overridden-new-one", "blue")
        .file(&file);
    let flags = LocalEvaluation::builder(&poller)
        .overrides(overrides)
        .attach();
    flags.wait_ready(TIMEOUT).await.unwrap();
    let ada = FlagSubject::new("ada");
    assert!(!is_on(&flags, "a") && is_on(&flags, "b"));
    assert_eq!(
        flags.evaluate("dependent", &ada).unwrap(),
        Some(FlagValue::Boolean(false))
    );
    let blue = Some(FlagValue::String("blue".to_owned()));
    assert_eq!(flags.evaluate("overridden-new-one", &ada).unwrap(), blue);
    assert_eq!(flags.overrides().len(), 2);
    let logged = logs::with("flags", r#"["a", "overridden-new-one"]"#);
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].name, "flagcache.overrides");

    let write_and_expect = async |value: &str, expected: Option<FlagValue>| {
        std::fs::write(&file, value).unwrap();
        let seen = async {
            while flags.evaluate("b", &ada).unwrap() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, seen).await.unwrap();
    };
    write_and_expect(r#"{"b":"blue"}"#, blue.clone()).await;
    write_and_expect("{", blue).await;
    write_and_expect("{}", Some(FlagValue::Boolean(true))).await;

    let stored = store
        .provider()
        .get_flag_definitions()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored.raw_json(),
        definitions_of(&[on("a"), on("b"), depending_on("a")]).as_bytes()
    );
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_policy_that_clears_the_definitions_clears_the_evaluation() {
    let stub = ApiStub::start().await.unwrap();
    let body = json!({ "flags": [{ "key": "a", "active": true, "filters": { "groups": [{}] } }],
        "minimal_flag_called_events": true, "property_matching_version": 2, "group_type_mapping": { "0": "company" } });
    stub.set_definitions(body.to_string());
    let poller = poller()
        .source(api(&stub))
        .on_unauthorized(OnUnauthorized::Clear)
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.wait_ready(TIMEOUT).await.unwrap();
    assert!(is_on(&flags, "a"));

    stub.next(ApiReply::status(401));
    poller.refresh().await.unwrap_err();
    flags.synced().await;
    let evaluator = flags.evaluator();
    let cache = evaluator.cache();
    assert_eq!(flags.definitions(), None);
    assert_eq!(flags.evaluate("a", &FlagSubject::new("ada")).unwrap(), None);
    assert!(cache.get_all_flags().is_empty() && cache.get_group_type_mapping().is_empty());
    assert!(!cache.minimal_flag_called_events());
    assert!(matches!(
        flags.wait_ready(SHORT).await,
        Err(NotReadyError::Timeout { .. })
    ));
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_last_definitions_outlive_the_poller() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("a")]));
    let (poller, flags) = start(&stub).await;
    poller.shutdown().await.unwrap();
    assert!(is_on(&flags, "a"));
    flags.synced().await;
    flags.wait_ready(TIMEOUT).await.unwrap();

    let late = LocalEvaluation::attach(&poller);
    late.wait_ready(TIMEOUT).await.unwrap();
    assert!(is_on(&late, "a"), "attached to a poller that has ended");
}

#[test]
fn the_last_definitions_outlive_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (flags, never) = runtime.block_on(async {
        let stub = ApiStub::start().await.unwrap();
        stub.set_definitions(definitions_of(&[on("a")]));
        let (_, flags) = start(&stub).await;
        stub.always(ApiReply::status(500));
        let without = poller().source(api(&stub)).start().unwrap();
        (flags, LocalEvaluation::attach(&without))
    });
    drop(runtime);
    assert!(is_on(&flags, "a"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        flags.wait_ready(TIMEOUT).await.unwrap();
        flags.synced().await;
        assert!(matches!(
            never.wait_ready(TIMEOUT).await,
            Err(NotReadyError::Stopped)
        ));
        never.synced().await;
    });
}

#[tokio::test]
async fn the_handle_keeps_the_poller_running_and_its_evaluator_does_not() {
    let source = ScriptedSource::new();
    source.serve(definitions_of(&[on("a")]), None);
    let poller = FlagDefinitionPoller::builder()
        .source(source.clone())
        .poll_interval(SHORT)
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    let mut changes = poller.subscribe();
    drop(poller);
    flags.wait_ready(TIMEOUT).await.unwrap();
    source.serve(definitions_of(&[on("b")]), None);
    let followed = async {
        while !is_on(&flags, "b") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, followed).await.unwrap();

    let evaluator = flags.evaluator();
    drop(flags);
    let ended = async { while changes.next().await.is_some() {} };
    tokio::time::timeout(TIMEOUT, ended).await.unwrap();
    assert!(evaluator.cache().get_flag("b").is_some());
}

#[tokio::test]
async fn a_poller_in_manual_mode_is_followed() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("a")]));
    let poller = FlagDefinitionPoller::builder()
        .source(api(&stub))
        .manual()
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.synced().await;
    assert_eq!(flags.definitions(), None);
    for key in ["a", "b"] {
        stub.set_definitions(definitions_of(&[on(key)]));
        poller.refresh().await.unwrap();
        flags.synced().await;
        assert!(is_on(&flags, key));
    }
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_date_on_which_posthog_rs_panics_is_inconclusive() {
    let stub = ApiStub::start().await.unwrap();
    let property = r#"{"key":"joined","operator":"is_date_after","value":"2024-01-01"}"#;
    stub.set_definitions(definitions_of(&[
        format!(
            r#"{{"key":"a","active":true,"filters":{{"groups":[{{"properties":[{property}]}}]}}}}"#
        ),
        on("b"),
    ]));
    let (poller, flags) = start(&stub).await;
    let joined = |date: &str| FlagSubject::new("ada").property("joined", date);
    assert_eq!(
        flags.evaluate("a", &joined("2025-01-01")).unwrap(),
        Some(FlagValue::Boolean(true))
    );
    let error = flags.evaluate("a", &joined("-1é")).unwrap_err();
    assert!(error.to_string().contains("is not a date"), "{error}");
    assert!(is_on(&flags, "b"), "other flags are not affected");
    poller.shutdown().await.unwrap();
}

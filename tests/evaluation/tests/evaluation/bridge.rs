//! The bridge stays in step with its poller, whatever that has in memory.

use std::time::Duration;

use flagcache::testing::{ApiReply, ApiStub, ScriptedSource};
use flagcache::{
    FlagDefinitionPoller, FlagSubject, LocalEvaluation, NotReadyError, OnUnauthorized,
};
use posthog_rs::FlagValue;
use serde_json::json;
use tracing::Level;

use crate::logs;
use crate::rig::{LIMIT, api, bridge, on, poller, set};

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
async fn a_change_is_taken_up() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(set(&[on("a")]));
    let (poller, flags) = bridge(&stub).await;
    let clone = flags.clone();
    let evaluator = flags.evaluator();
    assert!(is_on(&flags, "a") && !is_on(&flags, "b"));
    stub.set_definitions(set(&[on("b")]));
    poller.refresh().await.unwrap();
    flags.synced().await.unwrap();
    for flags in [&flags, &clone] {
        assert!(is_on(flags, "b") && !is_on(flags, "a"));
    }
    assert!(
        evaluator.cache().get_flag("b").is_some(),
        "one that was handed out before"
    );
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn equal_definitions_with_other_number_formats_are_installed_too() {
    let stub = ApiStub::start().await.unwrap();
    let wanting = |age: &str| {
        let property = format!(r#"{{"key":"age","operator":"exact","value":[{age}]}}"#);
        set(&[format!(
            r#"{{"key":"a","active":true,"filters":{{"groups":[{{"properties":[{property}]}}]}}}}"#
        )])
    };
    let adult = FlagSubject::new("ada").property("age", "18");
    let is_on = |flags: &LocalEvaluation| {
        flags.evaluate("a", &adult).unwrap() == Some(FlagValue::Boolean(true))
    };
    stub.set_definitions(wanting("18.0"));
    let (poller, flags) = bridge(&stub).await;
    let before = is_on(&flags);
    stub.set_definitions(wanting("18"));
    poller.refresh().await.unwrap();
    flags.synced().await.unwrap();
    // The poller announces no change. posthog-rs compares as text.
    assert_eq!(
        (poller.status().version, before, is_on(&flags)),
        (1, false, true)
    );
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn undecodable_definitions_keep_the_old_ones_and_name_the_flag() {
    logs::listen();
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(set(&[on("good")]));
    let (poller, flags) = bridge(&stub).await;
    let serve = async |definitions: String| {
        stub.set_definitions(definitions);
        poller.refresh().await.unwrap();
        flags.synced().await
    };
    let without_active = |key: &str, more: &str| format!(r#"{{"key":"{key}"{more}}}"#);

    let error = serve(set(&[on("new"), without_active("odd-one", "")]))
        .await
        .unwrap_err();
    assert_eq!(error.flag_key(), Some("odd-one"));
    assert_eq!(
        error.to_string(),
        "posthog-rs cannot decode flag `odd-one`: missing field `active` (line 1 column 17)"
    );
    assert_eq!(flags.last_error(), Some(error));
    assert_eq!(poller.status().flags, Some(2), "the poller has the set");
    assert!(is_on(&flags, "good") && !is_on(&flags, "new"));
    assert_eq!(flags.definitions().map(|set| set.len()), Some(1));
    flags.wait_ready(LIMIT).await.unwrap();

    // Another set, the same flag: nothing new to warn of. Another flag is.
    serve(set(&[on("newer"), without_active("odd-one", r#","a":1"#)]))
        .await
        .unwrap_err();
    serve(set(&[on("newer"), without_active("odd-one", r#","a":2"#)]))
        .await
        .unwrap_err();
    serve(set(&[without_active("odd-two", "")]))
        .await
        .unwrap_err();
    for (key, warnings) in [("odd-one", 1), ("odd-two", 1)] {
        let logged = logs::with("flag", key);
        assert_eq!(logged.len(), warnings, "{logged:?}");
        assert_eq!(
            (logged[0].level, logged[0].name),
            (Level::WARN, "flagcache.evaluation_failed")
        );
        assert!(logged[0].fields["error"].contains(key));
    }

    serve(set(&[on("new")])).await.unwrap();
    assert_eq!(flags.last_error(), None);
    assert!(is_on(&flags, "new") && !is_on(&flags, "good"));

    // Back to what is evaluated still: there is nothing to decode, and nothing wrong.
    serve(set(&[without_active("odd-three", "")]))
        .await
        .unwrap_err();
    serve(set(&[on("new")])).await.unwrap();
    assert_eq!(flags.last_error(), None);
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_first_definitions_may_be_undecodable() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(r#"{"flags":[],"cohorts":{},"group_type_mapping":{"0":0}}"#);
    let poller = poller().source(api(&stub)).start().unwrap();
    let flags = LocalEvaluation::attach(&poller);
    poller.wait_ready(LIMIT).await.unwrap();
    let error = flags.synced().await.unwrap_err();
    assert_eq!(error.flag_key(), None);
    assert!(
        error.to_string().contains("`group_type_mapping`"),
        "{error}"
    );
    match flags.wait_ready(SHORT).await.unwrap_err() {
        NotReadyError::Timeout { last_error, .. } => {
            assert_eq!(last_error, Some(error.to_string()))
        }
        other => assert_eq!(other, NotReadyError::Stopped, "not that"),
    }
    assert_eq!(flags.evaluate("a", &FlagSubject::new("ada")).unwrap(), None);
    poller.shutdown().await.unwrap();
    assert_eq!(flags.wait_ready(LIMIT).await, Err(NotReadyError::Stopped));
}

#[tokio::test]
async fn a_policy_that_clears_the_definitions_clears_them_here() {
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
    flags.wait_ready(LIMIT).await.unwrap();
    assert!(is_on(&flags, "a"));

    stub.next(ApiReply::status(401));
    poller.refresh().await.unwrap_err();
    flags.synced().await.unwrap();
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
async fn what_was_evaluated_last_outlives_the_poller() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(set(&[on("a")]));
    let (poller, flags) = bridge(&stub).await;
    poller.shutdown().await.unwrap();
    assert!(is_on(&flags, "a"));
    flags.synced().await.unwrap();
    flags.wait_ready(LIMIT).await.unwrap();

    let late = LocalEvaluation::attach(&poller);
    late.wait_ready(LIMIT).await.unwrap();
    assert!(
        is_on(&late, "a"),
        "one that is attached to a poller that has ended"
    );
}

#[test]
fn what_was_evaluated_last_outlives_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (flags, never) = runtime.block_on(async {
        let stub = ApiStub::start().await.unwrap();
        stub.set_definitions(set(&[on("a")]));
        let (_, flags) = bridge(&stub).await;
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
        flags.wait_ready(LIMIT).await.unwrap();
        flags.synced().await.unwrap();
        assert_eq!(never.wait_ready(LIMIT).await, Err(NotReadyError::Stopped));
        never.synced().await.unwrap();
    });
}

#[tokio::test]
async fn the_bridge_keeps_the_poller_running_and_its_evaluator_does_not() {
    let source = ScriptedSource::new();
    source.serve(set(&[on("a")]), None);
    let poller = FlagDefinitionPoller::builder()
        .source(source.clone())
        .poll_interval(SHORT)
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    let mut changes = poller.subscribe();
    drop(poller);
    flags.wait_ready(LIMIT).await.unwrap();
    source.serve(set(&[on("b")]), None);
    let followed = async {
        while !is_on(&flags, "b") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, followed).await.unwrap();

    let evaluator = flags.evaluator();
    drop(flags);
    let ended = async { while changes.next().await.is_some() {} };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert!(evaluator.cache().get_flag("b").is_some());
}

#[tokio::test]
async fn a_poller_in_manual_mode_is_followed_too() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(set(&[on("a")]));
    let poller = FlagDefinitionPoller::builder()
        .source(api(&stub))
        .manual()
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.synced().await.unwrap();
    assert_eq!(flags.definitions(), None);
    for key in ["a", "b"] {
        stub.set_definitions(set(&[on(key)]));
        poller.refresh().await.unwrap();
        flags.synced().await.unwrap();
        assert!(is_on(&flags, key));
    }
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_date_that_posthog_rs_panics_at_is_inconclusive() {
    let stub = ApiStub::start().await.unwrap();
    let property = r#"{"key":"joined","operator":"is_date_after","value":"2024-01-01"}"#;
    stub.set_definitions(set(&[
        format!(
            r#"{{"key":"a","active":true,"filters":{{"groups":[{{"properties":[{property}]}}]}}}}"#
        ),
        on("b"),
    ]));
    let (poller, flags) = bridge(&stub).await;
    let joined = |date: &str| FlagSubject::new("ada").property("joined", date);
    assert_eq!(
        flags.evaluate("a", &joined("2025-01-01")).unwrap(),
        Some(FlagValue::Boolean(true))
    );
    let error = flags.evaluate("a", &joined("-1é")).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(is_on(&flags, "b"), "others are evaluated as before");
    poller.shutdown().await.unwrap();
}

//! B6: what the poller does with the data that passes through it. The data's own rules are tested where the data is.

use flagcache::{
    DefinitionsOrigin, FlagDefinitionCacheData, PollerState, ProjectFingerprint,
    flag_cache_provider,
};
use flagcache_providers::testing::{Fault, ProviderMethod};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::support::{Logs, Rig, body, foreign, set, stored};

use ProviderMethod::{FetchWithoutUpdate, Get, Received, ShouldFetch};

const ODD: &str = r#"{"flags":[{"key":"odd","id":9007199254740993,"rollout":33.333333333333336,"later":{"x":[1,null]}}],"group_type_mapping":{"0":"company"},"cohorts":{},"later":{"deep":18446744073709551615},"minimal_flag_called_events":true,"property_matching_version":2}"#;

#[tokio::test(start_paused = true)]
async fn b6_50_unknown_members_and_odd_numbers_reach_the_store_and_come_back() {
    let rig = Rig::new();
    rig.api.serve(ODD, Some("\"odd\""));
    let leader = rig.start();
    leader.loads(1).await;
    let in_store = leader.provider.published()[0].to_json();
    leader.finish().await;
    let follower = Rig::following(FlagDefinitionCacheData::from_json(in_store).unwrap()).start();
    follower.loads(1).await;
    assert_eq!(follower.poller.definitions().unwrap().raw_json(), ODD);
    follower.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b6_51_both_spellings_are_published_and_read() {
    let rig = Rig::new();
    rig.api.serve(ODD, None);
    let worker = rig.start();
    worker.loads(1).await;
    let json: serde_json::Value =
        serde_json::from_slice(&worker.provider.published()[0].to_json()).unwrap();
    for (snake, camel) in [
        ("group_type_mapping", "groupTypeMapping"),
        ("minimal_flag_called_events", "minimalFlagCalledEvents"),
        ("property_matching_version", "propertyMatchingVersion"),
    ] {
        assert!(
            !json[snake].is_null() && json[snake] == json[camel],
            "{json}"
        );
    }
    worker.finish().await;
    let camel = r#"{"flags":[],"groupTypeMapping":{"1":"b"},"group_type_mapping":{"0":"a"},"propertyMatchingVersion":2}"#;
    let worker = Rig::following(set(camel)).start();
    worker.loads(1).await;
    let read = worker.poller.definitions().unwrap();
    assert_eq!(
        (
            read.group_type_mapping().as_str(),
            read.property_matching_version()
        ),
        (r#"{"0":"a"}"#, Some(2))
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b6_52_a_version_that_is_absent_is_not_inherited_and_its_change_is_one() {
    let rig = Rig::new();
    rig.api.serve(
        r#"{"flags":[],"property_matching_version":2}"#,
        Some("\"2\""),
    );
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        worker
            .poller
            .definitions()
            .unwrap()
            .property_matching_version(),
        Some(2)
    );
    let mut changes = worker.poller.subscribe();
    worker.api.serve(r#"{"flags":[]}"#, Some("\"0\""));
    let change = changes.next().await.unwrap();
    assert_eq!(change.diff.members, ["property_matching_version"]);
    assert_eq!(
        worker
            .poller
            .definitions()
            .unwrap()
            .property_matching_version(),
        None
    );
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b6_53_minimal_events_belong_to_the_definitions_and_are_true_only_for_json_true() {
    for (json, minimal) in [
        ("true", true),
        ("false", false),
        ("1", false),
        ("\"true\"", false),
        ("null", false),
    ] {
        let rig = Rig::new();
        rig.api.serve(
            format!(r#"{{"flags":[],"minimal_flag_called_events":{json}}}"#),
            None,
        );
        let leader = rig.start();
        leader.loads(1).await;
        let copy =
            FlagDefinitionCacheData::from_json(leader.provider.published()[0].to_json()).unwrap();
        leader.finish().await;
        let follower = Rig::following(copy).start();
        follower.loads(1).await;
        assert_eq!(
            follower
                .poller
                .definitions()
                .unwrap()
                .minimal_flag_called_events(),
            minimal,
            "{json}"
        );
        follower.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b6_54_a_copy_of_another_sdk_loads() {
    let worker = Rig::following(foreign("theirs")).start();
    worker.loads(1).await;
    let status = worker.poller.status();
    assert_eq!(
        (worker.key().as_deref(), status.state),
        (Some("theirs"), PollerState::Ready)
    );
    assert_eq!(status.origin, Some(DefinitionsOrigin::Cache));
    worker.finish().await;
}

#[tokio::test(start_paused = true)]
async fn b6_54_a_copy_of_another_project_is_refused_and_counts_as_a_read_failure() {
    let ours = ProjectFingerprint::of("phc_ours");
    let copy = |project| {
        let project = Some(ProjectFingerprint::of(project));
        FlagDefinitionCacheData::from_api_response(
            body("copy"),
            Some("\"c\""),
            SystemTime::now(),
            project,
        )
        .unwrap()
    };
    // To follow: fetched at once, as for any read that fails.
    let (logs, _guard) = Logs::capture();
    let rig = Rig::following(copy("phc_theirs"));
    rig.api.set_project(Some(ours));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        (worker.key().as_deref(), worker.api.etags_sent()),
        (Some("a"), vec![None])
    );
    let warnings = logs.warnings();
    assert_eq!(
        (warnings.len(), warnings[0].fields["kind"].as_str()),
        (1, "invalid_data")
    );
    assert!(
        warnings[0].fields["error"].contains("another project"),
        "{warnings:?}"
    );
    worker.finish().await;
    // To lead: its ETag is not sent, and the leader's own set replaces it.
    let rig = Rig::new();
    rig.api.set_project(Some(ours));
    rig.provider.stored().always(Some(copy("phc_theirs")));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        (worker.api.etags_sent(), worker.published()),
        (vec![None], vec!["a".to_owned()])
    );
    worker.finish().await;
    // One's own is taken.
    let rig = Rig::following(copy("phc_ours"));
    rig.api.set_project(Some(ours));
    let worker = rig.start();
    worker.loads(1).await;
    assert_eq!(
        (worker.key().as_deref(), worker.api.count()),
        (Some("copy"), 0)
    );
    worker.finish().await;
}

/// A store of bytes, as a user writes one.
#[derive(Clone)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

#[flag_cache_provider]
impl Bytes {
    async fn should_fetch_flag_definitions(&self) -> bool {
        false
    }

    async fn get_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, flagcache::DataError> {
        let json = self.0.lock().unwrap().clone();
        FlagDefinitionCacheData::from_json(json).map(Some)
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

#[tokio::test(start_paused = true)]
async fn b6_54_a_copy_of_a_newer_schema_is_refused_and_memory_is_unchanged() {
    is_refused_and_memory_stays(r#""schema":99"#, "schema 99").await;
}

#[tokio::test(start_paused = true)]
async fn b6_54_a_copy_of_another_feed_is_refused_and_memory_is_unchanged() {
    is_refused_and_memory_stays(r#""schema":1,"feed":2"#, "another feed").await;
}

async fn is_refused_and_memory_stays(written: &str, reason: &str) {
    let copy = stored("copy", "\"c\"").to_json();
    let store = Bytes(Arc::new(Mutex::new(copy.to_vec())));
    let rig = Rig::new();
    let poller = rig
        .builder()
        .flag_definition_cache_provider(store.clone())
        .manual()
        .start()
        .unwrap();
    poller.refresh().await.unwrap();
    let newer = String::from_utf8(copy.to_vec())
        .unwrap()
        .replace(r#""schema":1"#, written);
    *store.0.lock().unwrap() = newer.into_bytes();
    let error = poller.refresh().await.unwrap_err();
    assert!(format!("{error:#}").contains(reason), "{error:#}");
    assert!(poller.definitions().is_some(), "memory stays");
    // A read failure: this worker fetches, and the fleet's copy is not touched.
    assert_eq!(rig.api.count(), 1);
    poller.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn b6_54_an_edited_copy_keeps_its_data_and_loses_its_etag() {
    let copy = String::from_utf8(stored("copy", "\"c\"").to_json().to_vec()).unwrap();
    let edited = FlagDefinitionCacheData::from_json(copy.replace("true", "false")).unwrap();
    let worker = Rig::following(edited).start();
    worker.loads(1).await;
    assert_eq!(worker.key().as_deref(), Some("copy"));
    worker.provider.read().always_fault(Fault::Undecodable);
    // The copy is the leader's to repair for two ticks.
    worker.loads(4).await;
    assert_eq!(worker.api.etags_sent(), [None]);
    assert!(
        worker.methods().ends_with(&[ShouldFetch, Get, Get]),
        "{:?}",
        worker.methods()
    );
    assert_eq!(
        (
            worker.provider.count(Received),
            worker.provider.count(FetchWithoutUpdate)
        ),
        (0, 0)
    );
    worker.finish().await;
}

//! With `use_posthog_rs_evaluator`, values equal those of posthog-rs's own poller.

use std::collections::BTreeMap;
use std::time::Duration;

use flagcache::testing::ApiStub;
use flagcache::{FileStore, FlagDefinitionPoller, FlagSubject, LocalEvaluation, ReadOnly};
use posthog_rs::{
    AsyncFlagPoller, FlagCache, FlagValue, InconclusiveMatchError, LocalEvaluationConfig,
    LocalEvaluator,
};
use serde_json::Value;

use crate::fixture::{TIMEOUT, api, poller};
use crate::generated::{self, FLAGS};

const CASES: u64 = 300;
const USERS: u64 = 6;

/// The results of the evaluator's functions for all flags.
#[derive(Debug, PartialEq)]
struct Results {
    with_context: Vec<String>,
    simple: Vec<String>,
    all: BTreeMap<String, String>,
}

fn formatted(outcome: Result<Option<FlagValue>, InconclusiveMatchError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

fn results(evaluator: &LocalEvaluator, user: &FlagSubject) -> Results {
    let (distinct_id, properties) = (user.distinct_id(), user.properties());
    let (groups, group_properties) = (user.groups(), user.group_properties());
    // Includes one key that does not exist.
    let keys: Vec<String> = (0..=FLAGS).map(generated::key).collect();
    let with_context =
        |key| evaluator.evaluate_flag(key, distinct_id, properties, groups, group_properties);
    let simple = |key| {
        evaluator.evaluate_flag_simple(key, distinct_id, properties, groups, group_properties)
    };
    let all = evaluator.evaluate_all_flags(distinct_id, properties, groups, group_properties);
    Results {
        with_context: keys
            .iter()
            .map(|key| formatted(with_context(key)))
            .collect(),
        simple: keys.iter().map(|key| formatted(simple(key))).collect(),
        all: all
            .into_iter()
            .map(|(key, outcome)| (key, formatted(outcome.map(Some))))
            .collect(),
    }
}

/// posthog-rs's own poller.
fn posthog_rs_poller(stub: &ApiStub, cache: FlagCache) -> AsyncFlagPoller {
    let config = LocalEvaluationConfig {
        personal_api_key: ApiStub::SECRET_KEY.to_owned(),
        project_api_key: ApiStub::PROJECT_KEY.to_owned(),
        api_host: stub.url(),
        poll_interval: Duration::from_secs(3600),
        request_timeout: TIMEOUT,
    };
    AsyncFlagPoller::new(config, cache)
}

/// Refreshes until the evaluation has these definitions.
async fn load(poller: &FlagDefinitionPoller, flags: &LocalEvaluation, body: &str) {
    let is_current = || {
        flags
            .definitions()
            .is_some_and(|definitions| definitions.raw_json() == body.as_bytes())
    };
    let load = async {
        while !is_current() {
            poller.refresh().await.unwrap();
            flags.synced().await;
        }
    };
    tokio::time::timeout(TIMEOUT, load).await.unwrap();
}

#[tokio::test]
async fn leader_and_follower_evaluate_as_posthog_rs_does() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let store = FileStore::builder(folder.path(), "checkout")
        .build()
        .unwrap();
    let posthog_cache = FlagCache::new();
    let (posthog_poller, posthog_evaluator) = (
        posthog_rs_poller(&stub, posthog_cache.clone()),
        LocalEvaluator::new(posthog_cache),
    );
    let leader = poller()
        .source(api(&stub))
        .flag_definition_cache_provider(store.provider())
        .start()
        .unwrap();
    let follower = poller()
        .flag_definition_cache_provider(ReadOnly(store.provider()))
        .start()
        .unwrap();
    let [leader_flags, follower_flags] = [&leader, &follower].map(|poller| {
        LocalEvaluation::builder(poller)
            .use_posthog_rs_evaluator()
            .attach()
    });
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut different_by_version = 0;
    for seed in 0..CASES {
        let body = generated::definitions(seed);
        stub.set_definitions(body.clone());
        posthog_poller.load_flags().await.unwrap();
        load(&leader, &leader_flags, &body).await;
        load(&follower, &follower_flags, &body).await;
        let other_version = with_other_version(&body);
        for user in 0..USERS {
            let user = generated::subject(seed * USERS + user);
            let expected = results(&posthog_evaluator, &user);
            for (flags, which) in [(&leader_flags, "leader"), (&follower_flags, "follower")] {
                assert_eq!(
                    results(&flags.evaluator(), &user),
                    expected,
                    "{which}, definitions {seed}: {body}"
                );
                let own = (0..=FLAGS)
                    .map(|index| formatted(flags.evaluate(&generated::key(index), &user)));
                assert_eq!(
                    own.collect::<Vec<_>>(),
                    expected.with_context,
                    "{which}, definitions {seed}: {body}"
                );
            }
            different_by_version += usize::from(results(&other_version, &user) != expected);
            expected
                .with_context
                .iter()
                .for_each(|result| *seen.entry(result.clone()).or_default() += 1);
        }
    }
    // Check that the generated definitions cover all kinds of results.
    let count = |result: &str| seen.get(result).copied().unwrap_or_default();
    for result in [
        r"Some(Boolean(true))",
        r"Some(Boolean(false))",
        r#"Some(String("control"))"#,
        r#"Some(String("test"))"#,
        "None",
        "Can't determine if feature flag is enabled or not with given properties",
    ] {
        assert!(count(result) > 50, "{result}: {seen:?}");
    }
    assert!(different_by_version > 20, "{different_by_version}");
    follower.shutdown().await.unwrap();
    leader.shutdown().await.unwrap();
}

/// An evaluator of the same definitions with another `property_matching_version`.
fn with_other_version(body: &str) -> LocalEvaluator {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let version = if body["property_matching_version"] == 2 {
        1
    } else {
        2
    };
    body["property_matching_version"] = version.into();
    let cache = FlagCache::new();
    cache.update(serde_json::from_value(body).unwrap());
    LocalEvaluator::new(cache)
}

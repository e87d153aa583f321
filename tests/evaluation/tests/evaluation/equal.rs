//! Asked to, the bridge evaluates as posthog-rs's own poller does.

use std::collections::BTreeMap;
use std::time::Duration;

use flagcache::testing::ApiStub;
use flagcache::{FileStore, FlagDefinitionPoller, FlagSubject, LocalEvaluation, ReadOnly};
use posthog_rs::{
    AsyncFlagPoller, FlagCache, FlagValue, InconclusiveMatchError, LocalEvaluationConfig,
    LocalEvaluator,
};
use serde_json::Value;

use crate::generated::{self, FLAGS};
use crate::rig::{LIMIT, api, poller};

const SETS: u64 = 300;
const USERS: u64 = 6;

/// What each function of the evaluator says of all flags.
#[derive(Debug, PartialEq)]
struct Said {
    with_context: Vec<String>,
    simple: Vec<String>,
    all: BTreeMap<String, String>,
}

fn shown(outcome: Result<Option<FlagValue>, InconclusiveMatchError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

fn said(evaluator: &LocalEvaluator, user: &FlagSubject) -> Said {
    let (distinct_id, properties) = (user.distinct_id(), user.properties());
    let (groups, group_properties) = (user.groups(), user.group_properties());
    // One more than there are: it is missing.
    let keys: Vec<String> = (0..=FLAGS).map(generated::key).collect();
    let with_context =
        |key| evaluator.evaluate_flag(key, distinct_id, properties, groups, group_properties);
    let simple = |key| {
        evaluator.evaluate_flag_simple(key, distinct_id, properties, groups, group_properties)
    };
    let all = evaluator.evaluate_all_flags(distinct_id, properties, groups, group_properties);
    Said {
        with_context: keys.iter().map(|key| shown(with_context(key))).collect(),
        simple: keys.iter().map(|key| shown(simple(key))).collect(),
        all: all
            .into_iter()
            .map(|(key, outcome)| (key, shown(outcome.map(Some))))
            .collect(),
    }
}

fn theirs(stub: &ApiStub, cache: FlagCache) -> AsyncFlagPoller {
    let config = LocalEvaluationConfig {
        personal_api_key: ApiStub::SECRET_KEY.to_owned(),
        project_api_key: ApiStub::PROJECT_KEY.to_owned(),
        api_host: stub.url(),
        poll_interval: Duration::from_secs(3600),
        request_timeout: LIMIT,
    };
    AsyncFlagPoller::new(config, cache)
}

/// Loads until the poller has this set and the bridge has taken it up.
async fn take_up(poller: &FlagDefinitionPoller, flags: &LocalEvaluation, body: &str) {
    let has_it = || {
        flags
            .definitions()
            .is_some_and(|set| set.raw_json() == body.as_bytes())
    };
    let load = async {
        while !has_it() {
            poller.refresh().await.unwrap();
            flags.synced().await;
        }
    };
    tokio::time::timeout(LIMIT, load).await.unwrap();
}

#[tokio::test]
async fn it_evaluates_what_is_fetched_and_what_is_shared_as_posthog_rs_does() {
    let (stub, folder) = (
        ApiStub::start().await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let store = FileStore::builder(folder.path(), "checkout")
        .build()
        .unwrap();
    let their_cache = FlagCache::new();
    let (their_poller, them) = (
        theirs(&stub, their_cache.clone()),
        LocalEvaluator::new(their_cache),
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
    let [of_leader, of_follower] = [&leader, &follower].map(|poller| {
        LocalEvaluation::builder(poller)
            .answer_as_posthog_rs()
            .attach()
    });
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut different_by_version = 0;
    for seed in 0..SETS {
        let body = generated::definitions(seed);
        stub.set_definitions(body.clone());
        their_poller.load_flags().await.unwrap();
        take_up(&leader, &of_leader, &body).await;
        take_up(&follower, &of_follower, &body).await;
        let other_version = with_the_other_version(&body);
        for user in 0..USERS {
            let user = generated::subject(seed * USERS + user);
            let their_word = said(&them, &user);
            for (flags, which) in [(&of_leader, "leader"), (&of_follower, "follower")] {
                assert_eq!(
                    said(&flags.evaluator(), &user),
                    their_word,
                    "{which}, set {seed}: {body}"
                );
                let own =
                    (0..=FLAGS).map(|index| shown(flags.evaluate(&generated::key(index), &user)));
                assert_eq!(
                    own.collect::<Vec<_>>(),
                    their_word.with_context,
                    "{which}, set {seed}: {body}"
                );
            }
            different_by_version += usize::from(said(&other_version, &user) != their_word);
            their_word
                .with_context
                .iter()
                .for_each(|word| *seen.entry(word.clone()).or_default() += 1);
        }
    }
    // The comparison is worth something only if the definitions decide.
    let often = |word: &str| seen.get(word).copied().unwrap_or_default();
    for word in [
        r"Some(Boolean(true))",
        r"Some(Boolean(false))",
        r#"Some(String("control"))"#,
        r#"Some(String("test"))"#,
        "None",
        "Can't determine if feature flag is enabled or not with given properties",
    ] {
        assert!(often(word) > 50, "{word}: {seen:?}");
    }
    assert!(different_by_version > 20, "{different_by_version}");
    follower.shutdown().await.unwrap();
    leader.shutdown().await.unwrap();
}

/// An evaluator that ignores which rules of matching the set was made for.
fn with_the_other_version(body: &str) -> LocalEvaluator {
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

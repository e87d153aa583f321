//! The events of evaluations, as a server receives them.

use std::collections::BTreeMap;

use flagcache::testing::ApiStub;
use flagcache::{FlagDefinitionPoller, FlagSubject, LocalEvaluation, Overrides};
use posthog_rs::{Client, ClientOptionsBuilder, EvaluateFlagsOptions, FlagValue, RequestContext};
use serde_json::{Value, json};

use crate::fixture::{TIMEOUT, api, definitions_of, on, poller};
use crate::generated::{self, FLAGS};

/// The parts of its version, which posthog-rs adds to all events except its own minimal ones.
const VERSION_NUMBERS: [&str; 3] = [
    "$lib_version__major",
    "$lib_version__minor",
    "$lib_version__patch",
];

/// Few cases, because clients are slow to build; several users for each case.
const CASES: u64 = 20;
const USERS: u64 = 10;

/// A client that captures events and does not poll.
async fn client(stub: &ApiStub) -> Client {
    let mut options = ClientOptionsBuilder::default();
    options
        .api_key(ApiStub::PROJECT_KEY.to_owned())
        .host(stub.url());
    posthog_rs::client(options.build().unwrap()).await
}

/// A posthog-rs client with its own local evaluation.
async fn evaluating_client(stub: &ApiStub) -> Client {
    let mut options = ClientOptionsBuilder::default();
    options
        .api_key(ApiStub::PROJECT_KEY.to_owned())
        .host(stub.url())
        .secret_key(ApiStub::SECRET_KEY);
    options
        .enable_local_evaluation(true)
        .poll_interval_seconds(3600);
    posthog_rs::client(options.build().unwrap()).await
}

struct Fixture {
    stub: ApiStub,
    poller: FlagDefinitionPoller,
    flags: LocalEvaluation,
    client: Client,
}

impl Fixture {
    async fn with(definitions: String) -> Self {
        Self::new(definitions, LocalEvaluation::attach).await
    }

    async fn new(
        definitions: String,
        attach: impl Fn(&FlagDefinitionPoller) -> LocalEvaluation,
    ) -> Self {
        let stub = ApiStub::start().await.unwrap();
        stub.set_definitions(definitions);
        let poller = poller().source(api(&stub)).start().unwrap();
        let flags = attach(&poller);
        flags.wait_ready(TIMEOUT).await.unwrap();
        let client = client(&stub).await;
        Self {
            stub,
            poller,
            flags,
            client,
        }
    }

    fn call(&self, key: &str, subject: &FlagSubject) -> Option<FlagValue> {
        self.flags
            .evaluate_and_capture(&self.client, key, subject)
            .unwrap()
    }

    /// All events received so far.
    async fn events(&self) -> Vec<Value> {
        self.client.flush().await;
        self.stub.events()
    }

    async fn count(&self) -> usize {
        self.events().await.len()
    }
}

/// Identifies an event, and removes its id and timestamp, which differ between equal events.
fn content(event: &Value) -> (String, Value) {
    let mut event = event.clone();
    let id = format!(
        "{} {}",
        event["distinct_id"], event["properties"]["$feature_flag"]
    );
    for name in ["uuid", "timestamp"] {
        event.as_object_mut().unwrap().remove(name);
    }
    (id, event)
}

#[tokio::test]
async fn an_event_is_sent_once_per_subject_and_value() {
    let fixture = Fixture::with(definitions_of(&[on("a"), on("b")])).await;
    let (ada, grace) = (FlagSubject::new("ada"), FlagSubject::new("grace"));
    for _ in 0..3 {
        assert_eq!(fixture.call("a", &ada), Some(FlagValue::Boolean(true)));
    }
    let events = fixture.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["event"], &events[0]["distinct_id"]),
        (&json!("$feature_flag_called"), &json!("ada"))
    );
    let properties = &events[0]["properties"];
    assert_eq!(properties["$feature_flag"], "a");
    assert_eq!(
        (
            &properties["$feature_flag_response"],
            &properties["$feature/a"]
        ),
        (&json!(true), &json!(true))
    );
    assert_eq!(properties["locally_evaluated"], true);

    fixture.call("b", &ada);
    fixture.call("a", &grace);
    fixture.call("a", &ada.clone().group("company", "acme"));
    assert_eq!(fixture.count().await, 4);
    assert_eq!(
        fixture.stub.events()[3]["properties"]["$groups"],
        json!({ "company": "acme" })
    );

    // New definitions with another value cause another event; with the same value they do not.
    fixture.stub.set_definitions(definitions_of(&[
        on("a").replace("true", "false"),
        on("b"),
        on("c"),
    ]));
    fixture.poller.refresh().await.unwrap();
    fixture.flags.synced().await;
    fixture
        .flags
        .clone()
        .evaluate_and_capture(&fixture.client, "a", &ada)
        .unwrap();
    fixture.call("a", &ada);
    fixture.call("b", &ada);
    let events = fixture.events().await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[4]["properties"]["$feature_flag_response"], false);
}

#[tokio::test]
async fn no_event_is_sent_for_other_evaluations() {
    let conditional = r#"{"key":"b","active":true,"filters":{"groups":[{"properties":[{"key":"plan","value":"pro"}]}]}}"#;
    let fixture = Fixture::with(definitions_of(&[on("a"), conditional.to_owned()])).await;
    let ada = FlagSubject::new("ada");
    fixture.flags.evaluate("a", &ada).unwrap();
    fixture
        .flags
        .evaluate_and_capture(&fixture.client, "b", &ada)
        .unwrap_err();
    fixture.call("a", &FlagSubject::new(""));
    let unready = LocalEvaluation::attach(&fixture.poller);
    unready
        .evaluate_and_capture(&fixture.client, "a", &ada)
        .unwrap();
    assert_eq!(fixture.count().await, 0);

    // With the property, the evaluation is conclusive and sends an event.
    fixture.call("b", &ada.clone().property("plan", "pro"));
    assert_eq!(fixture.count().await, 1);
}

#[tokio::test]
async fn minimal_flag_called_events_applies_to_flags_without_experiment() {
    let flag = |key: &str, has_experiment: Value| {
        json!({ "key": key, "active": true, "has_experiment": has_experiment,
            "filters": { "groups": [{}], "payloads": { "true": "{\"limit\":7}" } } })
    };
    let flags = [
        flag("plain", json!(false)),
        flag("experiment", json!(true)),
        flag("unknown", Value::Null),
    ];
    let with_minimal_events = |enabled: bool| {
        json!({ "flags": flags, "minimal_flag_called_events": enabled }).to_string()
    };
    let fixture = Fixture::with(with_minimal_events(true)).await;
    let call_all = async |id: &str| {
        let context = RequestContext::new()
            .session_id("session-1")
            .property("path", "/checkout")
            .unwrap();
        let calls = async {
            for key in ["plain", "experiment", "unknown", "missing"] {
                fixture.call(key, &FlagSubject::new(id).group("company", "acme"));
            }
        };
        context.scope(calls).await;
        let mut events = fixture.events().await;
        events.retain(|event| event["distinct_id"] == id);
        events
    };
    let names = |event: &Value| {
        event["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let [minimal, full @ ..] = &call_all("ada").await[..] else {
        panic!("no event")
    };
    let mut expected = vec![
        "$feature_flag",
        "$feature_flag_has_experiment",
        "$feature_flag_reason",
        "$feature_flag_response",
        "$groups",
        "$is_server",
        "$lib",
        "$lib_version",
        "$os",
        "$os_version",
        "$process_person_profile",
        "$session_id",
        "locally_evaluated",
    ];
    expected.extend(VERSION_NUMBERS);
    expected.sort_unstable();
    assert_eq!(names(minimal), expected);
    let has_all = |event: &Value| {
        event["properties"]["path"] == "/checkout" && names(event).len() > expected.len()
    };
    assert!(full.len() == 3 && full.iter().all(has_all), "{full:#?}");
    assert_eq!(
        full[0]["properties"]["$feature_flag_payload"],
        json!({ "limit": 7 })
    );
    assert_eq!(full[2]["properties"]["$feature_flag_error"], "flag_missing");

    fixture.stub.set_definitions(with_minimal_events(false));
    fixture.poller.refresh().await.unwrap();
    fixture.flags.synced().await;
    let events = call_all("grace").await;
    assert!(
        events.len() == 4
            && events
                .iter()
                .all(|event| event["properties"]["path"] == "/checkout")
    );
}

/// Compares each event with that of posthog-rs's own client.
#[tokio::test]
async fn events_equal_those_of_posthog_rs() {
    let attach = |poller: &FlagDefinitionPoller| {
        LocalEvaluation::builder(poller)
            .use_posthog_rs_evaluator()
            .attach()
    };
    let mut compared = Compared::default();
    for seed in 0..CASES {
        let (ours, theirs) = events_of_both(seed, attach).await;
        compared.count(&ours);
        assert_eq!(ours, theirs, "definitions {seed}");
    }
    compared.assert_all_kinds();
}

/// With the default evaluator, some values differ, as the guide lists. Equal values cause equal events.
#[tokio::test]
async fn events_of_the_default_evaluator_equal_those_of_posthog_rs_for_equal_values() {
    let mut compared = Compared::default();
    let mut different = 0;
    for seed in 0..CASES {
        let (mut ours, mut theirs) = events_of_both(seed, LocalEvaluation::attach).await;
        let calls = ours.len();
        let response = |event: &Value| event["properties"]["$feature_flag_response"].clone();
        ours.retain(|id, event| response(event) == response(&theirs[id]));
        theirs.retain(|id, _| ours.contains_key(id));
        different += calls - ours.len();
        compared.count(&ours);
        assert_eq!(ours, theirs, "definitions {seed}");
    }
    compared.assert_all_kinds();
    let same: usize = compared.0.values().sum();
    assert!(
        different * 10 < same,
        "{different} values differ, {same} are equal"
    );
}

/// Counts the events by whether they are minimal and have a payload.
#[derive(Debug, Default)]
struct Compared(BTreeMap<(bool, bool), usize>);

impl Compared {
    fn count(&mut self, events: &BTreeMap<String, Value>) {
        for event in events.values() {
            let has = |name| event["properties"].get(name).is_some();
            let kind = (!has(VERSION_NUMBERS[0]), has("$feature_flag_payload"));
            *self.0.entry(kind).or_default() += 1;
        }
    }

    fn assert_all_kinds(&self) {
        // Minimal events have no payload.
        for kind in [(false, false), (false, true), (true, false)] {
            let is_frequent = self.0.get(&kind).is_some_and(|events| *events > 20);
            assert!(is_frequent, "{self:?}");
        }
        assert_eq!(self.0.len(), 3, "{self:?}");
    }
}

/// The events of all flags that are conclusive, and those of posthog-rs's own client for the same flags.
async fn events_of_both(
    seed: u64,
    attach: impl Fn(&FlagDefinitionPoller) -> LocalEvaluation,
) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let fixture = Fixture::new(generated::definitions(seed), attach).await;
    let their_stub = ApiStub::start().await.unwrap();
    their_stub.set_definitions(generated::definitions(seed));
    let their_client = evaluating_client(&their_stub).await;
    let mut calls = 0;
    for user in 0..USERS {
        let user = generated::subject(seed * USERS + user);
        let options = EvaluateFlagsOptions {
            only_evaluate_locally: true,
            ..(&user).into()
        };
        let context = RequestContext::new()
            .session_id("session-1")
            .property("path", "/checkout")
            .unwrap();
        let (called, their_flags) = (
            fixture.client_calls(&user),
            their_client.evaluate_flags(user.distinct_id(), options),
        );
        let called = context.clone().scope(async { called() }).await;
        let their_flags = context.scope(their_flags).await.unwrap();
        for key in &called {
            let _ = their_flags.get_flag(key);
        }
        calls += called.len();
    }
    their_client.flush().await;
    fixture.client.flush().await;
    let [ours, theirs] = [&fixture.stub, &their_stub].map(|stub| stub.events());
    assert_eq!(
        (ours.len(), theirs.len()),
        (calls, calls),
        "definitions {seed}"
    );
    let mut ours: BTreeMap<String, Value> = ours.iter().map(content).collect();
    let theirs: BTreeMap<String, Value> = theirs.iter().map(content).collect();
    for (id, event) in &mut ours {
        let is_minimal = theirs[id]["properties"].get(VERSION_NUMBERS[0]).is_none();
        if is_minimal {
            event["properties"]
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !VERSION_NUMBERS.contains(&&**name));
        }
    }
    their_client.shutdown().await;
    fixture.client.shutdown().await;
    fixture.poller.shutdown().await.unwrap();
    (ours, theirs)
}

impl Fixture {
    /// Evaluates every flag, and one that does not exist. Returns the keys of the conclusive evaluations.
    fn client_calls(&self, user: &FlagSubject) -> impl FnOnce() -> Vec<String> {
        let (flags, client, user) = (&self.flags, &self.client, user.clone());
        move || {
            let keys = (0..=FLAGS).map(generated::key);
            keys.filter(|key| flags.evaluate_and_capture(client, key, &user).is_ok())
                .collect()
        }
    }
}

#[tokio::test]
async fn flags_are_evaluated_with_a_disabled_client() {
    let fixture = Fixture::with(definitions_of(&[on("a")])).await;
    let disabled = posthog_rs::client("").await;
    let value = fixture
        .flags
        .evaluate_and_capture(&disabled, "a", &FlagSubject::new("ada"))
        .unwrap();
    assert_eq!(value, Some(FlagValue::Boolean(true)));
    assert!(
        fixture
            .stub
            .wait_for_events(TIMEOUT, 0)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn b10_79_no_event_is_sent_for_values_that_depend_on_an_override() {
    let overridden = |poller: &FlagDefinitionPoller| {
        LocalEvaluation::builder(poller)
            .overrides(Overrides::new().set("a", "blue").set("gone", true))
            .attach()
    };
    let dependency = json!({ "key": "a", "type": "flag", "operator": "flag_evaluates_to", "value": "blue",
        "dependency_chain": ["a"] });
    let dependent = json!({ "key": "d", "active": true, "filters": { "groups": [{ "properties": [dependency] }] } });
    let fixture = Fixture::new(
        definitions_of(&[on("a"), on("b"), dependent.to_string()]),
        overridden,
    )
    .await;
    let ada = FlagSubject::new("ada");
    assert_eq!(
        fixture.call("a", &ada),
        Some(FlagValue::String("blue".to_owned()))
    );
    assert_eq!(fixture.call("gone", &ada), Some(FlagValue::Boolean(true)));
    assert_eq!(fixture.call("d", &ada), Some(FlagValue::Boolean(true)));
    assert_eq!(fixture.count().await, 0);
    fixture.call("b", &ada);
    assert_eq!(fixture.count().await, 1);
}

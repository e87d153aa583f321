//! The events of evaluations, at a server that takes them.

use std::collections::BTreeMap;

use flagcache::testing::ApiStub;
use flagcache::{FlagDefinitionPoller, FlagSubject, LocalEvaluation, Overrides};
use posthog_rs::{Client, ClientOptionsBuilder, EvaluateFlagsOptions, FlagValue, RequestContext};
use serde_json::{Value, json};

use crate::generated::{self, FLAGS};
use crate::rig::{LIMIT, api, on, poller, set};

/// The numbers of its version, which posthog-rs adds to any event but its own minimal ones.
const VERSION_NUMBERS: [&str; 3] = [
    "$lib_version__major",
    "$lib_version__minor",
    "$lib_version__patch",
];

/// Few, because a client takes a while to be made; so many users for each.
const SETS: u64 = 20;
const USERS: u64 = 10;

/// A client that captures, and does not poll.
async fn client(stub: &ApiStub) -> Client {
    let mut options = ClientOptionsBuilder::default();
    options
        .api_key(ApiStub::PROJECT_KEY.to_owned())
        .host(stub.url());
    posthog_rs::client(options.build().unwrap()).await
}

/// A client that polls and evaluates for itself.
async fn their_client(stub: &ApiStub) -> Client {
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

struct Rig {
    stub: ApiStub,
    poller: FlagDefinitionPoller,
    flags: LocalEvaluation,
    client: Client,
}

impl Rig {
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
        flags.wait_ready(LIMIT).await.unwrap();
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

    /// All that was sent.
    async fn events(&self) -> Vec<Value> {
        self.client.flush().await;
        self.stub.events()
    }

    async fn count(&self) -> usize {
        self.events().await.len()
    }
}

/// What is the same however often one thing is sent: all but the event's own id and time.
fn content(event: &Value) -> (String, Value) {
    let mut event = event.clone();
    let id = format!(
        "{} {}",
        event["distinct_id"], event["properties"]["$feature_flag"]
    );
    for own in ["uuid", "timestamp"] {
        event.as_object_mut().unwrap().remove(own);
    }
    (id, event)
}

#[tokio::test]
async fn an_exposure_arrives_once_for_each_subject_and_value() {
    let rig = Rig::with(set(&[on("a"), on("b")])).await;
    let (ada, grace) = (FlagSubject::new("ada"), FlagSubject::new("grace"));
    for _ in 0..3 {
        assert_eq!(rig.call("a", &ada), Some(FlagValue::Boolean(true)));
    }
    let events = rig.events().await;
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

    rig.call("b", &ada);
    rig.call("a", &grace);
    rig.call("a", &ada.clone().group("company", "acme"));
    assert_eq!(rig.count().await, 4);
    assert_eq!(
        rig.stub.events()[3]["properties"]["$groups"],
        json!({ "company": "acme" })
    );

    // Another set, another value: that is an exposure of its own. The same value under a new set is not.
    rig.stub
        .set_definitions(set(&[on("a").replace("true", "false"), on("b"), on("c")]));
    rig.poller.refresh().await.unwrap();
    rig.flags.synced().await;
    rig.flags
        .clone()
        .evaluate_and_capture(&rig.client, "a", &ada)
        .unwrap();
    rig.call("a", &ada);
    rig.call("b", &ada);
    let events = rig.events().await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[4]["properties"]["$feature_flag_response"], false);
}

#[tokio::test]
async fn nothing_is_sent_for_what_is_no_call() {
    let conditional = r#"{"key":"b","active":true,"filters":{"groups":[{"properties":[{"key":"plan","value":"pro"}]}]}}"#;
    let rig = Rig::with(set(&[on("a"), conditional.to_owned()])).await;
    let ada = FlagSubject::new("ada");
    rig.flags.evaluate("a", &ada).unwrap();
    rig.flags
        .evaluate_and_capture(&rig.client, "b", &ada)
        .unwrap_err();
    rig.call("a", &FlagSubject::new(""));
    let unready = LocalEvaluation::attach(&rig.poller);
    unready
        .evaluate_and_capture(&rig.client, "a", &ada)
        .unwrap();
    assert_eq!(rig.count().await, 0);

    // Once the property is known it is one.
    rig.call("b", &ada.clone().property("plan", "pro"));
    assert_eq!(rig.count().await, 1);
}

#[tokio::test]
async fn the_gate_makes_the_events_of_flags_without_experiment_minimal() {
    let flag = |key: &str, has_experiment: Value| {
        json!({ "key": key, "active": true, "has_experiment": has_experiment,
            "filters": { "groups": [{}], "payloads": { "true": "{\"limit\":7}" } } })
    };
    let flags = [
        flag("plain", json!(false)),
        flag("experiment", json!(true)),
        flag("unknown", Value::Null),
    ];
    let gated =
        |gate: bool| json!({ "flags": flags, "minimal_flag_called_events": gate }).to_string();
    let rig = Rig::with(gated(true)).await;
    let call_all = async |id: &str| {
        let context = RequestContext::new()
            .session_id("session-1")
            .property("path", "/checkout")
            .unwrap();
        let calls = async {
            for key in ["plain", "experiment", "unknown", "missing"] {
                rig.call(key, &FlagSubject::new(id).group("company", "acme"));
            }
        };
        context.scope(calls).await;
        let mut events = rig.events().await;
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

    rig.stub.set_definitions(gated(false));
    rig.poller.refresh().await.unwrap();
    rig.flags.synced().await;
    let events = call_all("grace").await;
    assert!(
        events.len() == 4
            && events
                .iter()
                .all(|event| event["properties"]["path"] == "/checkout")
    );
}

/// The strongest of these: event by event, the same as posthog-rs's own client sends.
#[tokio::test]
async fn the_events_are_those_of_posthog_rs() {
    let as_theirs = |poller: &FlagDefinitionPoller| {
        LocalEvaluation::builder(poller)
            .answer_as_posthog_rs()
            .attach()
    };
    let mut compared = Compared::default();
    for seed in 0..SETS {
        let (ours, theirs) = events_of_both(seed, as_theirs).await;
        compared.count(&ours);
        assert_eq!(ours, theirs, "set {seed}");
    }
    compared.assert_all_kinds();
}

/// In the default mode some values are others, as the guide lists them; the same value has the same event.
#[tokio::test]
async fn the_events_of_the_default_mode_are_those_of_posthog_rs_wherever_both_have_one_value() {
    let mut compared = Compared::default();
    let mut others = 0;
    for seed in 0..SETS {
        let (mut ours, mut theirs) = events_of_both(seed, LocalEvaluation::attach).await;
        let calls = ours.len();
        let response = |event: &Value| event["properties"]["$feature_flag_response"].clone();
        ours.retain(|id, event| response(event) == response(&theirs[id]));
        theirs.retain(|id, _| ours.contains_key(id));
        others += calls - ours.len();
        compared.count(&ours);
        assert_eq!(ours, theirs, "set {seed}");
    }
    compared.assert_all_kinds();
    let same: usize = compared.0.values().sum();
    assert!(others * 10 < same, "{others} of {same} have another value");
}

/// How many events were minimal, and how many had a payload.
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
        // Minimal ones have no payload.
        for kind in [(false, false), (false, true), (true, false)] {
            let is_frequent = self.0.get(&kind).is_some_and(|events| *events > 20);
            assert!(is_frequent, "{self:?}");
        }
        assert_eq!(self.0.len(), 3, "{self:?}");
    }
}

/// The events of all flags that are decided here, and those that posthog-rs's own client sends of the same ones.
async fn events_of_both(
    seed: u64,
    attach: impl Fn(&FlagDefinitionPoller) -> LocalEvaluation,
) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let rig = Rig::new(generated::definitions(seed), attach).await;
    let their_stub = ApiStub::start().await.unwrap();
    their_stub.set_definitions(generated::definitions(seed));
    let their_client = their_client(&their_stub).await;
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
            rig.client_calls(&user),
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
    rig.client.flush().await;
    let [ours, theirs] = [&rig.stub, &their_stub].map(|stub| stub.events());
    assert_eq!((ours.len(), theirs.len()), (calls, calls), "set {seed}");
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
    rig.client.shutdown().await;
    rig.poller.shutdown().await.unwrap();
    (ours, theirs)
}

impl Rig {
    /// Calls every flag, and one that is missing; gives the keys of those that were decided.
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
async fn a_client_that_is_disabled_sends_nothing_and_flags_are_evaluated() {
    let rig = Rig::with(set(&[on("a")])).await;
    let disabled = posthog_rs::client("").await;
    let value = rig
        .flags
        .evaluate_and_capture(&disabled, "a", &FlagSubject::new("ada"))
        .unwrap();
    assert_eq!(value, Some(FlagValue::Boolean(true)));
    assert!(rig.stub.wait_for_events(LIMIT, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn b10_79_no_exposure_is_sent_of_what_an_override_decides() {
    let overridden = |poller: &FlagDefinitionPoller| {
        LocalEvaluation::builder(poller)
            .overrides(Overrides::new().set("a", "blue").set("gone", true))
            .attach()
    };
    let dependency = json!({ "key": "a", "type": "flag", "operator": "flag_evaluates_to", "value": "blue",
        "dependency_chain": ["a"] });
    let dependent = json!({ "key": "d", "active": true, "filters": { "groups": [{ "properties": [dependency] }] } });
    let rig = Rig::new(set(&[on("a"), on("b"), dependent.to_string()]), overridden).await;
    let ada = FlagSubject::new("ada");
    assert_eq!(
        rig.call("a", &ada),
        Some(FlagValue::String("blue".to_owned()))
    );
    assert_eq!(rig.call("gone", &ada), Some(FlagValue::Boolean(true)));
    assert_eq!(rig.call("d", &ada), Some(FlagValue::Boolean(true)));
    assert_eq!(rig.count().await, 0);
    rig.call("b", &ada);
    assert_eq!(rig.count().await, 1);
}

//! The sets that are measured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{
    FetchError, FetchResponse, FlagDefinitionCacheData, FlagDefinitionPoller, FlagDefinitionSource,
};
use flagcache_providers::testing::Definitions;
use posthog_rs::LocalEvaluationResponse;
use serde_json::{Map, Value, json};

/// The body of an answer with so many flags, about 800 bytes each.
pub fn body(flags: usize) -> Bytes {
    Definitions::realistic(flags, 1).to_json()
}

/// The same with the rollout of one flag changed, in the middle of the set.
pub fn changed_body(flags: usize, percent: f64) -> Bytes {
    let set = Definitions::realistic(flags, 1);
    let key = set
        .keys()
        .nth(flags / 2)
        .expect("a set with flags")
        .to_owned();
    set.with_rollout(&key, percent).to_json()
}

/// The body of a project with cohorts. The first flag has none, and is for so many percent of all users; each of the
/// others has one of its own, if there are so many, of five properties.
pub fn with_cohorts(flags: usize, cohorts: usize, percent: u8) -> Bytes {
    let flag = |index: usize| {
        let mut properties =
            vec![json!({ "key": "plan", "type": "person", "operator": "exact", "value": "pro" })];
        if index > 0 && cohorts > 0 {
            properties.push(json!({ "key": "id", "type": "cohort", "value": index % cohorts }));
        }
        let percent = if index == 0 { percent } else { 100 };
        let groups = json!([{ "properties": properties, "rollout_percentage": percent }]);
        json!({ "id": index, "key": format!("flag-{index}"), "active": true, "filters": { "groups": groups } })
    };
    let leaf = |index: usize| json!({ "key": "age", "type": "person", "operator": "gt", "value": index % 18 });
    let cohort = |id: usize| {
        let values: Vec<Value> = (0..5).map(|at| leaf(id + at)).collect();
        let group = json!({ "type": "AND", "values": values });
        (id.to_string(), json!({ "type": "AND", "values": [group] }))
    };
    let body = json!({
        "flags": (0..flags).map(flag).collect::<Vec<_>>(),
        "cohorts": (0..cohorts).map(cohort).collect::<Map<_, _>>(),
    });
    Bytes::from(body.to_string())
}

/// What a leader makes of a body.
pub fn set(body: Bytes) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_api_response(body, Some("\"1\""), SystemTime::now(), None)
        .expect("a set")
}

/// What PostHog's own SDK for Rust makes of it.
pub fn decoded_by_the_peer(body: &[u8]) -> LocalEvaluationResponse {
    serde_json::from_slice(body).expect("a set that the peer can read")
}

/// A poller in manual mode whose source alternates between these bodies after its first load.
pub async fn poller(bodies: impl IntoIterator<Item = Bytes>) -> FlagDefinitionPoller {
    let source = Alternating {
        bodies: bodies.into_iter().collect(),
        asked: AtomicUsize::new(0),
    };
    let poller = FlagDefinitionPoller::builder()
        .source(source)
        .manual()
        .start()
        .expect("a poller");
    poller.refresh().await.expect("a set");
    poller
}

struct Alternating {
    bodies: Vec<Bytes>,
    asked: AtomicUsize,
}

#[async_trait]
impl FlagDefinitionSource for Alternating {
    async fn fetch(&self, _etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let body = self.bodies[asked % self.bodies.len()].clone();
        Ok(FetchResponse::Definitions { body, etag: None })
    }
}

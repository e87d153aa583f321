//! An API, and a poller with the bridge on it.

use std::time::Duration;

use flagcache::testing::ApiStub;
use flagcache::{FlagDefinitionPoller, FlagDefinitionPollerBuilder, LocalEvaluation, PostHogApi};

/// Long enough for anything that does come, on a busy machine too.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn api(stub: &ApiStub) -> PostHogApi {
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    api.build().unwrap()
}

/// A poller that loads at its start and by `refresh` only.
pub(crate) fn poller() -> FlagDefinitionPollerBuilder {
    FlagDefinitionPoller::builder().poll_interval(Duration::from_secs(3600))
}

/// A poller of its own and the bridge, both with what `stub` serves.
pub(crate) async fn bridge(stub: &ApiStub) -> (FlagDefinitionPoller, LocalEvaluation) {
    let poller = poller().source(api(stub)).start().unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.wait_ready(LIMIT).await.unwrap();
    assert!(
        poller.status().origin.is_some(),
        "the status shows the definitions"
    );
    (poller, flags)
}

/// A flag that is on for everybody.
pub(crate) fn on(key: &str) -> String {
    format!(r#"{{"key":"{key}","active":true,"filters":{{"groups":[{{}}]}}}}"#)
}

pub(crate) fn set(flags: &[String]) -> String {
    format!(r#"{{"flags":[{}]}}"#, flags.join(","))
}

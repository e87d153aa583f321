//! Helpers that start a poller and a `LocalEvaluation` on an API stub.

use std::time::Duration;

use flagcache::testing::ApiStub;
use flagcache::{FlagDefinitionPoller, FlagDefinitionPollerBuilder, LocalEvaluation, PostHogApi};

/// The timeout for events that must occur. Generous, for slow machines.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn api(stub: &ApiStub) -> PostHogApi {
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    api.build().unwrap()
}

/// A poller that loads only when it starts and when `refresh` is called.
pub(crate) fn poller() -> FlagDefinitionPollerBuilder {
    FlagDefinitionPoller::builder().poll_interval(Duration::from_secs(3600))
}

/// Starts a poller and an evaluation, and waits until they have the stub's definitions.
pub(crate) async fn start(stub: &ApiStub) -> (FlagDefinitionPoller, LocalEvaluation) {
    let poller = poller().source(api(stub)).start().unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.wait_ready(TIMEOUT).await.unwrap();
    assert!(
        poller.status().origin.is_some(),
        "the status reflects the definitions"
    );
    (poller, flags)
}

/// A flag that is on for all subjects.
pub(crate) fn on(key: &str) -> String {
    format!(r#"{{"key":"{key}","active":true,"filters":{{"groups":[{{}}]}}}}"#)
}

/// Definitions with these flags.
pub(crate) fn definitions_of(flags: &[String]) -> String {
    format!(r#"{{"flags":[{}]}}"#, flags.join(","))
}

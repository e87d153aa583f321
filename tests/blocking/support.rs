//! What the tests stand on.

use std::sync::LazyLock;
use std::time::Duration;

use flagcache::PostHogApi;
use flagcache::blocking::{FlagDefinitionPoller, FlagDefinitionPollerBuilder};
use flagcache_providers::testing::{ApiStub, Definitions};
use flagcache_test_support::wait_until;
use tokio::runtime::Runtime;

/// Long enough for a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Where the stubs run, as PostHog runs elsewhere. The poller has nothing to do with it.
pub(crate) static ELSEWHERE: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) fn stub(flags: usize) -> ApiStub {
    let stub = ELSEWHERE.block_on(ApiStub::start()).unwrap();
    stub.set_definitions(Definitions::realistic(flags, 1));
    stub
}

pub(crate) fn api(stub: &ApiStub) -> PostHogApi {
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    api.build().unwrap()
}

/// A builder of a worker that fetches from this stub.
pub(crate) fn worker(stub: &ApiStub) -> FlagDefinitionPollerBuilder {
    FlagDefinitionPoller::builder()
        .source(api(stub))
        .poll_interval(Duration::from_millis(200))
}

pub(crate) fn flags_of(poller: &FlagDefinitionPoller) -> Option<usize> {
    poller.definitions().map(|set| set.len())
}

#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, LIMIT, condition);
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

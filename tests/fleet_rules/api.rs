//! The API of a fleet, in the process of the test.

use std::time::Duration;

use flagcache_providers::testing::{ApiReply, ApiStub, Definitions};
use tokio::runtime::{Builder, Runtime};

/// A request, as these tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Get {
    /// The end of the User-Agent: for a worker of ours, its name.
    pub(crate) by: String,
    pub(crate) status: Option<u16>,
    pub(crate) conditional: bool,
}

/// An API stub on a thread of its own, so that a test can wait as it likes.
pub(crate) struct Api {
    stub: ApiStub,
    _runtime: Runtime,
}

impl Api {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stub = runtime.block_on(ApiStub::start()).unwrap();
        Self {
            stub,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.stub.url()
    }

    /// Serves that many flags from now on; definitions of each size have an ETag of their own.
    pub(crate) fn serve(&self, flags: usize) {
        self.stub
            .set_definitions(Definitions::realistic(flags, flags as u64));
    }

    pub(crate) fn serve_body(&self, body: String) {
        self.stub.set_definitions(body);
    }

    /// Takes these secret keys from now on, and no other.
    pub(crate) fn takes(&self, secret_keys: &[&str]) {
        self.stub.set_secret_keys(secret_keys.iter().copied());
    }

    pub(crate) fn next(&self, reply: ApiReply) {
        self.stub.next(reply);
    }

    /// Answers so from now on.
    pub(crate) fn always(&self, reply: ApiReply) {
        self.stub.always(reply);
    }

    /// Answers as usual again.
    pub(crate) fn recovers(&self) {
        self.stub.clear();
    }

    /// Every answer takes this long.
    pub(crate) fn is_slow(&self, delay: Duration) {
        self.stub.always(ApiReply::usual().delay(delay));
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.stub.requests().len()
    }

    /// The requests from this one on.
    pub(crate) fn gets_from(&self, first: usize) -> Vec<Get> {
        let requests = self.stub.requests().into_iter().skip(first);
        let gets = requests.map(|request| Get {
            by: request
                .user_agent()
                .and_then(|agent| agent.split(' ').next_back())
                .unwrap_or_default()
                .to_owned(),
            status: request.status,
            conditional: request.is_conditional(),
        });
        gets.collect()
    }
}

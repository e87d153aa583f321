//! Compiling large definitions does not block the runtime.

use std::thread;

use flagcache::testing::{ApiStub, Definitions};

use crate::fixture::start;
use crate::logs;

/// Different from all other tests, to identify this test's log events.
const FLAGS: usize = 3_141;
const FEW_FLAGS: usize = 31;

#[tokio::test]
async fn large_definitions_are_compiled_on_the_blocking_pool() {
    logs::capture();
    let stub = ApiStub::start().await.unwrap();
    for (flags, inline) in [(FLAGS, false), (FEW_FLAGS, true)] {
        stub.set_definitions(Definitions::realistic(flags, 1));
        let (poller, evaluation) = start(&stub).await;
        assert_eq!(evaluation.definitions().unwrap().len(), flags);
        let threads: Vec<_> = logs::with("flags", &flags.to_string())
            .into_iter()
            .filter(|record| record.name == "flagcache.evaluation_updated")
            .map(|record| record.thread)
            .collect();
        assert_eq!(threads.len(), 1, "compiled once");
        assert_eq!(
            threads[0] == thread::current().id(),
            inline,
            "{flags} flags"
        );
        poller.shutdown().await.unwrap();
    }
}

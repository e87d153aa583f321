//! A large set does not hold up the runtime.

use std::thread;

use flagcache::testing::{ApiStub, Definitions};

use crate::logs;
use crate::rig::bridge;

/// No other test has as many flags, and each record of the log belongs to one test.
const FLAGS: usize = 3_141;
const FEW_FLAGS: usize = 31;

#[tokio::test]
async fn a_large_set_is_compiled_away_from_the_runtimes_threads() {
    logs::listen();
    let stub = ApiStub::start().await.unwrap();
    for (flags, here) in [(FLAGS, false), (FEW_FLAGS, true)] {
        stub.set_definitions(Definitions::realistic(flags, 1));
        let (poller, evaluation) = bridge(&stub).await;
        assert_eq!(evaluation.definitions().unwrap().len(), flags);
        let threads: Vec<_> = logs::with("flags", &flags.to_string())
            .into_iter()
            .filter(|record| record.name == "flagcache.evaluation_updated")
            .map(|record| record.thread)
            .collect();
        assert_eq!(threads.len(), 1, "compiled once");
        assert_eq!(threads[0] == thread::current().id(), here, "{flags} flags");
        poller.shutdown().await.unwrap();
    }
}

//! A primary with a replica, and three Sentinels.

use std::time::Duration;

use flagcache_test_support::{RedisSentinels, RedisServer};

use crate::redis::shapes::{DATA, PrimaryServer, test_store};
use crate::rules::rules_for;
use crate::test_store::{Failing, Redundant};

rules_for!(Watched, as another shape);
rules_for!(Watched, with a replica);

pub(crate) struct Watched(RedisSentinels);

impl PrimaryServer for Watched {
    fn primary(&self) -> Option<&RedisServer> {
        self.0.primary()
    }
}

test_store!(
    Watched,
    "Sentinels",
    Self(RedisSentinels::start()),
    |this| this.0.url(RedisSentinels::PRIMARY),
    ""
);

impl Failing for Watched {
    /// They know each other from before.
    const GATHERS_IN: Duration = Duration::from_secs(2);

    fn evict(&self) {
        self.expect_primary().run_args::<()>(&["DEL", DATA]);
    }

    fn flush(&self) {
        self.expect_primary().run("FLUSHALL")
    }

    fn restart(&mut self) {
        self.0.primary.kill();
        self.0.primary.start_again();
    }

    fn kill(&mut self) {
        self.0.kill_all();
    }

    fn start_again(&mut self) {
        self.0.start_all_again();
    }

    fn hang(&mut self) {
        self.0.hang_all();
    }

    fn resume(&mut self) {
        self.0.resume_all();
    }
}

impl Redundant for Watched {
    fn primary(&mut self) -> &mut RedisServer {
        &mut self.0.primary
    }

    fn replica(&self) -> &RedisServer {
        &self.0.replica
    }
}

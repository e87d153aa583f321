//! The rules on Redis as it runs in production: behind Sentinels, as a cluster, with TLS. The workers open it by its URL.

mod cluster;
mod sentinels;
mod tls;

use std::time::Duration;

use flagcache_test_support::RedisServer;

use crate::worker::Store;

/// A service whose keys a cluster keeps together.
const SERVICE: &str = "{checkout}";
const DATA: &str = "posthog:flags:{checkout}";
const LOCK: &str = "posthog:flags:{checkout}:lock";
/// The shortest that the default response timeout allows.
const LOCK_TTL: Duration = Duration::from_secs(3);

/// What the URL of the servers, with `options`, opens. A lock with a long TTL allows a long response timeout.
fn store(servers: &str, lock_ttl: Duration, options: &str) -> Store {
    let (lock_ttl, timeout) = (
        lock_ttl.as_millis(),
        (lock_ttl / 3).min(Duration::from_secs(10)).as_millis(),
    );
    Store::Url {
        url: format!(
            "{servers}?service={SERVICE}&lock_ttl={lock_ttl}ms&response_timeout={timeout}ms{options}"
        ),
    }
}

/// What a test does at the server that has the keys, if there is one at the moment.
trait PrimaryServer {
    fn primary(&self) -> Option<&RedisServer>;

    fn expect_primary(&self) -> &RedisServer {
        self.primary().unwrap()
    }
}

/// Makes a place of servers that have a primary.
macro_rules! test_store {
    ($servers:ty, $name:literal, $new:expr, |$this:ident| $url:expr, $options:expr) => {
        impl $crate::test_store::TestStore for $servers {
            const NAME: &'static str = $name;
            const LOCK_TTL: std::time::Duration = $crate::redis::shapes::LOCK_TTL;

            fn new() -> Self {
                $new
            }

            fn store(&self, lock_ttl: std::time::Duration) -> $crate::worker::Store {
                let $this = self;
                $crate::redis::shapes::store(&$url, lock_ttl, &$options)
            }

            fn copy(&self) -> Option<Vec<u8>> {
                self.primary()?.try_run(&["GET", $crate::redis::shapes::DATA]).ok()?
            }

            fn put(&self, copy: &[u8]) {
                self.expect_primary().run_args::<()>(&["SET", $crate::redis::shapes::DATA, &String::from_utf8_lossy(copy)]);
            }

            fn add_unrelated_data(&self) {
                let script = "for key = 1, 20000 do \
                              redis.call('SET', 'other:{checkout}:' .. key, 'x', 'PX', 500 + key % 5000) end";
                self.expect_primary().run_args::<()>(&["EVAL", script, "0"]);
            }

            fn take_leadership_away(&self) {
                // Its TTL ends it.
            }

            fn block_leadership(&self, leader: &mut $crate::process::Worker) {
                leader.kill();
                self.expect_primary().run_args::<()>(&[
                    "SET",
                    $crate::redis::shapes::LOCK,
                    "flagcache:blocked:1",
                    "PX",
                    "60000",
                ]);
            }
        }
    };
}
use test_store;

//! The keys of a fleet are replaced while it runs.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::RedisServer;
use tempfile::TempDir;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::process::Worker;
use crate::protocol::Event;
use crate::redis::DATA;
use crate::test_store::TestStore;
use crate::worker::{SERVICE, Settings, Store};

const WORKERS: usize = 16;
const TICK: Duration = Duration::from_secs(1);

/// A server whose user `app` has a password, which the workers read from a file.
struct Guarded {
    server: RedisServer,
    folder: TempDir,
}

impl Guarded {
    fn user(&self, rules: &str) {
        self.server
            .run::<()>(&format!("ACL SETUSER app on {rules}"));
    }
}

impl TestStore for Guarded {
    const NAME: &'static str = "Redis with a user";
    const LOCK_TTL: Duration = Duration::from_secs(3);

    fn new() -> Self {
        let guarded = Self {
            server: RedisServer::start(),
            folder: TempDir::new().unwrap(),
        };
        guarded.user(">first ~* &* +@all");
        replace(&guarded.folder.path().join("password"), "first\n");
        guarded
    }

    fn store(&self, lock_ttl: Duration) -> Store {
        let address = self.server.url().replace("redis://", "redis://app@");
        let (file, ttl) = (self.folder.path().join("password"), lock_ttl.as_secs());
        Store::Url {
            url: format!(
                "{address}?service={SERVICE}&lock_ttl={ttl}s&password_file={}",
                file.display()
            ),
        }
    }

    fn copy(&self) -> Option<Vec<u8>> {
        self.server.run(&format!("GET {DATA}"))
    }

    fn put(&self, copy: &[u8]) {
        self.server
            .run_args::<()>(&["SET", DATA, &String::from_utf8_lossy(copy)]);
    }

    fn take_leadership_away(&self) {
        // Its TTL ends it.
    }

    fn block_leadership(&self, leader: &mut Worker) {
        leader.kill();
    }
}

/// Replaces a file by a rename, as secrets are mounted.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn b12_85_both_keys_are_replaced_under_a_running_fleet() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("key");
    replace(&key, &format!("{}\n", ApiStub::SECRET_KEY));
    let settings = Settings::every(TICK)
        .key_file(&key)
        .lock_ttl(Duration::from_secs(3))
        .patient();
    let mut fleet = Fleet::<Guarded>::running(settings, WORKERS);

    // The secret key is rolled: the old one ends at once, and the file follows.
    let from = fleet.api.count();
    fleet.api.takes(&["phs_rolled"]);
    replace(&key, "phs_rolled\n");
    fleet.api.serve(FLAGS + 1);
    fleet.wait_until_all_have(FLAGS + 1);

    // Redis: both passwords are valid until the file is replaced; then every connection is closed.
    fleet.test_store.user(">second");
    let password = fleet.test_store.folder.path().join("password");
    replace(&password, "second\n");
    fleet.test_store.user("<first");
    let closed: usize = fleet.test_store.server.run("CLIENT KILL USER app");
    assert!(closed >= WORKERS, "{closed} connections");
    fleet.wait(AMPLE, "all are connected again", |fleet| {
        let list: String = fleet.test_store.server.run("CLIENT LIST");
        list.matches("user=app").count() >= WORKERS
    });
    fleet.api.serve(FLAGS + 2);
    fleet.wait_until_all_have(FLAGS + 2);
    sleep(TICK);

    let gets = fleet.api.gets_from(from);
    let failed = gets.iter().filter(|get| get.status == Some(401)).count();
    println!("{} requests, {failed} of them refused", gets.len());
    assert!(failed <= 1, "{gets:?}");
    assert_eq!(fleet.running_workers().count(), WORKERS, "none has ended");
    for worker in fleet.running_workers() {
        let starts = worker
            .reports()
            .iter()
            .filter(|report| matches!(report.event, Event::Started));
        assert_eq!(starts.count(), 1);
        let without = |event: &Event| matches!(event, Event::Change { flags, .. } if flags.is_none_or(|flags| flags < FLAGS));
        assert!(
            !worker.reports().iter().any(|report| without(&report.event)),
            "{} was without flags",
            worker.name
        );
    }
}

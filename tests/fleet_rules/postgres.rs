//! The rules on the PostgreSQL store, and what a change costs a fleet of it in time.

use std::time::Duration;

use flagcache_test_support::PostgresServer;

use crate::fleet::{AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::process::Worker;
use crate::protocol::Event;
use crate::rules::rules_for;
use crate::test_store::{Failing, TestStore};
use crate::worker::{SERVICE, Settings, Store};

rules_for!(Server, with servers that fail);

pub(crate) struct Server(PostgresServer);

impl Server {
    fn key(name: &str) -> String {
        format!("posthog/flags/{SERVICE}/{name}")
    }

    /// A condition that the row of the current copy meets.
    fn is_copy() -> String {
        format!(
            "key = (SELECT '{}' || (convert_from(value, 'UTF8')::jsonb #>> '{{copy,slot}}') FROM flagcache WHERE key = '{}')",
            Self::key(""),
            Self::key("head")
        )
    }
}

impl TestStore for Server {
    const NAME: &'static str = "PostgreSQL";
    const LOCK_TTL: Duration = Duration::from_secs(3);

    fn new() -> Self {
        Self(PostgresServer::start_with(&["max_connections=300"]))
    }

    fn store(&self, lock_ttl: Duration) -> Store {
        let timeout = (lock_ttl / 3).min(Duration::from_secs(10)).as_millis();
        Store::Url {
            url: format!(
                "{}&service={SERVICE}&lease_ttl={}ms&response_timeout={timeout}ms",
                self.0.url(),
                lock_ttl.as_millis()
            ),
        }
    }

    fn copy(&self) -> Option<Vec<u8>> {
        let sql = "SELECT encode(value, 'hex') FROM flagcache WHERE";
        let hex = self.0.try_psql(&format!("{sql} {}", Self::is_copy()))?;
        let digits = |byte: &[u8]| u8::from_str_radix(std::str::from_utf8(byte).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(digits).collect();
        // No row is an empty answer.
        bytes.filter(|bytes| !bytes.is_empty())
    }

    fn put(&self, copy: &[u8]) {
        let hex: String = copy.iter().map(|byte| format!("{byte:02x}")).collect();
        let set = format!("UPDATE flagcache SET value = '\\x{hex}', version = DEFAULT");
        self.0.psql(&format!("{set} WHERE {}", Self::is_copy()));
    }

    fn add_unrelated_data(&self) {
        self.0.psql("INSERT INTO flagcache (key, value) SELECT 'other/' || n, 'x' FROM generate_series(1, 20000) n");
    }

    fn take_leadership_away(&self) {
        // Its lease ends it.
    }

    fn block_leadership(&self, leader: &mut Worker) {
        // Its lease, which no one renews now, ends after the test.
        leader.kill();
    }
}

impl Failing for Server {
    /// To read its log again after it was killed.
    const GATHERS_IN: Duration = Duration::from_secs(3);

    fn evict(&self) {
        let sql = format!("DELETE FROM flagcache WHERE {}", Self::is_copy());
        self.0.psql(&sql);
    }

    fn flush(&self) {
        self.0.psql("DELETE FROM flagcache");
    }

    fn restart(&mut self) {
        self.0.kill();
        self.0.start_again();
        self.flush();
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    /// What was committed is still there.
    fn start_again(&mut self) {
        self.0.start_again();
    }

    fn hang(&mut self) {
        self.0.hang();
    }

    fn resume(&mut self) {
        self.0.resume();
    }
}

/// Nothing but a notification can bring a change here: there are no ticks, and no lease ends.
#[test]
fn b11_82_a_change_reaches_every_worker_by_its_notification() {
    const WORKERS: usize = 6;
    const CHANGES: usize = 40;
    let settings = Settings::every(NO_TICKS).lock_ttl(Duration::from_secs(600));
    let mut fleet = Fleet::<Server>::running(settings, WORKERS);
    let leader = fleet.leader();
    let mut delays = Vec::new();
    for change in 1..=CHANGES {
        let flags = FLAGS + change;
        fleet.api.serve(flags);
        fleet.refresh(leader);
        fleet.wait(AMPLE, "every worker has the change", |fleet| {
            fleet
                .running_workers()
                .all(|worker| worker.flags() == flags)
        });
        let has = |event: &Event| matches!(event, Event::Change { flags: Some(has), .. } if *has == flags);
        let published = fleet.workers[leader].first(Duration::ZERO, has).unwrap();
        for worker in (0..WORKERS).filter(|&worker| worker != leader) {
            let seen = fleet.workers[worker].first(Duration::ZERO, has).unwrap();
            delays.push(seen.saturating_sub(published));
        }
    }
    delays.sort();
    let percentile = |of: usize| delays[delays.len() * of / 100];
    println!(
        "PostgreSQL: {} of {} workers saw a change by its notification: median {:.1?}, p99 {:.1?}, last {:.1?} after the leader",
        delays.len(),
        CHANGES * (WORKERS - 1),
        percentile(50),
        percentile(99),
        delays[delays.len() - 1]
    );
    assert_eq!(delays.len(), CHANGES * (WORKERS - 1));
    assert_eq!(fleet.api.count(), 1 + CHANGES, "only the leader fetched");
}

//! How soon a killed leader is replaced.

use std::thread::sleep;
use std::time::Duration;

use flagcache_benches::{Section, Table, is_quick};

use crate::environment::{Environment, NO_TICKS, STORES, Store, millis, percentile};
use crate::protocol::Report;
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 16;
const FLAGS: usize = 100;
const LOCK_TTL: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(300);

pub(crate) fn run() -> Section {
    let mut section = Section::new("A dead leader");
    section.say(format!(
        "{PROCESSES} worker processes. The leader's is killed (SIGKILL) at moments spread over the third of its lock's TTL between two renewals; from there \
         until another one leads. The file store's lock is the operating system's and has no TTL; the Redis lock's is \
         {} s here (the default is 10 s).",
        LOCK_TTL.as_secs()
    ));
    let columns = [
        "store",
        "kills",
        "median",
        "fastest",
        "slowest",
        "requests for each",
    ];
    let mut table = Table::new("until another one leads", &columns);
    for store in STORES {
        let (lock_ttl, kills) = match store {
            "file" => (Duration::ZERO, if is_quick() { 5 } else { 20 }),
            _ => (LOCK_TTL, if is_quick() { 3 } else { 8 }),
        };
        let environment = Environment::new(Store::open(store), FLAGS);
        let mut workers =
            Workers::start(&environment.spec(NO_TICKS, LOCK_TTL), PROCESSES, PROCESSES);
        workers.all_have(Position::BEGINNING, None, AMPLE);
        let before = environment.asked().requests;
        let mut took = Vec::new();
        let mut position = Position::BEGINNING;
        for kill in 0..kills {
            let leader = workers.find(position, "a leader", AMPLE, |reports| {
                leader(reports).map(|(poller, _)| poller)
            });
            sleep(Duration::from_millis(200 + 370 * kill % 700));
            position = workers.position();
            let (killed, spec) = workers.kill(leader);
            let led = workers.find(position, "another leader", AMPLE, |reports| {
                leader_but(reports, leader)
            });
            took.push(led.since(killed));
            let joined = workers.position();
            workers.replace(spec);
            workers.find(joined, "a worker in its place", AMPLE, |reports| {
                reports
                    .iter()
                    .any(|report| matches!(report, Report::Has { poller, .. } if *poller == leader))
                    .then_some(())
            });
        }
        sleep(Duration::from_millis(500));
        let requests = (environment.asked().requests - before) as f64 / kills as f64;
        workers.stop();
        took.sort();
        let cells = [50, 0, 100].map(|percent| millis(percentile(&took, percent)));
        let cells = [store.to_owned(), kills.to_string()]
            .into_iter()
            .chain(cells)
            .chain([format!("{requests:.2}")]);
        table.row(cells);
        let slowest = percentile(&took, 100);
        let target = if lock_ttl.is_zero() {
            "≤ 300 ms".to_owned()
        } else {
            format!("≤ {}", millis(lock_ttl + SLACK))
        };
        section.judge(
            &format!("failover, the slowest of {kills}: {store}"),
            &target,
            millis(slowest),
            slowest <= lock_ttl + SLACK,
        );
    }
    section.tables.push(table);
    section
}

/// The last one that came to lead.
fn leader(reports: &[Report]) -> Option<(usize, crate::protocol::Moment)> {
    reports.iter().rev().find_map(|report| {
        if let Report::Leads { poller, at } = report {
            Some((*poller, *at))
        } else {
            None
        }
    })
}

fn leader_but(reports: &[Report], old: usize) -> Option<crate::protocol::Moment> {
    leader(reports)
        .filter(|(poller, _)| *poller != old)
        .map(|(_, at)| at)
}

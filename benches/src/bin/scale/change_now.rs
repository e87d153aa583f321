//! How soon the whole fleet has a change after one worker requested a refresh.

use std::thread::sleep;
use std::time::Duration;

use flagcache_benches::{Section, Table, is_quick};

use crate::environment::{Environment, NO_TICKS, STORES, Store, millis, percentile};
use crate::protocol::{Order, Report};
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 64;
const FLAGS: usize = 100;
const LOCK_TTL: Duration = Duration::from_secs(10);
/// Longer than the time between two requested API requests, so that none waits for it.
const PAUSE: Duration = Duration::from_millis(1_100);
const MOST: Duration = Duration::from_millis(100);

pub(crate) fn run() -> Section {
    let changes = if is_quick() { 10 } else { 100 };
    let mut section = Section::new("From `request_refresh()` to the whole fleet");
    section.say(format!(
        "{PROCESSES} worker processes that do not poll, of which one leads; {changes} changes of one of {FLAGS} flags. From the \
         moment when one worker, each time another one, calls `request_refresh()`, until the last of the {PROCESSES} workers \
         has the change in force. The time of the API's answer, here a stub on the same machine, is included."
    ));
    let columns = [
        "store",
        "the call returns, median",
        "the last worker, median",
        "99th percentile",
        "worst",
        "API requests per change",
    ];
    let mut table = Table::new("until the last worker has the change", &columns);
    for store in STORES {
        let mut environment = Environment::new(Store::open(store), FLAGS);
        let mut workers =
            Workers::start(&environment.spec(NO_TICKS, LOCK_TTL), PROCESSES, PROCESSES);
        workers.all_have(Position::BEGINNING, None, AMPLE);
        let before = environment.asked().requests;
        let (mut returned, mut last) = (Vec::new(), Vec::new());
        for change in 0..changes {
            sleep(PAUSE);
            environment.change(FLAGS);
            let position = workers.position();
            workers.order_one(change % PROCESSES, Order::RequestRefresh);
            let having = workers.all_have(position, None, AMPLE);
            let (at, took) = workers.find(position, "the request", AMPLE, |reports| {
                reports.iter().find_map(|report| match report {
                    Report::Requested { at, took } => Some((*at, *took)),
                    _ => None,
                })
            });
            returned.push(took);
            last.extend(having.iter().map(|(_, had)| had.since(at)).max());
        }
        let requests = environment.asked().requests - before;
        workers.stop();
        returned.sort();
        last.sort();
        let high = percentile(&last, 99);
        let cells = [
            percentile(&returned, 50),
            percentile(&last, 50),
            high,
            percentile(&last, 100),
        ]
        .map(millis);
        let per_change = format!("{:.2}", requests as f64 / changes as f64);
        table.row(
            [store.to_owned()]
                .into_iter()
                .chain(cells)
                .chain([per_change]),
        );
        if store == "redis" {
            let figure = format!(
                "from request_refresh() to the last of {PROCESSES} workers, 99th percentile: {store}"
            );
            section.judge(&figure, "≤ 100 ms", millis(high), high <= MOST);
        }
    }
    section.tables.push(table);
    section
}

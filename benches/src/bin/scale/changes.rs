//! How soon a change reaches every follower.

use std::time::Duration;

use flagcache_benches::{Chart, Section, Table, is_quick};

use crate::environment::{Environment, NO_TICKS, STORES, Store, millis, percentile};
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 16;
/// The sizes in flags; the first one is judged.
const SIZES: [usize; 2] = [100, 1_000];
const LOCK_TTL: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_millis(50);

pub(crate) fn run() -> Section {
    let changes = if is_quick() { 20 } else { 100 };
    let mut section = Section::new("From a publish to the followers");
    section.say(format!(
        "{PROCESSES} worker processes, of which one leads; {changes} changes of one flag. From the moment when the leader \
         has the new set and begins to store it, until the last of the {} followers has it in force.",
        PROCESSES - 1
    ));
    let columns = [
        "store",
        "flags",
        "any follower, median",
        "the last, median",
        "99th percentile",
        "worst",
    ];
    let mut table = Table::new("until a follower has the change", &columns);
    let mut chart = Chart::new(
        "changes",
        "From a publish to the last follower",
        "share of the changes in per cent",
        "milliseconds",
    );
    for store in STORES {
        for flags in SIZES {
            let mut environment = Environment::new(Store::open(store), flags);
            let mut workers =
                Workers::start(&environment.spec(NO_TICKS, LOCK_TTL), PROCESSES, PROCESSES);
            workers.all_have(Position::BEGINNING, None, AMPLE);
            let (mut all, mut last) = (Vec::new(), Vec::new());
            for _ in 0..changes {
                let took = environment.spread(&mut workers, flags);
                assert_eq!(took.len(), PROCESSES - 1, "one leads");
                last.extend(took.last());
                all.extend(took);
            }
            workers.stop();
            all.sort();
            last.sort();
            let high = percentile(&last, 99);
            let cells = [
                percentile(&all, 50),
                percentile(&last, 50),
                high,
                percentile(&last, 100),
            ]
            .map(millis);
            table.row(
                [store.to_owned(), flags.to_string()]
                    .into_iter()
                    .chain(cells),
            );
            let points = (1..=100).map(|share| {
                (
                    f64::from(share),
                    percentile(&last, share as usize).as_secs_f64() * 1e3,
                )
            });
            chart.line(&format!("{store}, {flags} flags"), points);
            if flags == SIZES[0] {
                let figure = format!(
                    "a change is seen by every follower, 99th percentile: {store}, {flags} flags"
                );
                section.judge(&figure, "≤ 50 ms", millis(high), high <= MOST);
            }
        }
    }
    section.tables.push(table);
    section.charts.push(chart);
    section
}

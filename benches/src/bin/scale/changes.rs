//! How soon a change reaches every follower.

use std::time::Duration;

use flagcache_benches::{Chart, Section, Table, is_quick};

use crate::environment::{Environment, NO_TICKS, STORES, Store, millis, percentile};
use crate::protocol::Spec;
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 16;
/// The sizes in flags, and what the 99th percentile has to be.
const SIZES: [(usize, Option<Duration>); 3] = [
    (100, Some(Duration::from_millis(50))),
    (1_000, Some(Duration::from_millis(50))),
    (LARGEST, Some(Duration::from_millis(100))),
];
const LARGEST: usize = 10_000;
const LOCK_TTL: Duration = Duration::from_secs(10);
/// How much sooner than by decoding whole copies.
const LEAST_OF_WHOLE: f64 = 5.0;

pub(crate) fn run() -> Section {
    let changes = if is_quick() { 20 } else { 100 };
    let mut section = Section::new("From a publish to the followers");
    section.say(format!(
        "{PROCESSES} worker processes, of which one leads; {changes} changes of one flag. From the moment when the leader \
         has the new set and begins to store it, until the last of the {} followers has it in force. In the rows \
         “whole”, each follower reads by a new provider, which holds no copy to compare the new one with.",
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
        for (flags, most) in SIZES {
            let delays = Delays::measure(store, flags, changes, false);
            table.row(delays.cells(store, flags));
            let points = (1..=100).map(|share| {
                let delay = percentile(&delays.last, share as usize);
                (f64::from(share), delay.as_secs_f64() * 1e3)
            });
            chart.line(&format!("{store}, {flags} flags"), points);
            let high = percentile(&delays.last, 99);
            if let Some(most) = most {
                let figure = format!(
                    "a change is seen by every follower, 99th percentile: {store}, {flags} flags"
                );
                let bound = format!("≤ {} ms", most.as_millis());
                section.judge(&figure, &bound, millis(high), high <= most);
            }
            if flags != LARGEST {
                continue;
            }
            let whole = Delays::measure(store, flags, changes.min(20), true);
            table.row(whole.cells(&format!("{store}, whole"), flags));
            let sooner = whole.median() / delays.median();
            section.judge(
                &format!("the same, median, sooner than by decoding whole copies: {store}"),
                "≥ 5 ×",
                format!("{sooner:.1} ×"),
                sooner >= LEAST_OF_WHOLE,
            );
        }
    }
    section.tables.push(table);
    section.charts.push(chart);
    section
}

/// How long the followers took to have the changes, in ascending order.
struct Delays {
    /// Each follower for itself.
    all: Vec<Duration>,
    /// The last one of each change.
    last: Vec<Duration>,
}

impl Delays {
    fn measure(store: &str, flags: usize, changes: usize, decodes_whole: bool) -> Self {
        let mut environment = Environment::new(Store::open(store), flags);
        let spec = Spec {
            decodes_whole,
            ..environment.spec(NO_TICKS, LOCK_TTL)
        };
        let mut workers = Workers::start(&spec, PROCESSES, PROCESSES);
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
        Self { all, last }
    }

    fn median(&self) -> f64 {
        percentile(&self.last, 50).as_secs_f64()
    }

    fn cells(&self, store: &str, flags: usize) -> Vec<String> {
        let delays = [
            (&self.all, 50),
            (&self.last, 50),
            (&self.last, 99),
            (&self.last, 100),
        ];
        let delays = delays.map(|(sorted, percent)| millis(percentile(sorted, percent)));
        [store.to_owned(), flags.to_string()]
            .into_iter()
            .chain(delays)
            .collect()
    }
}

//! What a follower's tick costs while nothing changes: the decision and the read. It must not depend on the size of the set.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;

use flagcache_benches::{Chart, Section, Stores, Table, bodies, criterion, measure, ratio_in_turn};
use tokio::runtime::Builder;

/// The sizes in flags: about 10 KB, 100 KB, 1 MB and 10 MB.
const SIZES: [(&str, usize); 4] = [
    ("10 KB", 13),
    ("100 KB", 125),
    ("1 MB", 1_250),
    ("10 MB", 12_500),
];
const MOST: f64 = 1.5;

fn main() {
    let runtime = &Builder::new_current_thread().enable_all().build().unwrap();
    let mut criterion = criterion();
    let mut section = Section::new("An unchanged tick");
    section.say(
        "A follower's load while nothing changes: its decision and its read. Memory compares a pointer, a file store the \
         file's identity, Redis a digest of the copy's first bytes. The last column compares the largest with the smallest, \
         in turn.",
    );
    let mut table = Table::new(
        "a follower's unchanged tick",
        &["store", "set", "median", "spread", "of 10 KB"],
    );
    let mut chart = Chart::new(
        "unchanged_tick",
        "A follower's unchanged tick",
        "flags",
        "microseconds",
    );
    chart.log = [true, true];
    let mut stores = Stores::new();
    for &store in Stores::NAMES {
        let mut ticks: Vec<Box<dyn FnMut(u64)>> = Vec::new();
        let mut figures = Vec::new();
        for (size, flags) in SIZES {
            let pair = runtime.block_on(stores.pair(store, &bodies::set(bodies::body(flags))));
            let mut run: Box<dyn FnMut(u64)> = Box::new(move |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        black_box(pair.tick().await);
                    }
                });
            });
            figures.extend(measure(
                &mut criterion,
                &format!("unchanged tick/{store}/{size}"),
                &mut run,
            ));
            ticks.push(run);
        }
        let ([smallest, ..], [small, .., large]) = (figures.as_slice(), ticks.as_mut_slice())
        else {
            continue;
        };
        let ratio = ratio_in_turn(smallest, small, large);
        for ((size, _), figure) in SIZES.iter().zip(&figures) {
            let [median, spread] = figure.cells();
            let of = if *size == "10 MB" {
                format!("{ratio:.2} ×")
            } else {
                String::new()
            };
            table.row([store.to_owned(), (*size).to_owned(), median, spread, of]);
        }
        chart.line(
            store,
            SIZES
                .iter()
                .zip(&figures)
                .map(|((_, flags), figure)| (*flags as f64, figure.micros())),
        );
        section.judge(
            &format!(
                "a follower's unchanged tick at 10 MB, as a multiple of that at 10 KB: {store}"
            ),
            "≤ 1.5 ×",
            format!("{ratio:.2} ×"),
            ratio <= MOST,
        );
    }
    section.tables.push(table);
    section.charts.push(chart);
    criterion.final_summary();
    section.finish("unchanged_tick");
}

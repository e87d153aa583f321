//! What giving out a set costs: writing the stored form, and storing it in each store.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;

use flagcache_benches::{Section, Stores, Table, bodies, criterion, measure, ratio_in_turn};
use serde_json::Value;
use tokio::runtime::Builder;

const SIZES: [usize; 3] = [50, 1_000, 10_000];

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut criterion = criterion();
    let mut section = Section::new("Publishing a set");
    section.say(
        "`to_json` writes the stored form of a set that came from the API: the API's own bytes between an envelope and two \
         aliases. The peers encode what they have decoded. Below it, a leader's whole publish of a changed set, the file \
         store's with two calls of `fsync`.",
    );
    let columns = ["", "flags", "median", "spread", "of serde_json::to_vec"];
    let mut table = Table::new("writing the stored form", &columns);
    for flags in SIZES {
        let body = bodies::body(flags);
        let set = bodies::set(body.clone());
        let value: Value = serde_json::from_slice(&body).unwrap();
        let decoded = bodies::decoded_by_the_peer(&body);
        let ways: [(&str, &dyn Fn()); 4] = [
            ("to_json", &|| drop(black_box(set.to_json()))),
            ("serde_json::to_vec, Value", &|| {
                drop(black_box(serde_json::to_vec(&value).unwrap()))
            }),
            (
                "serde_json::to_vec, posthog_rs::LocalEvaluationResponse",
                &|| {
                    drop(black_box(serde_json::to_vec(&decoded).unwrap()));
                },
            ),
            ("a copy of the bytes", &|| drop(black_box(body.to_vec()))),
        ];
        let figures = ways.map(|(way, run)| {
            measure(
                &mut criterion,
                &format!("publish/{way}/{flags} flags"),
                |times| (0..times).for_each(|_| run()),
            )
        });
        let Some(peer) = figures[1] else { continue };
        for ((way, run), figure) in ways.iter().zip(figures) {
            let Some(figure) = figure else { continue };
            let repeat = |run: &dyn Fn(), times| (0..times).for_each(|_| run());
            let ratio = ratio_in_turn(
                &peer,
                |times| repeat(ways[1].1, times),
                |times| repeat(run, times),
            );
            let [median, spread] = figure.cells();
            table.row([
                (*way).to_owned(),
                flags.to_string(),
                median,
                spread,
                format!("{ratio:.3} ×"),
            ]);
        }
    }
    section.tables.push(table);

    let mut table = Table::new(
        "a leader's publish",
        &["store", "flags", "median", "spread"],
    );
    let mut stores = Stores::new();
    for &store in Stores::NAMES {
        for flags in SIZES {
            let sets =
                [25.0, 75.0].map(|percent| bodies::set(bodies::changed_body(flags, percent)));
            let pair = runtime.block_on(stores.pair(store, &sets[0]));
            let mut published = 0;
            let figure = measure(
                &mut criterion,
                &format!("publish/{store}/{flags} flags"),
                |times| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            published += 1;
                            pair.publish(&sets[published % 2]).await;
                        }
                    });
                },
            );
            let Some(figure) = figure else { continue };
            let [median, spread] = figure.cells();
            table.row([store.to_owned(), flags.to_string(), median, spread]);
        }
    }
    section.tables.push(table);
    criterion.final_summary();
    section.finish("publish");
}

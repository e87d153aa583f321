//! What comparing two sets costs, from nothing changed to everything written differently.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;

use flagcache_benches::{Section, Table, bodies, criterion, measure};
use flagcache_core::FlagDefinitionCacheData;
use serde_json::Value;

const SIZES: [usize; 3] = [50, 1_000, 10_000];

fn main() {
    let mut criterion = criterion();
    let mut section = Section::new("What changed");
    section.say(
        "`diff` names the flags that differ between two sets. Flags with the same text are the same; only others are looked \
         into, first for spacing, then by decoding both. The peer decodes both sets and compares the values.",
    );
    let mut table = Table::new(
        "a comparison",
        &[
            "two sets of",
            "that differ in",
            "median",
            "spread",
            "of the peer",
        ],
    );
    for flags in SIZES {
        let body = bodies::body(flags);
        let pretty = |body: &[u8]| {
            let value: Value = serde_json::from_slice(body).unwrap();
            serde_json::to_vec_pretty(&value).unwrap()
        };
        let old = bodies::set(body.clone());
        let others = [
            ("nothing", old.clone()),
            ("one flag", bodies::set(bodies::changed_body(flags, 12.5))),
            (
                "the spacing of every flag",
                bodies::set(pretty(&body).into()),
            ),
            ("every flag", bodies::set(every_flag_changed(&body).into())),
        ];
        let peer = measure(
            &mut criterion,
            &format!("diff/the peer/{flags} flags"),
            |times| {
                for _ in 0..times {
                    let [new, old] =
                        [&body, &body].map(|body| serde_json::from_slice::<Value>(body).unwrap());
                    black_box(new == old);
                }
            },
        );
        for (what, new) in others {
            let name = format!("diff/{what}/{flags} flags");
            let Some(figure) = measure(&mut criterion, &name, |times| {
                (0..times).for_each(|_| run(&new, &old))
            }) else {
                continue;
            };
            let [median, spread] = figure.cells();
            let of_peer = peer.map_or_else(String::new, |peer| {
                format!("{:.3} ×", figure.micros() / peer.micros())
            });
            table.row([
                format!("{flags} flags"),
                what.to_owned(),
                median,
                spread,
                of_peer,
            ]);
        }
        if let Some(peer) = peer {
            let [median, spread] = peer.cells();
            table.row([
                format!("{flags} flags"),
                "(serde_json, Value: decode both)".to_owned(),
                median,
                spread,
                String::new(),
            ]);
        }
    }
    section.tables.push(table);
    criterion.final_summary();
    section.finish("diff");
}

fn run(new: &FlagDefinitionCacheData, old: &FlagDefinitionCacheData) {
    black_box(black_box(new).diff(black_box(old)));
}

/// The worst case: each flag has to be decoded.
fn every_flag_changed(body: &[u8]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    for flag in body["flags"].as_array_mut().unwrap() {
        flag["version"] = Value::from(1_000);
    }
    serde_json::to_vec(&body).unwrap()
}

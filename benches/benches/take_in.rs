//! What taking in a set costs, from the API's answer and from the stored form, beside what JSON costs anyway: serde_json's
//! own scan, decoding to a `serde_json::Value`, and a copy of the bytes. Each includes freeing what it made.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::time::SystemTime;

use flagcache_benches::{Figure, criterion, measure, ratio_in_turn};
use flagcache_core::FlagDefinitionCacheData;
use flagcache_providers::testing::Definitions;
use serde::de::IgnoredAny;
use serde_json::Value;

const SIZES: [usize; 3] = [50, 1_000, 10_000];
/// The places of the two peers among the ways.
const SCAN: usize = 2;
const VALUE: usize = 3;

fn main() {
    let mut criterion = criterion();
    let mut tables = Vec::new();
    for flags in SIZES {
        let body = Definitions::realistic(flags, 1).to_json();
        let at = SystemTime::now();
        let take_in = || FlagDefinitionCacheData::from_api_response(body.clone(), Some("\"1\""), at, None).unwrap();
        let stored = take_in().to_json();
        let ways: [(&'static str, &dyn Fn()); 5] = [
            ("from_json", &|| free(FlagDefinitionCacheData::from_json(stored.clone()).unwrap())),
            ("from_api_response", &|| free(take_in())),
            ("serde_json, IgnoredAny", &|| free(serde_json::from_slice::<IgnoredAny>(&body).unwrap())),
            ("serde_json, Value", &|| free(serde_json::from_slice::<Value>(&body).unwrap())),
            ("a copy of the bytes", &|| free(body.to_vec())),
        ];
        let figures = ways.map(|(way, run)| {
            measure(&mut criterion, &format!("take in/{way}/{flags} flags"), |times| repeat(times, run))
        });
        let (Some(scan), Some(value)) = (figures[SCAN], figures[VALUE]) else { continue };
        let rows = ways.iter().zip(figures).filter_map(|(&(way, run), figure)| {
            let [of_scan, of_value] = [(scan, ways[SCAN].1), (value, ways[VALUE].1)]
                .map(|(figure, peer)| ratio_in_turn(&figure, |times| repeat(times, peer), |times| repeat(times, run)));
            Some(Row { way, figure: figure?, of_scan, of_value })
        });
        tables.push((flags, body.len() / 1_000, rows.collect::<Vec<_>>()));
    }
    criterion.final_summary();
    for (flags, size, rows) in tables {
        println!("\n{flags} flags, {size} KB            min    median       max   in turn: of IgnoredAny   of Value");
        for Row { way, figure, of_scan, of_value } in rows {
            println!("{way:>22} {figure}   {of_scan:>22.2}   {of_value:>8.2}");
        }
    }
}

struct Row {
    way: &'static str,
    figure: Figure,
    of_scan: f64,
    of_value: f64,
}

fn repeat(times: u64, run: &dyn Fn()) {
    (0..times).for_each(|_| run());
}

fn free<T>(made: T) {
    drop(black_box(made));
}

//! What taking in a set costs, from the API's answer and from the stored form, beside what JSON costs anyway: serde_json's
//! own scan, decoding to a `serde_json::Value`, and a copy of the bytes. Each includes freeing what it made.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::time::SystemTime;

use flagcache_benches::{Figure, criterion, measure};
use flagcache_core::FlagDefinitionCacheData;
use flagcache_providers::testing::Definitions;
use serde::de::IgnoredAny;
use serde_json::Value;

const SIZES: [usize; 3] = [50, 1_000, 10_000];

fn main() {
    let mut criterion = criterion();
    let mut tables = Vec::new();
    for flags in SIZES {
        let body = Definitions::realistic(flags, 1).to_json();
        let at = SystemTime::now();
        let take_in = || FlagDefinitionCacheData::from_api_response(body.clone(), Some("\"1\""), at, None).unwrap();
        let stored = take_in().to_json();
        let ways: [(&str, &dyn Fn()); 5] = [
            ("from_json", &|| free(FlagDefinitionCacheData::from_json(stored.clone()).unwrap())),
            ("from_api_response", &|| free(take_in())),
            ("serde_json, IgnoredAny", &|| free(serde_json::from_slice::<IgnoredAny>(&body).unwrap())),
            ("serde_json, Value", &|| free(serde_json::from_slice::<Value>(&body).unwrap())),
            ("a copy of the bytes", &|| free(body.to_vec())),
        ];
        let figures = ways.map(|(way, run)| {
            let name = format!("take in/{way}/{flags} flags");
            (way, measure(&mut criterion, &name, |times| (0..times).for_each(|_| run())))
        });
        tables.push((flags, body.len() / 1_000, figures));
    }
    criterion.final_summary();
    for (flags, size, figures) in &tables {
        print(*flags, *size, figures);
    }
}

fn free<T>(made: T) {
    drop(black_box(made));
}

fn print(flags: usize, size: usize, figures: &[(&str, Option<Figure>); 5]) {
    let [.., (_, Some(scan)), (_, Some(value)), _] = figures else { return };
    println!("\n{flags} flags, {size} KB            min    median       max   of IgnoredAny   of Value");
    for (way, figure) in figures {
        if let Some(figure) = figure {
            println!("{way:>22} {figure}   {:>13.2}   {:>8.2}", figure.ratio(scan), figure.ratio(value));
        }
    }
}

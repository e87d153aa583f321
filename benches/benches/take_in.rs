//! What taking in a set costs, from the API's answer and from the stored form, beside what JSON costs anyway: serde_json's
//! own scan, decoding it to values or to the peer's structs, and a copy of the bytes. Each includes freeing what it made.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;

use criterion::Criterion;
use flagcache_benches::{Chart, Figure, Section, Table, bodies, criterion, measure, ratio_in_turn};
use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::LocalEvaluationResponse;
use serde::de::IgnoredAny;
use serde_json::Value;

const SIZES: [usize; 3] = [50, 1_000, 10_000];
const WAYS: usize = 7;
/// The places of the two peers among the ways.
const SCAN: usize = 2;
const VALUE: usize = 3;
/// The place of the decoding against the previous set.
const AFTER: usize = 6;
/// Of the largest set.
const MOST_OF_SCAN: f64 = 2.0;
const LEAST_OF_VALUE: f64 = 3.0;
const LEAST_OF_WHOLE: f64 = 5.0;

fn main() {
    let mut criterion = criterion();
    let mut section = Section::new("Taking in a set");
    section.say(
        "`from_json` reads the stored form, as a follower does; `from_api_response` an answer of the API, as the leader \
         does. Both check every byte, index the flags by key and fingerprint the content. `IgnoredAny` is the bound: \
         serde_json reading the text and keeping nothing. `from_json_after` reads the stored form of a set of which one \
         flag changed, against the previous one. Each row includes freeing what it made. Ratios are medians of \
         many runs in turn.",
    );
    let mut chart = Chart::new("take_in", "Taking in a set", "flags", "microseconds");
    chart.log = [true, true];
    let sizes = SIZES.map(|flags| size(&mut criterion, &mut section, flags));
    for (way, name) in NAMES.into_iter().enumerate() {
        let points = sizes
            .iter()
            .flatten()
            .filter_map(|size| Some((size.flags as f64, size.figures[way]?.micros())));
        chart.line(name, points);
    }
    section.charts.push(chart);
    if let [.., Some(largest)] = &sizes {
        let Size {
            from_json: [of_scan, of_value],
            of_whole,
            ..
        } = largest;
        let cheaper = 1.0 / of_value;
        section.judge(
            "taking in 10 000 flags by `from_json`, as a multiple of serde_json's own scan",
            "≤ 2 ×",
            format!("{of_scan:.2} ×"),
            *of_scan <= MOST_OF_SCAN,
        );
        section.judge(
            "the same, cheaper than decoding to `serde_json::Value`",
            "≥ 3 ×",
            format!("{cheaper:.1} ×"),
            cheaper >= LEAST_OF_VALUE,
        );
        let cheaper = 1.0 / of_whole;
        section.judge(
            "taking in 10 000 flags of which one changed against the previous set, cheaper than whole",
            "≥ 5 ×",
            format!("{cheaper:.1} ×"),
            cheaper >= LEAST_OF_WHOLE,
        );
    }
    criterion.final_summary();
    section.finish("take_in");
}

const NAMES: [&str; WAYS] = [
    "from_json",
    "from_api_response",
    "serde_json, IgnoredAny",
    "serde_json, Value",
    "posthog_rs, LocalEvaluationResponse",
    "a copy of the bytes",
    "from_json_after, one flag changed",
];

struct Size {
    flags: usize,
    figures: [Option<Figure>; WAYS],
    /// Of the scan's time, and of decoding's.
    from_json: [f64; 2],
    /// The time of a decoding against the previous set, of the whole one's.
    of_whole: f64,
}

/// Measures one size; `None` if the command line leaves a peer out.
fn size(criterion: &mut Criterion, section: &mut Section, flags: usize) -> Option<Size> {
    let body = bodies::body(flags);
    let take_in = || bodies::set(body.clone());
    let previous = take_in();
    let stored = previous.to_json();
    let changed = bodies::set(bodies::changed_body(flags, 12.5)).to_json();
    let ways: [&dyn Fn(); WAYS] = [
        &|| free(FlagDefinitionCacheData::from_json(stored.clone()).unwrap()),
        &|| free(take_in()),
        &|| free(serde_json::from_slice::<IgnoredAny>(&body).unwrap()),
        &|| free(serde_json::from_slice::<Value>(&body).unwrap()),
        &|| free(serde_json::from_slice::<LocalEvaluationResponse>(&body).unwrap()),
        &|| free(body.to_vec()),
        &|| free(FlagDefinitionCacheData::from_json_after(changed.clone(), &previous).unwrap()),
    ];
    let mut figures = [None; WAYS];
    for ((figure, run), name) in figures.iter_mut().zip(ways).zip(NAMES) {
        *figure = measure(
            criterion,
            &format!("take in/{name}/{flags} flags"),
            |times| repeat(times, run),
        );
    }
    let (scan, value) = (figures[SCAN]?, figures[VALUE]?);
    let ratios = |run: &dyn Fn()| {
        [(scan, ways[SCAN]), (value, ways[VALUE])].map(|(figure, peer)| {
            ratio_in_turn(
                &figure,
                |times| repeat(times, peer),
                |times| repeat(times, run),
            )
        })
    };
    let mut table = Table::new(
        &format!("{flags} flags, {} KB", body.len() / 1_000),
        &["", "median", "spread", "MB/s", "of IgnoredAny", "of Value"],
    );
    let mut from_json = [f64::NAN; 2];
    for (way, figure) in figures.iter().enumerate() {
        let Some(figure) = figure else { continue };
        let of = ratios(ways[way]);
        if way == 0 {
            from_json = of;
        }
        let [median, spread] = figure.cells();
        let speed = format!("{:.0}", body.len() as f64 / figure.micros());
        let [of_scan, of_value] = of.map(|ratio| format!("{ratio:.2} ×"));
        table.row([
            NAMES[way].to_owned(),
            median,
            spread,
            speed,
            of_scan,
            of_value,
        ]);
    }
    section.tables.push(table);
    Some(Size {
        flags,
        figures,
        from_json,
        of_whole: ratio_in_turn(
            &figures[0]?,
            |times| repeat(times, ways[0]),
            |times| repeat(times, ways[AFTER]),
        ),
    })
}

fn repeat(times: u64, run: &dyn Fn()) {
    (0..times).for_each(|_| run());
}

fn free<T>(made: T) {
    drop(black_box(made));
}

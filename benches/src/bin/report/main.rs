//! Makes BENCHMARKS.md and its charts of what the benches have recorded.
//!
//! ```text
//! report <folder of records> <BENCHMARKS.md> <folder of charts>
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod chart;
mod machine;
mod page;

use std::path::Path;

use flagcache_benches::Section;

/// The sections in their order. The figures follow it too.
const ORDER: [&str; 19] = [
    "cold_start",
    "changes",
    "patches",
    "change_now",
    "failover",
    "shared_faults",
    "unchanged_tick",
    "take_in",
    "memory",
    "lookup",
    "evaluation",
    "service",
    "growth",
    "redis_costs",
    "publish",
    "diff",
    "provider_call",
    "instructions",
    "build_cost",
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [records, page, charts] = args.as_slice() else {
        eprintln!("usage: report <folder of records> <BENCHMARKS.md> <folder of charts>");
        std::process::exit(2);
    };
    let records = Path::new(records);
    for record in std::fs::read_dir(records).unwrap() {
        let record = record.unwrap().path();
        let name = record.file_stem().and_then(|name| name.to_str()).unwrap();
        let is_section = record
            .extension()
            .is_some_and(|extension| extension == "json");
        assert!(
            !is_section || ORDER.contains(&name),
            "{name} has no place on the page"
        );
    }
    let sections: Vec<Section> = ORDER
        .iter()
        .filter_map(|name| read(records, name))
        .collect();
    std::fs::create_dir_all(charts).unwrap();
    for chart in sections.iter().flat_map(|section| &section.charts) {
        chart::draw(
            chart,
            &Path::new(charts).join(&chart.name).with_extension("svg"),
        );
    }
    let about = |name: &str| {
        std::fs::read_to_string(records.join(name))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let machine = machine::describe(about("load").as_deref(), about("quick").is_some());
    std::fs::write(page, page::write(&machine, &sections, charts)).unwrap();
    let missed = sections
        .iter()
        .flat_map(|section| &section.verdicts)
        .filter(|verdict| !verdict.met);
    for verdict in missed {
        println!(
            "missed: {}: {} (target: {})",
            verdict.figure, verdict.measured, verdict.target
        );
    }
}

/// The record of a bench; `None`, with a message, if it was not run.
fn read(records: &Path, name: &str) -> Option<Section> {
    let path = records.join(name).with_extension("json");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("{name} was not measured");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
}

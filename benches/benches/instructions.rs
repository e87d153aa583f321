//! How many instructions the hot paths take, counted by valgrind's callgrind: unlike times, the same on a busy machine.
//!
//! Runs itself under valgrind once for each case; only what happens inside `measured` is counted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;
use std::process::Command;

use flagcache_benches::{Section, Stores, Table, bodies};
use flagcache_core::FlagDefinitionCacheData;
use posthog_rs::FlagCache;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::runtime::Builder;

/// Runs of what is counted. The first one, in which much happens for the first time, is not.
const TIMES: u64 = 10;
const FLAGS: usize = 1_000;
const LOOK_UPS: usize = 1_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["case", case] => run(case),
        _ => count_all(),
    }
}

fn count_all() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is missing; nothing was counted");
        return;
    }
    let mut section = Section::new("Instructions");
    section.say(format!(
        "Counted by callgrind, which sees every instruction of the process and none of the kernel: of the same program they \
         are the same on any machine of this architecture, busy or not. Sets of {FLAGS} flags; a look-up is the mean of \
         {LOOK_UPS} keys."
    ));
    let mut table = Table::new(
        "taking in a set",
        &["", "instructions", "a byte", "of IgnoredAny"],
    );
    let length = bodies::body(FLAGS).len() as f64;
    let scan = count("take in/IgnoredAny");
    for case in [
        "take in/from_json",
        "take in/from_api_response",
        "take in/IgnoredAny",
        "take in/Value",
        "take in/posthog_rs",
    ] {
        let counted = count(case);
        let (name, of_scan) = (
            case.trim_start_matches("take in/"),
            format!("{:.2} ×", counted / scan),
        );
        table.row([
            name.to_owned(),
            grouped(counted),
            format!("{:.2}", counted / length),
            of_scan,
        ]);
    }
    section.tables.push(table);

    let mut table = Table::new("a look-up", &["", "instructions", "of the peer"]);
    let peer = count("look-up/posthog_rs, get_flag");
    for case in [
        "look-up/definitions() and flag(key)",
        "look-up/flag(key)",
        "look-up/posthog_rs, get_flag",
    ] {
        let counted = count(case);
        let name = case.trim_start_matches("look-up/");
        let look_ups = LOOK_UPS as f64;
        table.row([
            name.to_owned(),
            grouped(counted / look_ups),
            format!("{:.4} ×", counted / peer),
        ]);
    }
    section.tables.push(table);

    let mut table = Table::new(
        "a follower's unchanged tick",
        &["store", "at 10 KB", "at 10 MB", "ratio"],
    );
    for store in Stores::NAMES {
        let [small, large] = [13, 12_500].map(|flags| count(&format!("tick/{store}/{flags}")));
        table.row([
            (*store).to_owned(),
            grouped(small),
            grouped(large),
            format!("{:.3} ×", large / small),
        ]);
    }
    section.tables.push(table);
    section.finish("instructions");
}

/// Of one run of the case.
fn count(case: &str) -> f64 {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*instructions::measured*",
        ])
        .arg(program)
        .args(["case", case])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let collected = collected
        .unwrap_or_else(|| panic!("{case}: valgrind says {said}"))
        .1
        .trim();
    collected.parse::<f64>().unwrap() / TIMES as f64
}

fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(" ")
}

/// What is counted. Found by its name.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        run();
    }
}

fn counted(mut run: impl FnMut()) {
    run();
    measured(&mut run);
}

fn run(case: &str) {
    let (what, which) = case.split_once('/').unwrap();
    match what {
        "take in" => take_in(which),
        "look-up" => look_up(which),
        "tick" => tick(which),
        _ => panic!("there is no case {case}"),
    }
}

fn take_in(which: &str) {
    let body = bodies::body(FLAGS);
    let stored = bodies::set(body.clone()).to_json();
    match which {
        "from_json" => counted(|| {
            drop(black_box(
                FlagDefinitionCacheData::from_json(stored.clone()).unwrap(),
            ))
        }),
        "from_api_response" => counted(|| drop(black_box(bodies::set(body.clone())))),
        "IgnoredAny" => counted(|| {
            black_box(serde_json::from_slice::<IgnoredAny>(&body).unwrap());
        }),
        "Value" => counted(|| drop(black_box(serde_json::from_slice::<Value>(&body).unwrap()))),
        "posthog_rs" => counted(|| drop(black_box(bodies::decoded_by_the_peer(&body)))),
        _ => panic!("there is no way {which}"),
    }
}

fn look_up(which: &str) {
    let body = bodies::body(FLAGS);
    let set = bodies::set(body.clone());
    let keys: Vec<&str> = set.flags().take(LOOK_UPS).map(|flag| flag.key()).collect();
    match which {
        "flag(key)" => counted(|| {
            for key in &keys {
                black_box(set.flag(key).unwrap().json().len());
            }
        }),
        "definitions() and flag(key)" => {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let poller = runtime.block_on(bodies::poller([body]));
            counted(|| {
                for key in &keys {
                    black_box(
                        poller
                            .definitions()
                            .unwrap()
                            .flag(key)
                            .unwrap()
                            .json()
                            .len(),
                    );
                }
            });
        }
        "posthog_rs, get_flag" => {
            let cache = FlagCache::new();
            cache.update(bodies::decoded_by_the_peer(&body));
            counted(|| {
                keys.iter()
                    .for_each(|key| drop(black_box(cache.get_flag(key).unwrap())))
            });
        }
        _ => panic!("there is no way {which}"),
    }
}

fn tick(which: &str) {
    let (store, flags) = which.split_once('/').unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut stores = Stores::new();
    let pair =
        runtime.block_on(stores.pair(store, &bodies::set(bodies::body(flags.parse().unwrap()))));
    counted(|| drop(black_box(runtime.block_on(pair.tick()))));
}

//! A fleet whose stored copy is lost or foreign.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::results::Figure;
use super::sdk_fleet::{POLL, SdkFleet, WORKERS};
use crate::fleet::FLAGS;
use crate::redis::DATA;
use crate::redis::peer::{self, Sdk};
use crate::test_store::TestStore;

const LIMIT: Duration = Duration::from_secs(10);

/// Nothing has changed since the workers began.
pub(super) fn damaged(sdk: Option<Sdk>) -> Vec<Figure> {
    let whole = r#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#;
    let lost = [whole, r#"{"flags":[]}"#, r#"{"flags":[1,2]}"#, "[1,2]"]
        .map(|damage| who_lose_by(sdk, damage));
    let text = lost.map(|workers| workers.to_string()).join(", ");
    vec![Figure::new(
        text,
        lost.into_iter().max().unwrap_or_default() as f64,
    )]
}

fn who_lose_by(sdk: Option<Sdk>, damage: &str) -> usize {
    let mut fleet = SdkFleet::running(sdk);
    fleet.test_store.put(damage.as_bytes());
    let mut lost = [false; WORKERS];
    let begun = Instant::now();
    while begun.elapsed() < POLL * 4 {
        for (worker, lost) in lost.iter_mut().enumerate() {
            *lost |= match sdk {
                None => fleet.workers[worker].flags() != FLAGS,
                // On for everybody.
                Some(_) => peer::evaluate(&mut fleet, worker, "flag-0") != true,
            };
        }
        sleep(Duration::from_millis(50));
    }
    lost.into_iter().filter(|lost| *lost).count()
}

pub(super) fn lost(sdk: Option<Sdk>) -> Vec<Figure> {
    let comes_back = |fleet: &mut SdkFleet| {
        let took = fleet.within(LIMIT, |fleet| fleet.test_store.copy().is_some());
        Figure::time_within(LIMIT, took)
    };
    let evicted = {
        let mut fleet = SdkFleet::running(sdk);
        sleep(POLL * 2);
        fleet.test_store.0.run::<()>(&format!("DEL {DATA}"));
        comes_back(&mut fleet)
    };
    let emptied = {
        let mut fleet = SdkFleet::running(sdk);
        sleep(POLL * 2);
        fleet.test_store.0.kill();
        fleet.test_store.0.start_again();
        comes_back(&mut fleet)
    };
    vec![evicted, emptied]
}

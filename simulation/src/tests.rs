use std::time::Duration;

use crate::checks::Rule;
use crate::plan::Plan;
use crate::plant::Plant;
use crate::run::{Figures, run};

fn plan() -> Plan {
    let hour = Duration::from_secs(3_600);
    Plan {
        starts: 200.0,
        ..crate::plan(200, hour, 20)
    }
}

fn planted(plant: Plant) -> Figures {
    run(Plan {
        workers: 20,
        starts: 20.0,
        plant: Some(plant),
        ..plan()
    })
    .unwrap()
}

fn assert_noticed(plant: Plant, rule: Rule) {
    let figures = planted(plant);
    let count = figures
        .violations
        .iter()
        .find(|(noticed, _)| *noticed == rule);
    assert!(
        count.unwrap().1 > 0,
        "{plant:?} is not noticed: {figures:#?}"
    );
}

#[test]
fn a_fleet_through_an_hour_of_faults_violates_nothing() {
    for patches in [false, true] {
        let figures = run(Plan {
            workers: 100,
            patches,
            ..plan()
        })
        .unwrap();
        assert_eq!(figures.count(), 0, "{:#?}", figures.examples);
        assert!(figures.units <= figures.bound, "{figures:#?}");
        assert_eq!(figures.redis.patches > 0, patches);
    }
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let small = || {
        run(Plan {
            workers: 20,
            span: Duration::from_secs(1_800),
            ..plan()
        })
        .unwrap()
    };
    assert_eq!(format!("{:?}", small()), format!("{:?}", small()));
}

#[test]
fn a_lease_that_is_not_checked_is_noticed() {
    assert_noticed(Plant::UncheckedLease, Rule::OneLeader);
}

#[test]
fn a_follower_that_keeps_an_old_copy_is_noticed() {
    assert_noticed(Plant::KeepsOldCopy, Rule::SeesChange);
}

#[test]
fn flags_that_go_back_are_noticed() {
    assert_noticed(Plant::ReturnsOldCopy, Rule::NeverBack);
}

#[test]
fn a_lost_flag_is_noticed() {
    assert_noticed(Plant::LosesFlag, Rule::Evaluates);
}

#[test]
fn cleared_definitions_are_noticed() {
    assert_noticed(Plant::ClearsFlags, Rule::HasFlags);
}

#[test]
fn forgotten_etags_are_noticed() {
    assert_noticed(Plant::ForgetsEtags, Rule::Units);
}

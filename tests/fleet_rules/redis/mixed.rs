//! One service whose workers are written in Rust, Python and JavaScript.

use std::time::Duration;

use flagcache_providers::testing::Definitions;
use flagcache_test_support::SchedulingDelay;
use serde_json::{Value, json};

use crate::fleet::{A_WHILE, AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::protocol::{Event, now};
use crate::redis::peer::{self, Sdk};
use crate::redis::{DATA, LOCK, Server};
use crate::rules::late_leader::{LATE, NEWER, has, pause_leader_in_a_get, stored_flags};
use crate::test_store::TestStore;
use crate::worker::Settings;

const INTERVAL: Duration = Duration::from_millis(500);

/// Definitions with that many flags. The first is on for all users, the second for none.
pub(crate) fn definitions(flags: usize) -> String {
    let flag = |number: usize| {
        json!({
            "id": number, "key": format!("flag-{number}"), "name": "", "active": true, "deleted": false, "version": 1,
            "filters": {
                "groups": [{ "properties": [], "rollout_percentage": if number == 1 { 0 } else { 100 }, "variant": null }],
                "multivariate": null, "payloads": {},
            },
        })
    };
    json!({ "flags": (0..flags).map(flag).collect::<Vec<_>>(), "group_type_mapping": {}, "cohorts": {} }).to_string()
}

/// A fleet without workers yet, whose API serves [`definitions`].
fn fleet(settings: Settings) -> Fleet<Server> {
    let fleet = Fleet::<Server>::new(settings);
    fleet.api.serve_body(definitions(FLAGS));
    fleet
}

#[test]
fn b8_68_the_other_sdks_read_what_a_rust_leader_stored() {
    let mut fleet = fleet(Settings::every(NO_TICKS));
    fleet.start(1);
    fleet.wait_until_all_have(FLAGS);
    let peers = Sdk::BOTH.map(|sdk| peer::start(&mut fleet, sdk, INTERVAL));
    fleet.wait_until_all_have(FLAGS);
    for peer in peers {
        assert_eq!(peer::evaluate(&mut fleet, peer, "flag-0"), true);
        assert_eq!(peer::evaluate(&mut fleet, peer, "flag-1"), false);
        assert_eq!(
            peer::evaluate(&mut fleet, peer, &format!("flag-{FLAGS}")),
            Value::Null,
            "not there yet"
        );
    }
    fleet.api.serve_body(definitions(FLAGS + 1));
    fleet.refresh(0);
    fleet.wait_until_all_have(FLAGS + 1);
    for peer in peers {
        // It takes what its provider reads a moment after.
        fleet.wait(AMPLE, "the new flag", |fleet| {
            peer::evaluate(fleet, peer, &format!("flag-{FLAGS}")) == true
        });
    }
    let gets = fleet.api.gets_from(0);
    assert!(
        gets.len() == 2 && gets.iter().all(|get| get.by == "worker-0"),
        "{gets:?}"
    );
}

#[test]
fn b8_68_a_rust_follower_reads_what_the_python_sdk_stored() {
    a_rust_follower_reads_what_another_stored(Sdk::Python);
}

#[test]
fn b8_68_a_rust_follower_reads_what_the_node_sdk_stored() {
    a_rust_follower_reads_what_another_stored(Sdk::Node);
}

fn a_rust_follower_reads_what_another_stored(sdk: Sdk) {
    let mut fleet = fleet(Settings::every(INTERVAL));
    let peer = peer::start(&mut fleet, sdk, INTERVAL);
    fleet.wait_until_all_have(FLAGS);
    let ours = fleet.start(1);
    fleet.wait_until_all_have(FLAGS);
    assert_eq!(fleet.leader(), peer);
    fleet.api.serve_body(definitions(FLAGS + 1));
    fleet.wait_until_all_have(FLAGS + 1);
    fleet.wait(AMPLE, "ours is ready", |fleet| {
        fleet.workers[ours].state().as_deref() == Some("ready")
    });
    assert!(
        fleet
            .api
            .gets_from(0)
            .iter()
            .all(|get| get.by != fleet.name(ours)),
        "a follower of ours has fetched"
    );
}

#[test]
fn b8_68_three_sdks_have_one_leader_and_hand_over() {
    let mut fleet = fleet(Settings::every(INTERVAL).lock_ttl(Server::LOCK_TTL));
    let mut leader = peer::start(&mut fleet, Sdk::Python, INTERVAL);
    fleet.wait_until_all_have(FLAGS);
    peer::start(&mut fleet, Sdk::Node, INTERVAL);
    fleet.start(1);
    fleet.wait_until_all_have(FLAGS);
    for _ in 0..2 {
        assert_eq!(fleet.leader(), leader);
        let name = fleet.name(leader).to_owned();
        let lost = SchedulingDelay::begin();
        let killed = fleet.workers[leader].kill();
        let (next, took) = fleet.next_leader(leader, killed);
        let what = format!("{name} was killed, {} leads", fleet.name(next));
        Fleet::<Server>::promised(&what, took, Server::LOCK_TTL + INTERVAL, lost);
        leader = next;
    }
    // The last one leads alone, and all had their flags all the time.
    assert_eq!(fleet.leader(), leader);
    assert_eq!(fleet.workers[leader].flags(), FLAGS);
}

#[test]
fn b12_83_workers_of_three_sdks_have_the_right_flags_after_every_change() {
    let mut fleet = fleet(Settings::every(INTERVAL).lock_ttl(Server::LOCK_TTL));
    let mut leader = fleet.start(2);
    fleet.wait_until_all_have(FLAGS);
    for sdk in Sdk::BOTH {
        peer::start(&mut fleet, sdk, INTERVAL);
    }
    fleet.wait_until_all_have(FLAGS);
    let mut flags = FLAGS;
    let change = |fleet: &mut Fleet<Server>, flags: &mut usize| {
        *flags += 1;
        fleet.api.serve_body(definitions(*flags));
        fleet.wait_until_all_have(*flags);
    };
    leader = fleet.leader().max(leader);
    for _ in 0..3 {
        change(&mut fleet, &mut flags);
    }
    let patches = format!("{DATA}:patches");
    assert!(fleet.test_store.0.run::<u64>(&format!("HLEN {patches}")) > 2);
    // Whichever leads then, with patches or without.
    for _ in 0..2 {
        let killed = fleet.workers[leader].kill();
        leader = fleet.next_leader(leader, killed).0;
        for _ in 0..2 {
            change(&mut fleet, &mut flags);
        }
    }
    let name = fleet.name(leader).to_owned();
    let stored = fleet.test_store.copy().unwrap();
    let stored = flagcache::FlagDefinitionCacheData::from_json(stored).unwrap();
    assert_eq!(stored.raw_json(), definitions(flags), "{name} leads");
}

#[test]
fn b8_68_a_late_rust_leader_overwrites_nothing_of_a_python_leader() {
    let mut fleet =
        Fleet::<Server>::running(Settings::every(NO_TICKS).lock_ttl(Server::LOCK_TTL), 1);
    let python = peer::start(&mut fleet, Sdk::Python, INTERVAL);
    fleet.wait_until_all_have(FLAGS);
    let ours = pause_leader_in_a_get(&mut fleet);
    fleet.api.serve(NEWER);
    fleet.wait(
        AMPLE,
        "the Python worker leads and has published",
        |fleet| fleet.workers[python].leads() && fleet.workers[python].flags() == NEWER,
    );
    let woken = now();
    fleet.workers[ours].resume();
    fleet.wait(
        AMPLE,
        "the late leader had its answer, and then read what is newer",
        |fleet| {
            assert_eq!(
                stored_flags(fleet),
                NEWER,
                "the late leader has overwritten the copy"
            );
            let late = &mut fleet.workers[ours];
            late.first(woken, has(LATE)).is_some() && late.flags() == NEWER
        },
    );
    assert_eq!(fleet.leader(), python);
    assert!(
        fleet
            .test_store
            .0
            .run::<String>(&format!("GET {LOCK}"))
            .starts_with("python-")
    );
}

#[test]
fn b8_68_a_copy_that_a_late_python_leader_overwrites_is_restored() {
    // Its SDK has no token to compare: it writes the last definitions that it has.
    const TICK: Duration = Duration::from_secs(1);
    let mut fleet = Fleet::<Server>::new(Settings::every(TICK).lock_ttl(Server::LOCK_TTL));
    let python = peer::start(&mut fleet, Sdk::Python, INTERVAL);
    fleet.wait_until_all_have(FLAGS);
    let ours = fleet.start(2);
    fleet.wait_until_all_have(FLAGS);
    peer::pause_leader_in_a_get(
        &mut fleet,
        python,
        Definitions::realistic(LATE, LATE as u64).to_json(),
    );
    fleet.api.serve(NEWER);
    fleet.wait(AMPLE, "a worker of ours leads and has published", |fleet| {
        fleet.workers[ours..]
            .iter_mut()
            .all(|worker| worker.flags() == NEWER)
            && stored_flags(fleet) == NEWER
    });
    let (woken, lost) = (now(), SchedulingDelay::begin());
    fleet.workers[python].resume();
    let wrote = |event: &Event| {
        matches!(
            event,
            Event::Change {
                flags: Some(LATE),
                ..
            }
        )
    };
    fleet.wait(AMPLE, "the late leader has written", |fleet| {
        fleet.workers[python].first(woken, wrote).is_some()
    });
    let took = fleet.wait(AMPLE, "the copy is put right", |fleet| {
        stored_flags(fleet) == NEWER
    });
    Fleet::<Server>::promised(
        "what a late Python leader wrote is put right",
        took,
        TICK.mul_f64(1.1),
        lost,
    );
    fleet.wait_until_all_have(NEWER);
}

const THEIRS: &str = r#"{"flags":[{"key":"theirs"}],"group_type_mapping":{},"cohorts":{}}"#;

#[test]
fn b8_65_a_suspended_leader_that_resumes_overwrites_nothing_of_another_sdk() {
    let mut fleet =
        Fleet::<Server>::running(Settings::every(NO_TICKS).lock_ttl(Server::LOCK_TTL), 1);
    let leader = pause_leader_in_a_get(&mut fleet);
    fleet
        .test_store
        .0
        .run::<()>(&format!("SET {LOCK} python-7 PX 60000"));
    fleet.test_store.0.run_args::<()>(&["SET", DATA, THEIRS]);

    let woken = now();
    fleet.workers[leader].resume();
    fleet.wait(
        AMPLE,
        "it had its answer, and then read what the other stored",
        |fleet| {
            let late = &mut fleet.workers[leader];
            late.first(woken, has(LATE)).is_some() && late.flags() == 1
        },
    );
    std::thread::sleep(A_WHILE);
    assert_eq!(fleet.test_store.copy().unwrap(), THEIRS.as_bytes());
    assert_eq!(
        fleet.test_store.0.run::<String>(&format!("GET {LOCK}")),
        "python-7"
    );
}

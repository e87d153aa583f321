//! A late leader, against a leader of another SDK.

use crate::fleet::{A_WHILE, AMPLE, Fleet, NO_TICKS};
use crate::protocol::now;
use crate::redis::{DATA, LOCK, Server};
use crate::rules::late_leader::{LATE, has, pause_leader_in_a_get};
use crate::test_store::TestStore;
use crate::worker::Settings;

const THEIRS: &str = r#"{"flags":[{"key":"theirs"}],"group_type_mapping":{},"cohorts":{}}"#;

#[test]
fn b8_65_a_leader_that_wakes_up_overwrites_nothing_of_another_sdk() {
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

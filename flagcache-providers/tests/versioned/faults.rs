//! Mistakes planted in a versioned store, as the author of `read` and `write` might make them, each caught by the rule that
//! names it.
//!
//! What the kit cannot find, since it runs on one machine, for seconds and with one service: a key without the service in it, an
//! expiry of keys that is longer than a test, a replica that lags only under load, a failover that loses a write, values
//! beyond the 500 KB that it stores. What the contract does not have cannot go wrong: there is no method that removes, and
//! no clock that the store would have to know.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagcache_providers::testing::conformance::{CASES, Capabilities, Case, Verdict, run_all};

use crate::faulty::{Fault, Server};

/// Each mistake, and the rule that catches it.
const CAUGHT: &[(Fault, &str)] = &[
    (Fault::NeverCompares, "at_most_one_leads"),
    (Fault::ComparesThenWrites, "at_most_one_leads"),
    (Fault::CreateOverwrites, "at_most_one_leads"),
    (Fault::ConflictIsSuccess, "at_most_one_leads"),
    (Fault::UpdateComparesNothing, "late_leader_never_overwrites"),
    (Fault::UpdateWritesNothing, "asking_renews_the_lease"),
    (Fault::UpdateWritesNothing, "publish_replaces_the_copy"),
    (Fault::WritesLater, "publish_replaces_the_copy"),
    (
        Fault::ErrorIsSuccess,
        "interrupted_publish_is_stored_or_an_error",
    ),
    (Fault::CutsLargeValues, "large_definitions_survive"),
    (Fault::StoresJson, "round_trip_is_exact"),
    (Fault::VersionIsConstant, "publish_replaces_the_copy"),
    (
        Fault::VersionIsTheTimeInSeconds,
        "publish_replaces_the_copy",
    ),
    (Fault::VersionIsTheLength, "publish_replaces_the_copy"),
    (Fault::ReadsFromACache, "publish_replaces_the_copy"),
    (Fault::FailedReadIsEmpty, "outage_is_an_error"),
    (Fault::FailedUnconditionalReadIsEmpty, "outage_is_an_error"),
    (Fault::OneNameForAllKeys, "round_trip_is_exact"),
    (Fault::AlwaysUnchanged, "publish_replaces_the_copy"),
    (Fault::MissingIsUnchanged, "lost_copy_is_not_remembered"),
    (Fault::UnchangedIsNone, "publish_replaces_the_copy"),
    (Fault::FailedReadIsUnchanged, "outage_is_an_error"),
    (Fault::NeverNotifies, "publish_is_notified"),
    (Fault::NotifiesOfEveryKey, "renewal_is_not_notified"),
    (
        Fault::NeverWatchesAgain,
        "notifications_come_back_after_an_outage",
    ),
    (
        Fault::WatchesAgainInSilence,
        "changes_during_an_outage_are_notified_after_it",
    ),
    (Fault::WatchesForEver, "shutdown_closes_the_connections"),
    (Fault::NoTimeLimit, "calls_to_a_hanging_server_are_bounded"),
    (
        Fault::NeverConnectsAgain,
        "calls_work_again_after_an_outage",
    ),
    (Fault::StaysBusyWhenCut, "cancelled_calls_do_no_harm"),
];

#[tokio::test(start_paused = true)]
async fn a_sound_store_keeps_every_rule() {
    for (rule, verdict) in run_all(Capabilities::ALL, || Server::new(None)).await {
        assert_eq!(verdict, Verdict::Passed, "{rule}");
    }
}

#[test]
fn each_mistake_is_caught_by_its_rule() {
    let mut missed = Vec::new();
    for (fault, name) in CAUGHT {
        let rule = CASES.iter().find(|case| case.name == *name).unwrap();
        match broken(rule, *fault) {
            Some(message) => println!("{fault:?} is caught by {name}: {message}"),
            None => missed.push(format!("{fault:?} is not caught by {name}")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// The watched key is written after the change that it announces, so a server that notifies too early does no harm.
#[test]
fn a_notification_before_its_write_does_no_harm() {
    for rule in CASES {
        assert_eq!(
            broken(rule, Fault::NotifiesBeforeTheWrite),
            None,
            "{}",
            rule.name
        );
    }
}

/// What the rule says of a store with this mistake, if it breaks it.
fn broken(rule: &Case, fault: Fault) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let run = || runtime.block_on(async { (rule.run)(&Server::new(Some(fault))).await });
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string()))
}

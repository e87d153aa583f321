//! Mistakes planted in the provider, each caught by the rule that names it. Against a real server; without one it is reported
//! as ignored, and fails in CI.
//!
//! What the kit cannot find, since it runs in one process, on one machine and with one service: a clock that is not the
//! server's, statements without the service in their `WHERE`, a lease that is shorter than the poll interval of production,
//! a copy that is moved at every tick though it did not change, an error that shows the password, a connection without TLS.

mod server;

#[path = "server/faulty.rs"]
mod faulty;

use std::process::ExitCode;
use std::sync::Arc;

use faulty::{Fault, PostgresProvider};
use flagcache::testing::conformance::CASES;
use flagcache_test_support::PostgresServer;
use server::LEASE;

/// Each mistake, and the rule that catches it.
const CAUGHT: &[(Fault, &str)] = &[
    (Fault::NeverCreatesTheRow, "leader_stays_leader"),
    (Fault::EverybodyLeads, "at_most_one_leads"),
    (Fault::LooksThenLeads, "at_most_one_leads"),
    (Fault::OneNameForAll, "at_most_one_leads"),
    (Fault::NeverRenews, "asking_renews_the_lease"),
    (Fault::LeaseNeverEnds, "silent_leader_is_replaced"),
    (Fault::LeaseInTheWrongUnit, "silent_leader_is_replaced"),
    (Fault::ShutdownKeepsTheLease, "shutdown_frees_the_lead"),
    (Fault::AnybodyReleases, "follower_shutdown_frees_nothing"),
    (
        Fault::ComesStraightBack,
        "stepped_down_worker_does_not_lead",
    ),
    (Fault::NeverStepsDown, "leader_steps_down_on_request"),
    (Fault::PublishesWithoutTheLease, "follower_never_overwrites"),
    (Fault::BelievesItStillLeads, "late_leader_never_overwrites"),
    (Fault::CreateOverwrites, "follower_never_overwrites"),
    (Fault::LooksThenCreates, "concurrent_creates_keep_the_first"),
    (Fault::StoresJsonb, "round_trip_is_exact"),
    (Fault::StoresNoMetadata, "metadata_travels"),
    (Fault::CutsLargeCopies, "large_definitions_survive"),
    (
        Fault::EmptySetIsNull,
        "empty_definitions_are_not_a_missing_copy",
    ),
    (Fault::EmptyRowIsAnError, "empty_store_reads_none"),
    (Fault::DeletesTheRowAtShutdown, "copy_outlives_its_writer"),
    (
        Fault::HidesTheStoredCopy,
        "cold_leader_is_given_the_stored_copy",
    ),
    (Fault::ForgetsTheVersion, "publish_replaces_the_copy"),
    (Fault::RemembersALostCopy, "lost_copy_is_not_remembered"),
    (
        Fault::FailureReplacesANewerCopy,
        "failed_load_leaves_a_newer_copy",
    ),
    (Fault::RestoresOnlyNull, "unchanged_replaces_a_damaged_copy"),
    (Fault::NeverRestores, "unchanged_restores_a_lost_copy"),
    (
        Fault::RestoresOnlyWhenConfirmed,
        "failed_load_restores_a_lost_copy",
    ),
    (
        Fault::WritesInTwoSteps,
        "concurrent_publishes_leave_a_whole_copy",
    ),
    (Fault::PublishesInSilence, "publish_is_notified"),
    (Fault::ReleasesInSilence, "release_is_notified"),
    (Fault::RestoresInSilence, "restored_copy_is_notified"),
    (
        Fault::NotifiesWithoutItsName,
        "writer_is_not_notified_of_its_own_write",
    ),
    (Fault::AnybodyConfirms, "follower_confirms_nothing"),
    (Fault::NeverConfirms, "confirmation_age_is_reported"),
    (Fault::HidesTheLeaseEnd, "lease_end_is_reported"),
    (Fault::GarbageIsEmpty, "garbage_is_an_error"),
    (Fault::RefusesOtherSdks, "copy_of_another_sdk_loads"),
    (Fault::FailedReadIsEmpty, "outage_is_an_error"),
    (Fault::FailedDecisionIsFalse, "outage_is_an_error"),
    (Fault::FailedPublishIsFine, "outage_is_an_error"),
    (Fault::NoTimeout, "calls_to_a_hanging_server_are_bounded"),
    (
        Fault::NeverConnectsAgain,
        "calls_work_again_after_an_outage",
    ),
    (
        Fault::ListensAgainInSilence,
        "changes_during_an_outage_are_notified_after_it",
    ),
    (
        Fault::NeverListensAgain,
        "notifications_come_back_after_an_outage",
    ),
    (Fault::ListensForEver, "shutdown_closes_the_connections"),
    (Fault::StaysBusyWhenCut, "cancelled_calls_do_no_harm"),
    (Fault::UnusedShutdownFails, "unused_provider_shuts_down"),
    (Fault::DropNeedsARuntime, "drop_outside_a_runtime"),
];

fn main() -> ExitCode {
    if !PostgresServer::is_installed() {
        return server::missing("each_mistake_is_caught_by_its_rule");
    }
    let case = |name: &str| {
        CASES
            .iter()
            .find(|case| case.name == name)
            .expect("a rule of the kit")
    };
    let cases: Vec<_> = CAUGHT
        .iter()
        .map(|(fault, name)| (*fault, case(name)))
        .collect();
    let mut missed = 0;
    server::run_each(
        &cases,
        |fault| {
            Box::new(move |config, service| {
                Arc::new(PostgresProvider::new(config, service, LEASE, Some(fault)))
            })
        },
        |fault, case, broken| {
            missed += usize::from(broken.is_none());
            println!(
                "test {fault:?} is caught by {} ... {}",
                case.name,
                broken.as_deref().unwrap_or("NOT CAUGHT")
            );
        },
    );
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

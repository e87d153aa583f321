//! A provider that breaks one rule fails the test of that rule, and no other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::conformance::{CASES, Capabilities, TestStore, Verdict, run_all};
use flagcache_providers::testing::{Connections, Outage, ProviderMethod};

use crate::model::{Bug, Model};

/// Every rule, with the mistake that breaks it.
const BROKEN: &[(&str, Bug)] = &[
    ("empty_store_reads_none", Bug::EmptyStoreIsAnError),
    ("round_trip_is_exact", Bug::LosesFractions),
    ("metadata_travels", Bug::LosesFetchTime),
    (
        "empty_definitions_are_not_a_missing_copy",
        Bug::EmptySetIsMissing,
    ),
    ("large_definitions_survive", Bug::CutsLargeSets),
    ("copy_outlives_its_writer", Bug::CopyDiesWithItsWriter),
    (
        "cold_leader_is_given_the_stored_copy",
        Bug::HidesTheStoredCopy,
    ),
    ("lost_copy_is_not_remembered", Bug::RemembersTheCopy),
    ("publish_replaces_the_copy", Bug::TakesSameLengthForSame),
    (
        "load_without_update_leaves_the_copy",
        Bug::EmptiesTheCopyOnQuota,
    ),
    (
        "failed_load_leaves_a_newer_copy",
        Bug::FailureReplacesANewerCopy,
    ),
    (
        "concurrent_publishes_leave_a_whole_copy",
        Bug::WritesInTwoHalves,
    ),
    ("follower_never_overwrites", Bug::CreatorOverwrites),
    ("concurrent_creates_keep_the_first", Bug::ChecksThenCreates),
    ("late_leader_never_overwrites", Bug::LateLeaderOverwrites),
    ("at_most_one_leads", Bug::ChecksThenLeads),
    ("leader_stays_leader", Bug::RefusesToBeAskedTwice),
    ("asking_renews_the_lease", Bug::NeverRenews),
    ("silent_leader_is_replaced", Bug::LeaseIsFiveTimesAsLong),
    ("dropped_leader_is_replaced", Bug::DroppedLeaderLeadsOn),
    ("shutdown_frees_the_lead", Bug::ShutdownKeepsTheLead),
    (
        "follower_shutdown_frees_nothing",
        Bug::FollowerShutdownFreesTheLead,
    ),
    ("leader_steps_down_on_request", Bug::StaysOutWithTheLead),
    ("stepped_down_worker_does_not_lead", Bug::ComesStraightBack),
    ("publish_is_notified", Bug::PublishTellsNobody),
    (
        "writer_is_not_notified_of_its_own_write",
        Bug::NotifiesItself,
    ),
    ("release_is_notified", Bug::ReleaseTellsNobody),
    ("renewal_is_not_notified", Bug::NotifiesOfRenewals),
    ("restored_copy_is_notified", Bug::RestoresInSilence),
    ("confirmation_age_is_reported", Bug::NeverConfirmsAgain),
    ("follower_confirms_nothing", Bug::FollowerConfirms),
    ("lease_end_is_reported", Bug::HidesTheLease),
    ("used_up_quota_is_reported", Bug::HidesTheQuota),
    ("failure_is_reported", Bug::ForgetsTheAgeOfAFailure),
    ("refused_key_does_not_lead", Bug::RefusedKeyLeads),
    ("refresh_request_is_taken_once", Bug::KeepsTheRequest),
    ("refresh_request_wakes_the_leader", Bug::RequestWakesNobody),
    ("garbage_is_an_error", Bug::GarbageIsAnEmptyStore),
    ("copy_of_another_sdk_loads", Bug::RefusesOtherSdks),
    ("unchanged_restores_a_lost_copy", Bug::RestoresOnlyOnFailure),
    (
        "failed_load_restores_a_lost_copy",
        Bug::RestoresOnlyWhenUnchanged,
    ),
    (
        "unchanged_replaces_a_damaged_copy",
        Bug::RestoresOnlyTheMissing,
    ),
    ("outage_is_an_error", Bug::OutageIsAnEmptyStore),
    (
        "interrupted_publish_is_stored_or_an_error",
        Bug::InterruptedPublishIsFine,
    ),
    (
        "calls_to_a_hanging_server_are_bounded",
        Bug::WaitsForAHangingServer,
    ),
    (
        "calls_work_again_after_an_outage",
        Bug::ReadsNeverAgainAfterAFailure,
    ),
    (
        "changes_during_an_outage_are_notified_after_it",
        Bug::ReconnectsInSilence,
    ),
    (
        "notifications_come_back_after_an_outage",
        Bug::NeverSubscribesAgain,
    ),
    ("shutdown_closes_the_connections", Bug::KeepsItsConnection),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::ShouldFetch),
    ),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::Get),
    ),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::Received),
    ),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::Shutdown),
    ),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::Peek),
    ),
    (
        "cancelled_calls_do_no_harm",
        Bug::StaysBusyWhenCut(ProviderMethod::FetchWithoutUpdate),
    ),
    ("unused_provider_shuts_down", Bug::UnusedShutdownFails),
    ("drop_outside_a_runtime", Bug::DropNeedsARuntime),
];

#[tokio::test(start_paused = true)]
async fn a_sound_store_keeps_every_rule() {
    for (case, verdict) in run_all(Capabilities::ALL, Model::sound).await {
        assert_eq!(verdict, Verdict::Passed, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_mistake_fails_the_test_of_its_rule_alone() {
    let mut wrong = Vec::new();
    for (rule, bug) in BROKEN {
        let verdicts = run_all(Capabilities::ALL, || Model::with(*bug)).await;
        let failed: Vec<_> = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict != Verdict::Passed)
            .collect();
        if failed.iter().map(|(case, _)| case).ne([rule]) {
            wrong.push(format!(
                "{bug:?} should fail {rule} alone, but failed {failed:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rule_has_a_mistake_that_breaks_it() {
    let rules: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let mut broken: Vec<_> = BROKEN.iter().map(|(rule, _)| *rule).collect();
    broken.dedup();
    assert_eq!(rules, broken);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_apply_is_not_passed() {
    for (name, verdict) in run_all(
        Capabilities {
            elects: true,
            ..Capabilities::NONE
        },
        Model::sound,
    )
    .await
    {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        let missing: Vec<_> = case
            .needs
            .iter()
            .copied()
            .filter(|need| *need != "elects")
            .collect();
        let expected = if missing.is_empty() {
            Verdict::Passed
        } else {
            Verdict::DoesNotApply(missing)
        };
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn every_need_is_a_capability() {
    for need in CASES.iter().flat_map(|case| case.needs) {
        assert!(Capabilities::ALL.has(need), "{need}");
    }
}

/// A sound store whose test rig damages nothing and cuts nothing off.
struct IdleRig(Model);

#[async_trait]
impl TestStore for IdleRig {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        self.0.provider()
    }

    fn lease_time(&self) -> Duration {
        self.0.lease_time()
    }

    fn notification_time(&self) -> Duration {
        self.0.notification_time()
    }

    async fn damage(&self, _copy: Option<Bytes>) {}

    async fn outage(&self, _outage: Outage) {}

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_test_rig_is_not_blamed_on_the_provider() {
    for (case, verdict) in run_all(Capabilities::ALL, || IdleRig(Model::sound())).await {
        let rule = CASES.iter().find(|rule| rule.name == case).unwrap();
        match verdict {
            Verdict::Failed(message) => assert!(
                message.starts_with("the test rig is at fault"),
                "{case}: {message}"
            ),
            verdict => {
                assert_eq!(verdict, Verdict::Passed, "{case}");
                assert!(
                    !rule.needs.contains(&"damage") && !rule.needs.contains(&"outage"),
                    "{case} passed"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_says_in_one_line_what_was_lost() {
    let mistakes = [
        (
            Bug::LosesFetchTime,
            "the fetch time was changed: store what `to_json` gives, and read it by `from_json`",
        ),
        (
            Bug::HidesTheStoredCopy,
            "what a cold leader is given: the store gives nothing in place of the set of `flag-1`",
        ),
        (
            Bug::RemembersTheCopy,
            "the copy is gone, and the worker that has read it still gives the set of `flag-1`",
        ),
        (
            Bug::OutageIsAnEmptyStore,
            "get_flag_definitions gave `None` (an empty store) while the server was cut off",
        ),
    ];
    for (bug, expected) in mistakes {
        let verdicts = run_all(Capabilities::ALL, || Model::with(bug)).await;
        let failed = verdicts.into_iter().find_map(|(_, verdict)| match verdict {
            Verdict::Failed(message) => Some(message),
            _ => None,
        });
        let message = failed.unwrap();
        assert!(
            message.starts_with(expected) && !message.contains('\n'),
            "{message}"
        );
    }
}

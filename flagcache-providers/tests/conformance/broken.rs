//! A provider that breaks one rule fails the test of that rule, and no other.

use flagcache_providers::testing::conformance::{CASES, Capabilities, Verdict, run_all};

use crate::model::{Bug, Model};

/// Every rule, with the mistake that breaks it.
const BROKEN: &[(&str, Bug)] = &[
    ("empty_store_reads_none", Bug::EmptyStoreIsAnError),
    ("round_trip_is_exact", Bug::LosesFractions),
    ("metadata_travels", Bug::LosesFetchTime),
    ("empty_set_is_not_a_missing_one", Bug::EmptySetIsMissing),
    ("large_set_survives", Bug::CutsLargeSets),
    ("copy_outlives_its_writer", Bug::CopyDiesWithItsWriter),
    (
        "cold_leader_is_given_the_stored_copy",
        Bug::HidesTheStoredCopy,
    ),
    ("publish_replaces_the_copy", Bug::TakesSameLengthForSame),
    (
        "load_without_news_leaves_the_copy",
        Bug::EmptiesTheCopyOnQuota,
    ),
    (
        "concurrent_publishes_leave_a_whole_set",
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
    ("leader_steps_down_when_told", Bug::StaysOutWithTheLead),
    ("who_stepped_down_stays_out", Bug::ComesStraightBack),
    ("publish_is_noticed", Bug::PublishTellsNobody),
    ("release_is_noticed", Bug::ReleaseTellsNobody),
    ("confirmation_age_is_told", Bug::NeverConfirmsAgain),
    ("lease_end_is_told", Bug::HidesTheLease),
    ("used_up_quota_is_told", Bug::HidesTheQuota),
    ("garbage_is_an_error", Bug::GarbageIsAnEmptyStore),
    ("copy_of_another_sdk_loads", Bug::RefusesOtherSdks),
    (
        "unchanged_puts_a_lost_copy_back",
        Bug::RestoresOnlyOnFailure,
    ),
    (
        "failed_load_puts_a_lost_copy_back",
        Bug::RestoresOnlyWhenUnchanged,
    ),
    (
        "unchanged_replaces_a_damaged_copy",
        Bug::RestoresOnlyTheMissing,
    ),
    ("cancelled_calls_do_no_harm", Bug::StaysBusyWhenCut),
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
    let broken: Vec<_> = BROKEN.iter().map(|(rule, _)| *rule).collect();
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

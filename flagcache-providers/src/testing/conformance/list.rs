//! The list of all rules. The only place that says which capability a rule needs.

use std::fmt;

use futures_util::future::BoxFuture;

use super::TestStore;

/// Hands the list of all rules to another macro: `name [capabilities that it needs]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($callback:ident $arguments:tt) => {
        $crate::$callback! {
            $arguments
            empty_store_reads_none []
            round_trip_is_exact []
            metadata_travels []
            empty_definitions_are_not_a_missing_copy []
            large_definitions_survive []
            copy_outlives_its_writer []
            cold_leader_is_given_the_stored_copy [stored_copy]
            lost_copy_is_not_remembered [damage]
            publish_replaces_the_copy []
            load_without_update_leaves_the_copy []
            failed_load_leaves_a_newer_copy []
            concurrent_publishes_leave_a_whole_copy []
            follower_never_overwrites [elects create_only]
            concurrent_creates_keep_the_first [elects create_only]
            late_leader_never_overwrites [elects lease fenced]
            at_most_one_leads [elects]
            leader_stays_leader [elects]
            asking_renews_the_lease [elects lease]
            silent_leader_is_replaced [elects lease]
            dropped_leader_is_replaced [elects]
            shutdown_frees_the_lead [elects]
            follower_shutdown_frees_nothing [elects]
            leader_steps_down_on_request [elects steps_down]
            stepped_down_worker_does_not_lead [elects steps_down]
            publish_is_notified [push]
            writer_is_not_notified_of_its_own_write [push]
            release_is_notified [elects push]
            renewal_is_not_notified [elects push]
            restored_copy_is_notified [push restores damage]
            confirmation_age_is_reported [confirms]
            follower_confirms_nothing [elects confirms]
            lease_end_is_reported [elects reports_lease]
            used_up_quota_is_reported [quota_mark]
            failure_is_reported [elects fleet_failure]
            refused_key_does_not_lead [elects fleet_failure]
            refresh_request_is_taken_once [elects carries_requests]
            refresh_request_wakes_the_leader [elects push carries_requests]
            garbage_is_an_error [damage]
            copy_of_another_sdk_loads [damage]
            unchanged_restores_a_lost_copy [restores damage]
            failed_load_restores_a_lost_copy [restores damage]
            unchanged_replaces_a_damaged_copy [restores damage]
            outage_is_an_error [outage]
            interrupted_publish_is_stored_or_an_error [outage]
            calls_to_a_hanging_server_are_bounded [outage]
            calls_work_again_after_an_outage [outage]
            changes_during_an_outage_are_notified_after_it [push outage]
            notifications_come_back_after_an_outage [push outage]
            shutdown_closes_the_connections [outage]
            cancelled_calls_do_no_harm []
            unused_provider_shuts_down []
            drop_outside_a_runtime []
        }
    };
}

/// One rule, for a harness of your own.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name of its function.
    pub name: &'static str,
    /// The names of the capabilities without which it does not apply.
    pub needs: &'static [&'static str],
    /// Holds a fresh store to it; panics if the store breaks it.
    pub run: for<'a> fn(&'a dyn TestStore) -> BoxFuture<'a, ()>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    (() $($case:ident [$($need:ident)*])*) => {
        /// Every rule, in the order in which they build on each other.
        pub const CASES: &[Case] = &[
            $(Case {
                name: stringify!($case),
                needs: &[$(stringify!($need)),*],
                run: |store| Box::pin(super::$case(store)),
            },)*
        ];
    };
}

crate::__conformance_cases!(__conformance_table());

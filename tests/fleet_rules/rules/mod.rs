//! The rules that hold for every store. Each function is one test.

pub(crate) mod cold_start;
pub(crate) mod damage;
#[cfg(feature = "redis")]
pub(crate) mod failover;
pub(crate) mod handover;
pub(crate) mod late_leader;
pub(crate) mod loss;
pub(crate) mod outage;
pub(crate) mod roll_back;
pub(crate) mod staleness;
pub(crate) mod step_down;
pub(crate) mod ticks;

/// Makes a test of each rule, for one store: of all rules, of those for failing servers too, or of those that may
/// differ where only the servers are others.
macro_rules! rules_for {
    ($test_store:ty) => {
        $crate::rules::rules_for! {
            $test_store:
            cold_start: b8_58_a_cold_fleet_sends_one_get, b8_58_a_cold_fleet_with_a_filled_cache_sends_at_most_one_get;
            ticks: b8_59_a_tick_costs_the_fleet_one_get;
            handover: b8_60_a_killed_leader_is_replaced, b8_60_a_leader_that_shuts_down_is_replaced_at_once;
            step_down: b8_61_a_leader_without_a_connection_steps_down_after_two_failures,
                b8_61_a_leader_whose_key_is_refused_steps_down,
                b8_61_a_key_refused_for_all_workers_is_retried_by_one,
                b8_61_a_connection_failure_of_all_workers_is_retried_by_three,
                b8_61_a_key_replaced_in_half_of_the_workers_is_used_at_once,
                b8_61_an_isolated_leader_is_replaced, b8_61_a_closed_port_is_tried_by_three;
            staleness: b8_62_followers_of_a_paused_leader_fetch_for_themselves;
            late_leader: b8_65_a_suspended_leader_that_resumes_overwrites_nothing;
            damage: b8_66_a_damaged_copy_costs_no_worker_a_flag;
            roll_back: b3_37_a_roll_back_over_a_change_of_leader_reaches_all;
        }
    };
    ($test_store:ty, with servers that fail) => {
        $crate::rules::rules_for!($test_store);
        $crate::rules::rules_for! {
            $test_store:
            loss: b8_63_a_lost_copy_is_restored, b8_63_a_lost_copy_is_restored_while_the_api_fails;
            outage: b8_64_a_fleet_survives_a_server_that_is_down, b8_64_a_fleet_survives_a_server_that_hangs;
        }
    };
    ($test_store:ty, as another shape) => {
        $crate::rules::rules_for! {
            $test_store:
            cold_start: b8_58_a_cold_fleet_sends_one_get, b8_58_a_cold_fleet_with_a_filled_cache_sends_at_most_one_get;
            handover: b8_60_a_killed_leader_is_replaced, b8_60_a_leader_that_shuts_down_is_replaced_at_once;
            loss: b8_63_a_lost_copy_is_restored;
            outage: b8_64_a_fleet_survives_a_server_that_is_down, b8_64_a_fleet_survives_a_server_that_hangs;
            late_leader: b8_65_a_suspended_leader_that_resumes_overwrites_nothing;
            damage: b8_66_a_damaged_copy_costs_no_worker_a_flag;
        }
    };
    ($test_store:ty, with a replica) => {
        $crate::rules::rules_for! {
            $test_store:
            failover: b8_63_a_failover_that_loses_the_last_write_affects_workers_for_at_most_a_tick,
                b8_63_a_failover_while_the_api_fails_affects_workers_for_at_most_a_tick,
                b8_64_a_primary_that_hangs_is_replaced;
        }
    };
    ($test_store:ty: $($file:ident: $($rule:ident),+;)+) => {
        $($(
            #[test]
            fn $rule() {
                $crate::rules::$file::$rule::<$test_store>();
            }
        )+)+
    };
}
pub(crate) use rules_for;

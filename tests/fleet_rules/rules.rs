//! The rules that hold for every store. Each function is one test.

pub(crate) mod cold_start;
pub(crate) mod damage;
pub(crate) mod giving_up;
pub(crate) mod handover;
pub(crate) mod late_leader;
pub(crate) mod roll_back;
pub(crate) mod staleness;
pub(crate) mod ticks;

/// Makes a test of each rule, for one store.
macro_rules! rules_for {
    ($place:ty) => {
        $crate::rules::rules_for! {
            $place:
            cold_start: b8_58_a_cold_fleet_sends_one_get, b8_58_on_a_filled_cache_it_sends_at_most_one;
            ticks: b8_59_a_tick_costs_the_fleet_one_get;
            handover: b8_60_a_killed_leader_is_replaced, b8_60_a_leader_that_shuts_down_is_replaced_at_once;
            giving_up: b8_61_a_refused_leader_gives_up, b8_61_an_unconnected_leader_gives_up_the_second_time;
            staleness: b8_62_followers_of_a_petrified_leader_help_themselves;
            late_leader: b8_65_a_leader_that_wakes_up_overwrites_nothing;
            damage: b8_66_a_damaged_copy_costs_nobody_a_flag;
            roll_back: b3_37_a_roll_back_over_a_change_of_leader_reaches_all;
        }
    };
    ($place:ty: $($file:ident: $($rule:ident),+;)+) => {
        $($(
            #[test]
            fn $rule() {
                $crate::rules::$file::$rule::<$place>();
            }
        )+)+
    };
}
pub(crate) use rules_for;

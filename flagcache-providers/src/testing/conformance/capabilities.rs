//! What a store can do beyond the contract.

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a store can do beyond holding a copy. Each one claimed is tested; each one not claimed leaves tests out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Capabilities {
            $($(#[$doc])* pub $name: bool,)+
        }

        impl Capabilities {
            /// Holds a copy and nothing more: what any four methods do.
            pub const NONE: Self = Self { $($name: false,)+ };
            /// All of them.
            pub const ALL: Self = Self { $($name: true,)+ };

            /// The name of each.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Those of these names; an unknown one counts for nothing.
            pub fn named(names: &[&str]) -> Self {
                Self { $($name: names.contains(&stringify!($name)),)+ }
            }

            /// Whether the capability of this name is claimed; `false` for an unknown one.
            pub fn has(&self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name,)+
                    _ => false,
                }
            }
        }
    };
}

capabilities! {
    /// The decision is `true` for at most one worker at a time, and that worker stays the leader while it asks.
    elects,
    /// The lead of a worker that stops asking ends by itself, within [`TestStore::lease_time`](super::TestStore::lease_time).
    lease,
    /// A worker that does not lead can fill an empty store, atomically, and never overwrites a copy.
    create_only,
    /// A leader that lost the leadership without knowing it cannot overwrite what its successor stored. Needs `lease`.
    fenced,
    /// `peek_flag_definitions` gives the copy.
    stored_copy,
    /// `on_fetch_without_update` puts back a copy that was lost or that another program changed.
    restores,
    /// `on_fetch_without_update` steps down when the outcome says so.
    steps_down,
    /// Notifies the other workers through their [`PollerContext`](flagcache_core::PollerContext) when the copy or the leader
    /// may have changed.
    push,
    /// Reports the age of the last confirmation.
    confirms,
    /// Reports to followers when the leader's lease ends.
    reports_lease,
    /// Reports to followers that the quota is used up.
    quota_mark,
    /// Keeps a leader's failed request, reports it to every worker, and grants no leadership to a worker that it
    /// [bars](flagcache_core::FleetFailure::bars).
    fleet_failure,
    /// `request_refresh` carries requests for a refresh to the leader, whose decision takes them.
    carries_requests,
    /// The test can put anything in the place of the copy: [`TestStore::damage`](super::TestStore::damage).
    damage,
    /// The test can cut off the store from its server: [`TestStore::outage`](super::TestStore::outage).
    outage,
}

//! The rules that every provider keeps, as tests.
//!
//! # Testing a provider
//!
//! Say how a worker gets a provider of a fresh store, and what the store can do:
//!
//! ```
//! # #[cfg(feature = "memory")]
//! mod my_store {
//!     use flagcache_providers::MemoryStore;
//!
//!     flagcache_providers::conformance!(
//!         || {
//!             let store = MemoryStore::new();
//!             move || store.provider()
//!         },
//!         elects, create_only, stored_copy, steps_down, push, confirms, reports_lease, quota_mark, fleet_failure,
//!         carries_requests
//!     );
//! }
//! ```
//!
//! Each rule becomes a `#[test]` of its own. One that needs a [capability](Capabilities) that was not named is generated as
//! `#[ignore = "does not apply: …"]`, so a test report shows what was *not* proven. Put the macro into a module of its own,
//! since it generates functions; it needs no dependency beside this crate.
//!
//! The first argument is a function without arguments, called once for each test, on a runtime. It returns a
//! [`TestStore`]; a function that returns a provider is one. For what such a function cannot say (how long a lease is, how
//! to damage the copy) implement the trait, and give the function that makes one:
//!
//! ```
//! # #[cfg(feature = "memory")]
//! mod my_store {
//!     use std::sync::Arc;
//!     use std::time::Duration;
//!
//!     use flagcache_core::FlagDefinitionCacheProvider;
//!     use flagcache_providers::MemoryStore;
//!     use flagcache_providers::testing::conformance::TestStore;
//!
//!     #[derive(Default)]
//!     struct Fresh {
//!         store: MemoryStore,
//!     }
//!
//!     #[async_trait::async_trait]
//!     impl TestStore for Fresh {
//!         fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
//!             Arc::new(self.store.provider())
//!         }
//!
//!         fn lease_time(&self) -> Duration {
//!             Duration::from_secs(1)
//!         }
//!     }
//!
//!     flagcache_providers::conformance!(Fresh::default, elects, lease, create_only, stored_copy);
//! #   fn _fits() -> impl TestStore { Fresh::default() }
//! }
//! ```
//!
//! # During an outage of the server
//!
//! With the capability `outage` the kit cuts off the store from its server: put a [`TcpProxy`](crate::testing::TcpProxy)
//! between the two and call its methods in [`TestStore::outage`] and [`TestStore::connections`].
//!
//! The rules can also be called one by one, they are the async functions here, or all with [`run_all`], for a test harness
//! of your own.
//!
//! # The result
//!
//! When its last rule has run, [`conformance!`](crate::conformance!) prints a [`Report`]: which capabilities the provider
//! proved, failed or does not have, as a Markdown table for the provider's README. If the environment variable
//! `FLAGCACHE_CONFORMANCE_JSON` holds the path of a file, the result goes there as JSON too, under the names of the package and the test module;
//! each run replaces what the file says of the rules that it ran, and leaves the other modules.
//!
//! # What is not tested here
//!
//! That the store works between *processes* and through a crash of one: that takes a test of your own.

mod capabilities;
mod damage;
mod data;
mod difference;
mod election;
mod list;
mod notifications;
mod outage;
mod refresh;
mod report;
mod reports;
mod run;
mod sample;
mod soundness;
mod stepwise;
mod store;
mod worker;
mod writing;

pub use capabilities::Capabilities;
pub use damage::{
    copy_of_another_sdk_loads, failed_load_restores_a_lost_copy, garbage_is_an_error,
    lost_copy_is_not_remembered, unchanged_replaces_a_damaged_copy, unchanged_restores_a_lost_copy,
};
pub use data::{
    cold_leader_is_given_the_stored_copy, copy_outlives_its_writer,
    empty_definitions_are_not_a_missing_copy, empty_store_reads_none, large_definitions_survive,
    metadata_travels, round_trip_is_exact,
};
pub use election::{
    asking_renews_the_lease, at_most_one_leads, dropped_leader_is_replaced,
    follower_shutdown_frees_nothing, leader_stays_leader, leader_steps_down_on_request,
    shutdown_frees_the_lead, silent_leader_is_replaced, stepped_down_worker_does_not_lead,
};
pub use list::{CASES, Case};
pub use notifications::{
    publish_is_notified, release_is_notified, renewal_is_not_notified, restored_copy_is_notified,
    writer_is_not_notified_of_its_own_write,
};
pub use outage::{
    calls_to_a_hanging_server_are_bounded, calls_work_again_after_an_outage,
    changes_during_an_outage_are_notified_after_it, interrupted_publish_is_stored_or_an_error,
    notifications_come_back_after_an_outage, outage_is_an_error, shutdown_closes_the_connections,
};
pub use refresh::{refresh_request_is_taken_once, refresh_request_wakes_the_leader};
pub use report::{Kit, Report, run_case};
pub use reports::{
    confirmation_age_is_reported, failure_is_reported, follower_confirms_nothing,
    lease_end_is_reported, refused_key_does_not_lead, used_up_quota_is_reported,
};
pub use run::{Verdict, run, run_all};
pub use soundness::{
    cancelled_calls_do_no_harm, drop_outside_a_runtime, unused_provider_shuts_down,
};
pub use store::TestStore;
pub use worker::POLL_INTERVAL;
pub use writing::{
    concurrent_creates_keep_the_first, concurrent_publishes_leave_a_whole_copy,
    failed_load_leaves_a_newer_copy, follower_never_overwrites, late_leader_never_overwrites,
    load_without_update_leaves_the_copy, publish_replaces_the_copy,
};

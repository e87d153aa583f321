//! Running the rules.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{CASES, Capabilities, TestStore};

/// A rule that takes longer is broken: no rule waits longer than a few leases.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The result of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store keeps it.
    Passed,
    /// The store breaks it, with this message.
    Failed(String),
    /// Nothing was tried: the store does not claim these capabilities.
    DoesNotApply(Vec<&'static str>),
}

/// Runs one rule on a runtime with several threads, as the tests of [`conformance!`](crate::conformance!) do.
///
/// # Panics
/// If the rule is broken.
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime for the test");
    runtime.block_on(limited(case));
    // A provider that left a blocking call behind must not keep the test from ending.
    runtime.shutdown_background();
}

/// Holds stores to every rule that applies to them, all at once, each with a fresh store. For a test harness of your own; on
/// the current runtime.
pub async fn run_all<S: TestStore>(
    capabilities: Capabilities,
    fresh: impl Fn() -> S,
) -> Vec<(&'static str, Verdict)> {
    let fresh = &fresh;
    let verdicts = CASES.iter().map(|case| async move {
        let missing: Vec<_> = case
            .needs
            .iter()
            .copied()
            .filter(|need| !capabilities.has(need))
            .collect();
        if !missing.is_empty() {
            return (case.name, Verdict::DoesNotApply(missing));
        }
        let outcome = AssertUnwindSafe(async {
            let store = fresh();
            limited((case.run)(&store)).await;
        });
        let verdict = match outcome.catch_unwind().await {
            Ok(()) => Verdict::Passed,
            Err(panic) => Verdict::Failed(message(panic.as_ref())),
        };
        (case.name, verdict)
    });
    join_all(verdicts).await
}

async fn limited(case: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(TIMEOUT, case).await;
    assert!(ended.is_ok(), "no end after {TIMEOUT:?}");
}

pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// Generates a test for each rule that a flag definition cache provider must keep; see
/// [`testing::conformance`](mod@crate::testing::conformance).
#[macro_export]
macro_rules! conformance {
    ($fresh:expr $(, $capability:ident)* $(,)?) => {
        // An unknown capability is an error, not a test that is never run.
        $($crate::conformance_capability!($capability);)*

        // Whether a capability was claimed, answered while macros expand: only then can a test be *ignored*.
        macro_rules! __flagcache_claims {
            $(($capability { $yes:item } { $no:item }) => { $yes };)*
            ($other:ident { $yes:item } { $no:item }) => { $no };
        }

        static __FLAGCACHE_KIT: $crate::testing::conformance::Kit = $crate::testing::conformance::Kit::new(
            ::core::concat!(::core::env!("CARGO_PKG_NAME"), ": ", ::core::module_path!()),
            &[$(::core::stringify!($capability)),*],
        );

        $crate::__conformance_cases!(__conformance_tests($fresh));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($fresh:expr) $($case:ident $needs:tt)*) => {
        $($crate::__conformance_test!(($fresh) $case $needs);)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    (($fresh:expr) $case:ident []) => {
        #[test]
        fn $case() {
            $crate::testing::conformance::run_case(&__FLAGCACHE_KIT, ::core::stringify!($case), async {
                let store = ($fresh)();
                $crate::testing::conformance::$case(&store).await;
            });
        }
    };
    (($fresh:expr) $case:ident [$need:ident $($more:ident)*]) => {
        __flagcache_claims!($need
            { $crate::__conformance_test!(($fresh) $case [$($more)*]); }
            { $crate::__conformance_ignored!($need $case); });
    };
}

// The names are those of `Capabilities`.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_capability {
    (elects) => {};
    (lease) => {};
    (create_only) => {};
    (fenced) => {};
    (stored_copy) => {};
    (restores) => {};
    (steps_down) => {};
    (push) => {};
    (confirms) => {};
    (reports_lease) => {};
    (quota_mark) => {};
    (fleet_failure) => {};
    (carries_requests) => {};
    (damage) => {};
    (outage) => {};
    ($other:ident) => {
        ::core::compile_error!(::core::concat!(
            "`",
            ::core::stringify!($other),
            "` is no capability of a store; name those that it has of `elects`, `lease`, `create_only`, `fenced`, ",
            "`stored_copy`, `restores`, `steps_down`, `push`, `confirms`, `reports_lease`, `quota_mark`, `fleet_failure`, ",
            "`carries_requests`, `damage`, `outage`",
        ));
    };
}

// An attribute's reason must be a literal.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_ignored {
    (elects $case:ident) => {
        $crate::__conformance_ignored!("does not apply: elects no leader", $case);
    };
    (lease $case:ident) => {
        $crate::__conformance_ignored!("does not apply: leadership does not expire", $case);
    };
    (create_only $case:ident) => {
        $crate::__conformance_ignored!("does not apply: no create-if-absent", $case);
    };
    (fenced $case:ident) => {
        $crate::__conformance_ignored!("does not apply: writes are not fenced", $case);
    };
    (stored_copy $case:ident) => {
        $crate::__conformance_ignored!("does not apply: no stored copy for a leader", $case);
    };
    (restores $case:ident) => {
        $crate::__conformance_ignored!("does not apply: does not put the copy back", $case);
    };
    (steps_down $case:ident) => {
        $crate::__conformance_ignored!("does not apply: cannot step down", $case);
    };
    (push $case:ident) => {
        $crate::__conformance_ignored!("does not apply: no push", $case);
    };
    (confirms $case:ident) => {
        $crate::__conformance_ignored!("does not apply: reports no confirmation", $case);
    };
    (reports_lease $case:ident) => {
        $crate::__conformance_ignored!(
            "does not apply: does not report the end of the lease",
            $case
        );
    };
    (quota_mark $case:ident) => {
        $crate::__conformance_ignored!("does not apply: does not report a used-up quota", $case);
    };
    (fleet_failure $case:ident) => {
        $crate::__conformance_ignored!(
            "does not apply: does not share a failed request of the leader",
            $case
        );
    };
    (carries_requests $case:ident) => {
        $crate::__conformance_ignored!("does not apply: carries no requests for a refresh", $case);
    };
    (damage $case:ident) => {
        $crate::__conformance_ignored!("does not apply: the copy cannot be damaged", $case);
    };
    (outage $case:ident) => {
        $crate::__conformance_ignored!("does not apply: the test cannot cut off the server", $case);
    };
    ($need:ident $case:ident) => {
        $crate::__conformance_ignored!("does not apply", $case);
    };
    ($reason:literal, $case:ident) => {
        #[test]
        #[ignore = $reason]
        fn $case() {}
    };
}

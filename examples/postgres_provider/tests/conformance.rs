//! Runs the conformance kit on the provider with a real server. If no server is installed, the tests are reported as
//! ignored; in CI they fail.

mod server;

use std::process::ExitCode;
use std::sync::Arc;

use flagcache::testing::conformance::CASES;
use flagcache_test_support::PostgresServer;
use postgres_provider::PostgresProvider;
use server::LEASE;

fn main() -> ExitCode {
    if !PostgresServer::is_installed() {
        return server::missing("the_provider_keeps_every_rule");
    }
    // All capabilities except `quota_mark`, `fleet_failure` and `carries_requests`.
    let applies = |needs: &[&str]| {
        !needs
            .iter()
            .any(|need| ["quota_mark", "fleet_failure", "carries_requests"].contains(need))
    };
    let cases: Vec<_> = CASES
        .iter()
        .filter(|case| applies(case.needs))
        .map(|case| ((), case))
        .collect();
    let mut failed = 0;
    server::run_each(
        &cases,
        |()| Box::new(|config, service| Arc::new(PostgresProvider::new(config, service, LEASE))),
        |(), case, broken| {
            failed += usize::from(broken.is_some());
            println!(
                "test {} ... {}",
                case.name,
                broken.map_or("ok".to_owned(), |said| format!("FAILED: {said}"))
            );
        },
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

//! A rule that does not apply shows up as an ignored test with a reason, one that applies is never left out.

use std::process::Command;

use flagcache_providers::testing::conformance::CASES;

mod everything {
    use crate::model::Model;

    flagcache_providers::conformance!(
        Model::sound,
        elects,
        lease,
        create_only,
        fenced,
        stored_copy,
        restores,
        steps_down,
        push,
        confirms,
        reports_lease,
        quota_mark,
        fleet_failure,
        carries_requests,
        damage,
        outage
    );
}

/// The tests of this binary, or the ignored ones among them.
fn tests(ignored: bool) -> Vec<String> {
    let mut list = Command::new(std::env::current_exe().unwrap());
    list.args(["--list", "--format", "terse"])
        .args(ignored.then_some("--ignored"));
    let output = String::from_utf8(list.output().unwrap().stdout).unwrap();
    output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_rule_is_a_test_and_the_claims_decide_which_are_ignored() {
    let (all, ignored) = (tests(false), tests(true));
    for case in CASES {
        for (module, applies) in [
            ("ignored::everything", true),
            ("four_methods", case.needs.is_empty()),
        ] {
            let name = format!("{module}::{}", case.name);
            assert!(all.contains(&name), "{name} is missing");
            assert_eq!(!ignored.contains(&name), applies, "{name}");
        }
    }
}

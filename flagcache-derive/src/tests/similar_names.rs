//! Which names are taken for misspelt methods.

use crate::hook::Hook;
use crate::similar::{Lookalike, is_similar, lookalike};

#[test]
fn one_or_two_letters_are_a_slip() {
    for slip in [
        "shutdwn",
        "shut_down",
        "shutDown",
        "Shutdown",
        "shutdowns",
        "shotdawn",
        "hutdown",
        "shutdonw",
    ] {
        assert!(is_similar(slip, "shutdown"), "{slip}");
    }
    assert!(is_similar("getFlagDefinitions", "get_flag_definitions"));
    assert!(is_similar(
        "on_flag_definition_receive",
        "on_flag_definitions_received"
    ));
}

#[test]
fn other_names_are_not() {
    for name in ["shut", "close", "shutdown_now", "down", "", "s", "path"] {
        assert!(!is_similar(name, "shutdown"), "{name}");
    }
    assert!(!is_similar("load_flag_definitions", "get_flag_definitions"));
    assert!(!is_similar(
        "on_flag_definitions_received",
        "on_fetch_without_update"
    ));
}

#[test]
fn names_of_the_contract_that_are_no_method() {
    let optional: Vec<_> = Hook::ALL
        .into_iter()
        .filter(|hook| !hook.is_required())
        .collect();
    assert_eq!(
        lookalike("close", &optional),
        Some(Lookalike::Of(Hook::Shutdown))
    );
    assert_eq!(
        lookalike("on_shutdown", &optional),
        Some(Lookalike::Of(Hook::Shutdown))
    );
    assert_eq!(
        lookalike("get_stored_flag_definitions", &optional),
        Some(Lookalike::Of(Hook::Stored))
    );
    assert_eq!(
        lookalike("reload_flag_definitions", &[]),
        Some(Lookalike::OfNone)
    );
    assert_eq!(
        lookalike("on_flag_definitions_expired", &[]),
        Some(Lookalike::OfNone)
    );
    assert_eq!(
        lookalike("should_fetch", &Hook::ALL),
        Some(Lookalike::Of(Hook::ShouldFetch))
    );
    assert_eq!(lookalike("get", &Hook::ALL), Some(Lookalike::Of(Hook::Get)));
}

#[test]
fn short_names_are_free_beside_the_method_itself() {
    for name in [
        "close",
        "stop",
        "get",
        "should_fetch",
        "on_received",
        "flag_definitions_path",
    ] {
        assert_eq!(lookalike(name, &[]), None, "{name}");
    }
}

//! Which names are taken for misspelt methods.

use crate::contract::Contract;
use crate::provider::ProviderMethod;
use crate::similar::{Lookalike, is_similar};

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
    let optional: Vec<_> = ProviderMethod::ALL
        .iter()
        .copied()
        .filter(|hook| !hook.is_required())
        .collect();
    assert_eq!(
        ProviderMethod::lookalike("close", &optional),
        Some(Lookalike::Of(ProviderMethod::Shutdown))
    );
    assert_eq!(
        ProviderMethod::lookalike("on_shutdown", &optional),
        Some(Lookalike::Of(ProviderMethod::Shutdown))
    );
    assert_eq!(
        ProviderMethod::lookalike("get_stored_flag_definitions", &optional),
        Some(Lookalike::Of(ProviderMethod::Stored))
    );
    assert_eq!(
        ProviderMethod::lookalike("reload_flag_definitions", &[]),
        Some(Lookalike::OfNone)
    );
    assert_eq!(
        ProviderMethod::lookalike("on_flag_definitions_expired", &[]),
        Some(Lookalike::OfNone)
    );
    assert_eq!(
        ProviderMethod::lookalike("should_fetch", ProviderMethod::ALL),
        Some(Lookalike::Of(ProviderMethod::ShouldFetch))
    );
    assert_eq!(
        ProviderMethod::lookalike("get", ProviderMethod::ALL),
        Some(Lookalike::Of(ProviderMethod::Get))
    );
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
        assert_eq!(ProviderMethod::lookalike(name, &[]), None, "{name}");
    }
}

//! Which names are taken for slips.

use crate::near::is_near;

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
        assert!(is_near(slip, "shutdown"), "{slip}");
    }
    assert!(is_near("getFlagDefinitions", "get_flag_definitions"));
    assert!(is_near(
        "on_flag_definition_receive",
        "on_flag_definitions_received"
    ));
}

#[test]
fn other_names_are_not() {
    for name in ["shut", "close", "shutdown_now", "down", "", "s", "path"] {
        assert!(!is_near(name, "shutdown"), "{name}");
    }
    assert!(!is_near("load_flag_definitions", "get_flag_definitions"));
    assert!(!is_near(
        "on_flag_definitions_received",
        "on_fetch_without_update"
    ));
}

//! What the command line of the compiler shows of crates.

use crate::externs::other_name_in;

fn other_name(line: &str) -> Option<String> {
    other_name_in(line.split(' ').map(str::to_owned))
}

#[test]
fn the_facade_under_another_name_is_found() {
    let line = "rustc --crate-name app --extern fc=/t/deps/libflagcache-01.rmeta --extern flagcache_core=/t/libflagcache_core-02.rlib";
    assert_eq!(other_name(line).as_deref(), Some("fc"));
    assert_eq!(
        other_name("rustc --extern=priv:fc=/t/libflagcache.rlib").as_deref(),
        Some("fc")
    );
}

#[test]
fn core_alone_is_found() {
    assert_eq!(
        other_name("rustc --extern flagcache_core=/t/libflagcache_core-02.rlib").as_deref(),
        Some("flagcache_core")
    );
    assert_eq!(
        other_name("rustc --extern c=/t/libflagcache_core-02.rlib").as_deref(),
        Some("c")
    );
}

#[test]
fn what_is_not_known_says_nothing() {
    for line in [
        "rustc --extern flagcache=/t/libflagcache-01.rmeta --extern fc=/t/libflagcache-02.rmeta",
        "rustc --crate-name flagcache --extern flagcache_core=/t/libflagcache_core-02.rlib",
        "rustc --extern serde=/t/libserde-01.rmeta",
        "rustc @arguments",
        "proc-macro-server",
        "rustc --extern",
    ] {
        assert_eq!(other_name(line), None, "{line}");
    }
}

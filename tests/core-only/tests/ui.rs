//! What the macro says to a crate without the facade.

#[test]
fn the_path_of_the_crate_is_missing() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

//! What the compiler says about the macro's use.

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("pass/*.rs");
}

#[test]
fn b1_17_an_incomplete_provider_names_everything_that_is_wrong_with_it() {
    trybuild::TestCases::new().compile_fail("fail/*/*.rs");
}

#[test]
fn what_a_conformance_test_may_claim() {
    trybuild::TestCases::new().compile_fail("conformance/*.rs");
}

// The words are the compiler's, and another version has others.
#[rustversion::attr(
    not(all(stable, since(1.95), before(1.96))),
    ignore = "the messages are those of rustc 1.95"
)]
#[test]
fn messages_of_the_compiler() {
    trybuild::TestCases::new().compile_fail("rustc/*.rs");
    trybuild::TestCases::new().compile_fail("rustc/store/*.rs");
    trybuild::TestCases::new().compile_fail("rustc/open/*.rs");
}

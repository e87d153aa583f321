#![doc = include_str!("guide/links.md")]
#![doc = include_str!("../docs/guide/README.md")]
// The pages of `docs/guide`, so that rustdoc shows them and their examples are tested.
//
// A page links to another as `[this][stores]`, and says at its end where that is for those who read the file. Here the same
// names are defined before the page begins, by `links.md`, as rustdoc knows and checks them; the first definition counts.

macro_rules! pages {
    ($($(#[$when:meta])? $name:ident: $file:literal;)+) => {$(
        $(#[$when])?
        #[doc = include_str!("guide/links.md")]
        #[doc = include_str!($file)]
        pub mod $name {}
    )+};
}

pages! {
    stores: "../docs/guide/stores.md";
    intervals: "../docs/guide/intervals.md";
    change_now: "../docs/guide/change-now.md";
    what_if: "../docs/guide/what-if.md";
    costs: "../docs/guide/costs.md";
    scale: "../docs/guide/scale.md";
    security: "../docs/guide/security.md";
    migrating: "../docs/guide/migrating.md";
    provider: "../docs/guide/provider.md";
    versioned: "../docs/guide/versioned.md";
    // Its examples need the feature.
    #[cfg(feature = "testing")]
    testing: "../docs/guide/testing.md";
    // Its examples need posthog-rs: they are tested in `tests/evaluation`.
    #[cfg(not(doctest))]
    evaluating: "../docs/guide/evaluating.md";
    observing: "../docs/observability.md";
    sdks: "../docs/guide/sdks.md";
}

/// The code of `examples/sqlite_provider`: a store in two methods for the processes of one machine, as a third party writes it.
///
#[doc = concat!("```rust,ignore\n", include_str!("../docs/guide/sqlite_provider.rs"), "```")]
pub mod sqlite_provider {}

/// The code of `examples/nats_provider`: a store in two methods for a fleet, and a third that watches, as a third party writes it.
///
#[doc = concat!("```rust,ignore\n", include_str!("../docs/guide/nats_provider.rs"), "```")]
pub mod nats_provider {}

/// The code of `examples/postgres_provider`: a store for a fleet, as a third party writes it.
///
#[doc = concat!("```rust,ignore\n", include_str!("../docs/guide/postgres_provider.rs"), "```")]
pub mod postgres_provider {}

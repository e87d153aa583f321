//! Empty: this package contains only tests. The guide page is tested here too, because its examples need posthog-rs.
#![cfg_attr(doctest, doc = include_str!("../../../docs/guide/evaluating.md"))]

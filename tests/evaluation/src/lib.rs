//! Nothing: what is here are tests. The guide's page is tested here too, since its examples need posthog-rs.
#![cfg_attr(doctest, doc = include_str!("../../../docs/guide/evaluating.md"))]

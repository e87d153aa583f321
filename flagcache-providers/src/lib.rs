//! The stores that [flagcache](https://docs.rs/flagcache) bundles, and the kit with which provider authors test theirs.
//!
//! | feature | what it adds | notes |
//! |---|---|---|
//! | `testing` | [`testing`]: the conformance kit, scripted fakes, a fault injector | not API-stable |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "testing")]
pub mod testing;

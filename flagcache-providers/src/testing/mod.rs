//! What provider authors, and flagcache itself, test with.
//!
//! Not a stable part of the API: it changes with any release.
//!
//! | item | what it is for |
//! |---|---|
//! | [`conformance!`](crate::conformance!) | holds any provider to the rules that the bundled ones keep: start at [its module](mod@conformance) |
//! | [`ScriptedProvider`] | a provider with scripted answers that remembers every call |
//! | [`ScriptedSource`] | the same for a source of definitions, in memory |
//! | [`FaultInjector`] | makes calls of any provider fail, panic, hang or come late |
//! | [`ApiStub`] | the PostHog API on this machine, with every fault that an API has |
//! | [`TcpProxy`] | stands between a store and its server: connections can be cut, hung and healed |
//! | `RedisInspector` | what a Redis store keeps, and what its server has counted (with feature `redis`) |
//! | [`Definitions`] | flag definitions as a real project has them |
//!
//! The fakes read time from tokio, so they work on its paused clock.

mod answer;
mod api_stub;
mod calls;
pub mod conformance;
mod definitions;
mod fault;
mod fault_injector;
mod latch;
mod scripted_provider;
mod scripted_source;
mod tcp_proxy;

pub use crate::conformance;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::redis::inspector::{RedisCounters, RedisInspector};
pub use answer::{Answer, Script};
pub use api_stub::{ApiReply, ApiRequest, ApiStats, ApiStub, EtagForm};
pub use calls::{Call, CallEnd};
pub use definitions::Definitions;
pub use fault::Fault;
pub use fault_injector::{FaultInjector, Times};
pub use flagcache_core::ProviderMethod;
pub use latch::Latch;
pub use scripted_provider::ScriptedProvider;
pub use scripted_source::{Reply, Request, ScriptedSource};
pub use tcp_proxy::{Connections, Outage, TcpProxy};

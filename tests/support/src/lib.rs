//! Shared by the tests, the benches and the fleet example of flagcache. Not published; provider authors use
//! `flagcache_providers::testing`.
//!
//! | item | contents |
//! |---|---|
//! | [`Process`] | a child process: killed when dropped, paused, resumed, asked to end |
//! | [`WorkerProcess`] | a child process that takes orders on its standard input and reports on its standard output |
//! | [`RedisServer`], [`RedisSentinels`], [`RedisCluster`] | Redis servers of one test, which can hang, die and restart |
//! | [`PostgresServer`], [`PgBouncer`] | the same for PostgreSQL, and a connection pooler in front of it |
//! | [`Certificates`], [`openssl`] | certificates for servers and clients with TLS |
//! | [`FreePort`] | a port that stays reserved for one test |
//! | [`SchedulingDelay`] | how long a busy machine delays its programs |
//! | [`wait_until`], [`eventually`] | wait for a condition, with a deadline |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test whose server fails it fails by panicking"
)]

mod certificates;
mod free_port;
#[cfg(unix)]
mod postgres;
mod process;
#[cfg(all(unix, feature = "redis"))]
mod redis;
mod scheduling_delay;
mod wait;

pub use certificates::{Certificates, ServerTls, openssl};
pub use free_port::FreePort;
#[cfg(unix)]
pub use postgres::{PgBouncer, PostgresServer};
pub use process::{Process, WorkerProcess};
#[cfg(all(unix, feature = "redis"))]
pub use redis::{RedisCluster, RedisSentinels, RedisServer, SlotMove};
pub use scheduling_delay::SchedulingDelay;
pub use wait::{eventually, wait_until};

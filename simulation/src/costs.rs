//! [`Costs`]: the time that the model's Redis and network take for each step. Each constant names the section of BENCHMARKS.md
//! that it comes from, or that it is an assumption.

use std::time::Duration;

/// The time that each step takes, and the bytes that it moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Redis's one thread: a script that waits in the queue. "Steps of Redis": the tick script.
    pub(crate) script: Duration,
    /// The additional time of a call that finds the thread idle and must wake it. "Thousands of connections": an unchanged
    /// tick costs 46 µs with 5 000 connections, whose ticks come one by one.
    pub(crate) wake: Duration,
    /// Redis's one thread: a plain read, before its bytes. "Steps of Redis": a GET of 4 KB.
    pub(crate) read: Duration,
    /// Redis's one thread: each byte of a reply, in nanoseconds. "Steps of Redis".
    pub(crate) nanos_per_byte: f64,
    /// Redis's one thread: a notification, for each connection. "Steps of Redis".
    pub(crate) notification: Duration,
    /// Redis's one thread: a new connection with HELLO and SUBSCRIBE. "Steps of Redis".
    pub(crate) connect: Duration,
    /// Redis's one thread: each byte of a publish, in nanoseconds. "Steps of Redis".
    pub(crate) nanos_per_published_byte: f64,
    /// What leaves the server in a second, in bytes. Chosen so that 5 000 connections take as long as measured: "Thousands of
    /// connections", whole copies, 202 MB until the last follower has them after 575 ms. The workers read on the same machine.
    pub(crate) bandwidth: f64,
    /// From a worker to Redis and back. An assumption: one data centre.
    pub(crate) round_trip: Duration,
    /// From a worker to the API and back. An assumption.
    pub(crate) api_round_trip: Duration,
    /// Decoding a copy, for each byte, in nanoseconds. "Taking in a set": `from_json`, 50 flags.
    pub(crate) nanos_per_decoded_byte: f64,
    /// Both directions of an unchanged tick. "Thousands of connections".
    pub(crate) tick_bytes: u64,
    /// Redis's memory for a connection. "Thousands of connections".
    pub(crate) connection_bytes: u64,
}

/// A reply that is only a number, and the requests' own bytes.
pub(crate) const SMALL: u64 = 100;

/// Longer copies are read in pieces of this size, as by the Redis store.
pub(crate) const PIECE: u64 = 1024 * 1024;

/// The patch of one changed flag: "less than 1 KB" (`flagcache-providers/src/redis/docs.md`).
pub(crate) const PATCH: u64 = 1024;

/// New connections that wait for the server to accept them (`tcp-backlog`). More are dropped.
pub(crate) const BACKLOG: u32 = 511;

impl Costs {
    /// As measured, with a server whose thread and network are `speed` times as fast.
    pub(crate) fn measured(speed: f64) -> Self {
        let micros = |micros: f64| Duration::from_secs_f64(micros * 1e-6 / speed);
        Self {
            script: micros(13.5),
            wake: micros(32.6),
            read: micros(4.7),
            nanos_per_byte: 0.2 / speed,
            notification: micros(2.6),
            connect: micros(19.5),
            nanos_per_published_byte: 0.83 / speed,
            bandwidth: 400e6 * speed,
            round_trip: Duration::from_micros(500),
            api_round_trip: Duration::from_millis(80),
            nanos_per_decoded_byte: 1.1,
            tick_bytes: 376,
            connection_bytes: 8_400,
        }
    }

    /// The time for this many bytes, at `nanos` nanoseconds each.
    pub(crate) fn of_bytes(bytes: u64, nanos: f64) -> Duration {
        Duration::from_nanos((bytes as f64 * nanos) as u64)
    }
}

//! The Lua scripts, each of which the server runs atomically, and their arguments.

use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{FleetFailure, KeyFingerprint};
use redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use super::connection::call::{Call, Lua};
use super::connection::keys::Keys;
use super::copy::fingerprint::Fingerprint;
use super::leadership::clock;
use super::leadership::lease::Attempt;
use crate::NotificationListener;

static TICK: Lua = Lua::new(include_str!("tick.lua"));
static PUBLISH: Lua = Lua::new(include_str!("publish.lua"));
static PATCHES: Lua = Lua::new(include_str!("patches.lua"));
static KEEP: Lua = Lua::new(include_str!("keep.lua"));
static RENEW: Lua = Lua::new(include_str!("renew.lua"));
static REQUEST_REFRESH: Lua = Lua::new(include_str!("request_refresh.lua"));
static RELEASE: Lua = Lua::new(include_str!("release.lua"));

/// The result of a leader's fetch, recorded beside the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchMark {
    /// The API confirmed the definitions.
    Confirmed,
    /// The API answered 402.
    Quota(Option<FleetFailure>),
    /// The API answered something else, or no request was sent.
    Failed(Option<FleetFailure>),
}

impl FetchMark {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Quota(_) => "quota",
            Self::Failed(_) => "",
        }
    }

    fn failure(self) -> String {
        match self {
            Self::Confirmed => String::new(),
            Self::Quota(failure) | Self::Failed(failure) => {
                failure.map(|it| it.to_string()).unwrap_or_default()
            }
        }
    }
}

/// The reply of the tick script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TickReply {
    pub(super) leads: bool,
    /// Whether the attempt would have succeeded, but had expired.
    pub(super) too_late: bool,
    pub(super) lock_left: Option<Duration>,
    pub(super) confirmed_ago: Option<Duration>,
    pub(super) quota_limited: bool,
    pub(super) copy: Option<Fingerprint>,
    /// The server's clock, in milliseconds.
    pub(super) clock: u64,
    pub(super) failure: Option<FleetFailure>,
    /// This worker leads, and took a request for a refresh.
    pub(super) refresh_requested: bool,
}

impl FromRedisValue for TickReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Reply = (u8, i64, i64, u8, u64, String, u8, u64, String, u64, u8);
        let (
            leads,
            lock_left,
            confirmed_ago,
            quota,
            length,
            digest,
            own,
            clock,
            failure,
            age,
            refresh,
        ): Reply = from_redis_value(value)?;
        let known = |millis: i64| u64::try_from(millis).ok().map(Duration::from_millis);
        Ok(Self {
            leads: leads == 1,
            too_late: leads == 2,
            lock_left: known(lock_left),
            confirmed_ago: known(confirmed_ago),
            quota_limited: quota == 1,
            copy: (length > 0).then_some(Fingerprint {
                length,
                digest,
                own: own == 1,
            }),
            clock,
            // Invalid text is ignored: the failure only saves requests.
            failure: failure
                .parse()
                .ok()
                .map(|it: FleetFailure| it.with_age(Duration::from_millis(age))),
            refresh_requested: refresh == 1,
        })
    }
}

/// Reads the state of the service, and tries to acquire the lock with that TTL if there is an attempt.
pub(super) fn tick(
    keys: &Keys,
    worker: &str,
    bid: Option<Attempt>,
    key: Option<KeyFingerprint>,
    lock_ttl: Duration,
) -> Call {
    let call = Call::script(&TICK, &[&keys.data, &keys.lock, &keys.meta]).arg(worker);
    let call = match bid {
        Some(bid) => call
            .arg(bid.number)
            .arg(clock::millis(lock_ttl))
            .arg(bid.until.unwrap_or_default()),
        None => call.arg(0).arg(0).arg(0),
    };
    call.arg(key.map(|key| key.to_string()).unwrap_or_default())
}

/// The result of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// The lock does not hold the token.
    Refused,
    /// Stored; with the server's errors about what comes with it.
    Stored {
        /// Why the notification was not sent.
        not_notified: Option<String>,
        /// Why the patch was not stored.
        unpatched: Option<String>,
    },
    /// There is a copy already, and no token was given.
    Exists,
    /// The copy is not at the staging key: it has expired, or was evicted or lost.
    NotStaged,
}

impl FromRedisValue for Published {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut reply = Vec::<Value>::from_redis_value(value)?.into_iter();
        match (reply.next(), reply.next(), reply.next()) {
            (Some(Value::Int(0)), ..) => Ok(Self::Refused),
            (Some(Value::Int(1)), Some(not_notified), Some(unpatched)) => Ok(Self::Stored {
                not_notified: from_redis_value(not_notified)?,
                unpatched: from_redis_value(unpatched)?,
            }),
            (Some(Value::Int(2)), ..) => Ok(Self::Exists),
            (Some(Value::Int(3)), ..) => Ok(Self::NotStaged),
            _ => Err(ParsingError::from(
                "not a reply of the publish script".to_owned(),
            )),
        }
    }
}

/// A patch in the store: from the copy with one digest to the copy with another.
pub(super) struct Link {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) patch: Bytes,
}

/// The copy to publish.
#[derive(Clone, Copy)]
pub(super) enum NewCopy<'a> {
    /// Sent with the call.
    Whole(&'a [u8]),
    /// At the staging key.
    Staged(&'a Fingerprint),
}

/// Stores `copy` if the lock holds `token`; without a token, only if there is no copy. The link leads to `copy`.
pub(super) fn publish(
    keys: &Keys,
    token: Option<&str>,
    data_ttl: Option<Duration>,
    mark: FetchMark,
    worker: &str,
    copy: NewCopy<'_>,
    link: Option<&Link>,
) -> Call {
    let (from, link) = link.map_or_else(Default::default, |Link { from, to, patch }| {
        (from.as_str(), [to.as_bytes(), &patch[..]].concat())
    });
    let (data, lock, meta) = (&*keys.data, &*keys.lock, &*keys.meta);
    let call = match copy {
        NewCopy::Whole(_) => Call::script(&PUBLISH, &[data, lock, meta]),
        NewCopy::Staged(_) => Call::script(&PUBLISH, &[data, lock, meta, &keys.staging]),
    };
    let call = call
        .arg(token.unwrap_or_default())
        .arg(millis(data_ttl))
        .arg(mark.as_str())
        .arg(&keys.channel)
        .arg(worker);
    let call = match copy {
        NewCopy::Whole(copy) => call.arg(copy),
        NewCopy::Staged(fingerprint) => call.arg(fingerprint.length),
    };
    let call = call
        .arg(mark.failure())
        .arg(&keys.patches)
        .arg(from)
        .arg(link);
    match copy {
        NewCopy::Whole(_) => call,
        NewCopy::Staged(fingerprint) => call.arg(&fingerprint.digest),
    }
}

/// The reply of the script that reads patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Patches {
    /// The patches to the present copy, which has this length and this digest.
    Chain {
        length: u64,
        digest: String,
        patches: Vec<Vec<u8>>,
    },
    /// There is no chain from that copy to the present one.
    Gap,
    /// The server's error.
    Refused(String),
}

impl FromRedisValue for Patches {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut reply = Vec::<Value>::from_redis_value(value)?.into_iter();
        match (reply.next(), reply.next()) {
            (None, _) => Ok(Self::Gap),
            (Some(error), None) => from_redis_value(error).map(Self::Refused),
            (Some(length), Some(digest)) => Ok(Self::Chain {
                length: from_redis_value(length)?,
                digest: from_redis_value(digest)?,
                patches: reply.map(from_redis_value).collect::<Result<_, _>>()?,
            }),
        }
    }
}

/// Reads the patches from the copy with this digest to the present copy.
pub(super) fn patches(keys: &Keys, from: &str) -> Call {
    Call::script(&PATCHES, &[&keys.data])
        .arg(&keys.patches)
        .arg(from)
}

/// The result of keeping a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepReply {
    /// The lock does not hold the token.
    Refused,
    /// It is the expected one; its TTL is renewed.
    Alive,
    /// It is gone, or a different one; nothing was done.
    Other,
}

impl FromRedisValue for KeepReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::Int(0) => Ok(Self::Refused),
            Value::Int(1) => Ok(Self::Alive),
            Value::Int(2) => Ok(Self::Other),
            _ => Err(ParsingError::from(
                "not a reply of the keep script".to_owned(),
            )),
        }
    }
}

/// Records the mark and keeps the copy alive, if the lock holds `token` and the copy is `expected` (`None`: any).
pub(super) fn keep(
    keys: &Keys,
    token: &str,
    data_ttl: Option<Duration>,
    mark: FetchMark,
    expected: Option<&Fingerprint>,
) -> Call {
    let call = Call::script(&KEEP, &[&keys.data, &keys.lock, &keys.meta])
        .arg(token)
        .arg(millis(data_ttl))
        .arg(mark.as_str());
    let call = match expected {
        Some(expected) => call.arg(expected.length).arg(&expected.digest),
        None => call.arg(-1).arg(""),
    };
    call.arg(mark.failure())
}

/// Records that `worker` requests a refresh, and notifies the leader; returns whether a notification was sent.
pub(super) fn request_refresh(keys: &Keys, worker: &str) -> Call {
    Call::script(&REQUEST_REFRESH, &[&keys.meta])
        .arg(&keys.channel)
        .arg(NotificationListener::refresh_message(worker))
}

/// Renews the lock if it holds `token`; returns whether it did.
pub(super) fn renew(keys: &Keys, token: &str, lock_ttl: Duration) -> Call {
    Call::script(&RENEW, &[&keys.lock])
        .arg(token)
        .arg(millis(Some(lock_ttl)))
}

/// Releases the lock if `worker` holds it; returns whether it did.
pub(super) fn release(keys: &Keys, worker: &str) -> Call {
    Call::script(&RELEASE, &[&keys.lock])
        .arg(worker)
        .arg(&keys.channel)
}

/// Whole milliseconds for the server; 0 for `None`.
fn millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, clock::millis)
}

//! Random event sequences, checked against a small reference model.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::harness::{DONE, INTERVAL, foreign, policy, set};
use crate::lifecycle::{
    Call, CallError, DefinitionsOrigin, Event, Fetched, Machine, Policy, Reply, RequestedBy, Step,
};
use crate::{
    FetchErrorKind, FlagDefinitionCacheData, FleetStatus, OnQuotaLimited, OnUnauthorized,
    OnWastedUnits, ReadFailure,
};

/// What happens next, if it can: late answers are delivered too.
#[derive(Clone, Debug)]
enum Happening {
    /// The current call returns: well, with an error, or with these definitions.
    CallEnds(CallEnd),
    GetEnds(GetEnd),
    /// The deadline passes.
    Deadline,
    /// Time passes, up to the deadline or a little beyond.
    Pass(u64),
    Refresh,
    Notification,
    Request(RequestedBy),
    Report {
        confirmed_ago: Option<u64>,
        lease: Option<u64>,
        quota: bool,
        refresh: bool,
    },
    LateGet(u64),
}

#[derive(Clone, Debug)]
enum CallEnd {
    Fails,
    Damaged,
    Yes,
    No,
    Set(u8),
    Foreign,
    ForeignEmpty,
}

#[derive(Clone, Debug)]
enum GetEnd {
    New(u8),
    NotModified(bool),
    Fails(u8, Option<u64>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let call = prop_oneof![
        2 => Just(CallEnd::Fails),
        1 => Just(CallEnd::Damaged),
        4 => Just(CallEnd::Yes),
        4 => Just(CallEnd::No),
        4 => (0..4u8).prop_map(CallEnd::Set),
        1 => Just(CallEnd::Foreign),
        1 => Just(CallEnd::ForeignEmpty),
    ];
    let get = prop_oneof![
        3 => (0..4u8).prop_map(GetEnd::New),
        4 => any::<bool>().prop_map(GetEnd::NotModified),
        4 => (0..8u8, proptest::option::of(0..2000u64)).prop_map(|(kind, after)| GetEnd::Fails(kind, after)),
    ];
    prop_oneof![
        10 => call.prop_map(Happening::CallEnds),
        5 => get.prop_map(Happening::GetEnds),
        8 => Just(Happening::Deadline),
        2 => (0..90_000u64).prop_map(Happening::Pass),
        1 => Just(Happening::Refresh),
        1 => Just(Happening::Notification),
        1 => prop_oneof![
            Just(RequestedBy::Store),
            Just(RequestedBy::Handle),
            Just(RequestedBy::HandleAlone),
        ]
        .prop_map(Happening::Request),
        1 => (proptest::option::of(0..600u64), proptest::option::of(0..60u64), any::<bool>(), any::<bool>())
            .prop_map(|(confirmed_ago, lease, quota, refresh)| Happening::Report { confirmed_ago, lease, quota, refresh }),
        1 => (0..9u64).prop_map(Happening::LateGet),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    (any::<[bool; 6]>(), 0..3u8).prop_map(
        |([has_provider, has_key, keep, clear_401, clear_402, stretch], cold)| Policy {
            on_wasted_units: if stretch {
                OnWastedUnits::Stretch
            } else {
                OnWastedUnits::Keep
            },
            cold_start_wait: Duration::from_secs(u64::from(cold) * 2),
            hedge_after: (cold != 1).then_some(Duration::from_secs(1)),
            read_failure: if keep {
                ReadFailure::Keep
            } else {
                ReadFailure::Fetch
            },
            on_unauthorized: if clear_401 {
                OnUnauthorized::Clear
            } else {
                OnUnauthorized::Keep
            },
            on_quota_limited: if clear_402 {
                OnQuotaLimited::Clear
            } else {
                OnQuotaLimited::Keep
            },
            // At least one of the two must exist.
            has_provider: has_provider || !has_key,
            can_fetch: has_key,
            ..policy()
        },
    )
}

const FAILURES: [FetchErrorKind; 8] = [
    FetchErrorKind::Unauthorized,
    FetchErrorKind::QuotaLimited,
    FetchErrorKind::RateLimited,
    FetchErrorKind::Server,
    FetchErrorKind::Connect,
    FetchErrorKind::Timeout,
    FetchErrorKind::Unusable,
    FetchErrorKind::Rejected,
];

fn numbered(n: u8) -> FlagDefinitionCacheData {
    // Even numbers have an ETag.
    set(
        &format!("flag-{n}"),
        &if n.is_multiple_of(2) {
            format!("etag-{n}")
        } else {
            String::new()
        },
    )
}

/// The model's state, derived from steps and events alone.
struct Model {
    policy: Policy,
    memory: Option<FlagDefinitionCacheData>,
    call: Option<Call>,
    /// The generation and the ETag of the GET in progress.
    get: Option<(u64, Option<String>)>,
    gets_of_load: u32,
    /// The load began without definitions: its GET is not limited, even if the stored copy came first.
    began_cold: bool,
    owner: Option<bool>,
    got_new: bool,
    /// The last read of this load returned no copy.
    read_found_nothing: bool,
    last_direct_get: Option<Instant>,
    /// How many GETs the last request for a refresh permits whose store carries none: one, and two while nothing is new.
    gets_of_request: u32,
    failures: u32,
    no_get_before: Option<Instant>,
    may_clear: bool,
    ended: bool,
    shutdowns: u32,
}

impl Model {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            memory: None,
            call: None,
            get: None,
            gets_of_load: 0,
            began_cold: true,
            owner: None,
            got_new: false,
            read_found_nothing: false,
            last_direct_get: None,
            gets_of_request: 0,
            failures: 0,
            no_get_before: None,
            may_clear: false,
            ended: false,
            shutdowns: 0,
        }
    }

    fn new_load(&mut self) {
        self.gets_of_load = 0;
        self.began_cold = self.memory.is_none();
        self.owner = (!self.policy.has_provider).then_some(true);
        self.got_new = false;
        self.read_found_nothing = false;
    }

    fn check(&mut self, now: Instant, step: &Step, event: &Event) {
        assert!(!self.ended, "a step after the end");
        match step {
            Step::Call(call) => {
                assert!(self.policy.has_provider);
                assert!(
                    self.call.is_none(),
                    "calls overlap: {call:?} while {:?}",
                    self.call
                );
                assert_eq!(self.shutdowns, 0, "a call after shutdown");
                self.check_call(call);
                self.call = Some(call.clone());
            }
            Step::Fetch { generation, etag } => {
                assert!(self.policy.can_fetch, "HTTP without a key");
                assert!(self.get.is_none(), "GETs overlap");
                self.gets_of_load += 1;
                let repeats = matches!(
                    event,
                    Event::Fetched {
                        fetched: Fetched::NotModified { .. },
                        ..
                    }
                );
                assert!(
                    self.gets_of_load == 1 || (repeats && self.gets_of_load == 2),
                    "one GET per load"
                );
                if !repeats {
                    let ours = self.memory.as_ref().and_then(FlagDefinitionCacheData::etag);
                    assert_eq!(etag.as_deref(), ours, "the ETag of other content");
                }
                assert!(
                    self.no_get_before.is_none_or(|at| now >= at),
                    "a GET inside the backoff"
                );
                if self.owner != Some(true) && !repeats {
                    let far = self
                        .last_direct_get
                        .is_none_or(|at| now - at >= self.policy.fail_open_interval);
                    if !(self.began_cold || self.memory.is_none() || far) {
                        assert!(self.gets_of_request > 0, "the fail-open limit");
                        self.gets_of_request -= 1;
                    }
                    self.last_direct_get = Some(now);
                }
                self.get = Some((*generation, etag.clone()));
            }
            Step::Notice(_) => {}
            Step::CancelFetch => assert!(self.get.take().is_some(), "nothing to cancel"),
            Step::Install { data, origin } => {
                match origin {
                    DefinitionsOrigin::Api => assert!(matches!(event, Event::Fetched { .. })),
                    DefinitionsOrigin::Cache => {
                        assert!(matches!(event, Event::Replied(Reply::Definitions(_))))
                    }
                }
                self.memory = Some(data.clone());
            }
            Step::Clear => {
                assert!(self.may_clear, "cleared without a policy that says so");
                self.memory = None;
            }
            Step::LoadEnded { .. } => {
                assert!(
                    self.call.is_none() && self.get.is_none(),
                    "a load ended with something under way"
                );
                self.new_load();
            }
            Step::Ended => self.ended = true,
        }
    }

    fn check_call(&mut self, call: &Call) {
        match call {
            Call::Decide => {
                assert!(self.policy.can_fetch, "a decision without a key");
                assert!(
                    self.get.is_none() && self.gets_of_load == 0,
                    "a decision after HTTP"
                );
            }
            Call::Stored => assert!(
                self.memory.is_none(),
                "only a cold worker reads the stored copy"
            ),
            Call::Read => self.read_found_nothing = false,
            Call::Publish(data) => {
                assert!(self.policy.can_fetch);
                assert_eq!(Some(data), self.memory.as_ref(), "install before publish");
                let allowed = self.owner == Some(true) || (self.got_new && self.read_found_nothing);
                assert!(allowed, "published without permission");
            }
            Call::FetchWithoutUpdate(outcome) => {
                assert_eq!(self.owner, Some(true));
                assert!(!self.got_new, "reported no update after new definitions");
                assert!(outcome.failure().is_some() || outcome.data().is_some());
                assert_eq!(outcome.data(), self.memory.as_ref());
            }
            Call::Shutdown => self.shutdowns += 1,
        }
    }

    fn failed(&mut self, now: Instant, failure: FetchErrorKind, retry_after: Option<Duration>) {
        self.failures += 1;
        let backoff = match failure {
            FetchErrorKind::QuotaLimited
            | FetchErrorKind::RateLimited
            | FetchErrorKind::Unusable => INTERVAL * 2,
            FetchErrorKind::Unauthorized => INTERVAL,
            _ if self.failures > 1 => INTERVAL,
            _ => Duration::ZERO,
        };
        self.no_get_before = Some(now + backoff.max(retry_after.unwrap_or_default()));
        self.may_clear = match failure {
            FetchErrorKind::Unauthorized => self.policy.on_unauthorized == OnUnauthorized::Clear,
            FetchErrorKind::QuotaLimited => self.policy.on_quota_limited == OnQuotaLimited::Clear,
            _ => false,
        };
    }
}

/// Applies an action to the model and turns it into an event.
fn event(
    model: &mut Model,
    machine: &Machine,
    now: &mut Instant,
    happening: Happening,
    quota: &mut bool,
) -> Option<Event> {
    model.may_clear = false;
    Some(match happening {
        Happening::Refresh => Event::Refresh,
        Happening::Notification => Event::Notification,
        Happening::Request(by) => {
            if by == RequestedBy::HandleAlone {
                model.gets_of_request = 3;
            }
            Event::RefreshRequested(by)
        }
        Happening::Pass(ms) => {
            *now += Duration::from_millis(ms);
            return None;
        }
        Happening::Deadline => {
            *now = machine.deadline()?.max(*now);
            Event::Timer
        }
        Happening::Report {
            confirmed_ago,
            lease,
            quota: limited,
            refresh,
        } => {
            *quota = limited;
            Event::Reported(
                FleetStatus::new()
                    .confirmed_ago(confirmed_ago.map(Duration::from_secs))
                    .lease_ends_in(lease.map(Duration::from_secs))
                    .quota_limited(limited)
                    .refresh_requested(refresh),
            )
        }
        Happening::LateGet(generation) => {
            let current = model.get.as_ref().map(|(generation, _)| *generation);
            if current == Some(generation) {
                return None;
            }
            let fetched = Fetched::New(set("late", "late"));
            Event::Fetched {
                generation,
                fetched,
            }
        }
        Happening::GetEnds(end) => {
            let (generation, asked) = model.get.take()?;
            let fetched = match end {
                GetEnd::New(n) => {
                    model.failures = 0;
                    model.no_get_before = None;
                    model.got_new = true;
                    Fetched::New(numbered(n))
                }
                GetEnd::NotModified(renames) => {
                    let counts = asked.is_some()
                        && model
                            .memory
                            .as_ref()
                            .and_then(FlagDefinitionCacheData::etag)
                            == asked.as_deref();
                    if counts {
                        model.failures = 0;
                        model.no_get_before = None;
                    } else if model.gets_of_load == 2 {
                        model.failed(*now, FetchErrorKind::Rejected, None);
                    }
                    Fetched::NotModified {
                        etag: renames.then(|| "renamed".to_owned()),
                    }
                }
                GetEnd::Fails(kind, after) => {
                    let failure = FAILURES[usize::from(kind)];
                    let retry_after = after.map(Duration::from_secs);
                    model.failed(*now, failure, retry_after);
                    Fetched::Failed {
                        failure,
                        retry_after,
                    }
                }
            };
            Event::Fetched {
                generation,
                fetched,
            }
        }
        Happening::CallEnds(end) => {
            let copy = match &end {
                CallEnd::Set(n) => Ok(Some(numbered(*n))),
                CallEnd::Foreign => Ok(Some(foreign(r#"{"flags":[{"key":"foreign"}]}"#))),
                CallEnd::ForeignEmpty => Ok(Some(foreign(r#"{"flags":[]}"#))),
                CallEnd::Yes | CallEnd::No => Ok(None),
                CallEnd::Fails => Err(CallError::Failed),
                CallEnd::Damaged => Err(CallError::Damaged),
            };
            let done = if matches!(end, CallEnd::Fails | CallEnd::Damaged) {
                Err(CallError::Failed)
            } else {
                Ok(())
            };
            match model.call.take()? {
                Call::Decide => {
                    let decision = match end {
                        CallEnd::Fails | CallEnd::Damaged => Err(CallError::Failed),
                        CallEnd::No => Ok(false),
                        _ => Ok(true),
                    };
                    model.owner = Some(decision == Ok(true));
                    Event::Replied(Reply::Decision(decision))
                }
                Call::Stored => Event::Replied(Reply::Definitions(copy)),
                Call::Read => {
                    model.read_found_nothing = matches!(copy, Ok(None));
                    model.may_clear =
                        *quota && model.policy.on_quota_limited == OnQuotaLimited::Clear;
                    Event::Replied(Reply::Definitions(copy))
                }
                Call::Publish(_) => Event::Replied(Reply::Done(done)),
                Call::FetchWithoutUpdate(_) | Call::Shutdown => DONE,
            }
        }
    })
}

fn handle(model: &mut Model, machine: &mut Machine, now: Instant, event: Event) {
    for step in machine.handle(now, event.clone()) {
        model.check(now, &step, &event);
    }
    if !model.ended && model.call.is_none() && model.get.is_none() {
        assert!(machine.deadline().is_some(), "the machine has no deadline");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(
        policy in policies(),
        seed: u64,
        story in proptest::collection::vec(happening(), 1..150),
    ) {
        let mut now = Instant::now() + Duration::from_secs(1_000_000);
        let mut machine = Machine::new(policy.clone(), now, seed);
        let mut model = Model::new(policy);
        model.new_load();
        let mut quota = false;
        for happening in story {
            if let Some(event) = event(&mut model, &machine, &mut now, happening, &mut quota) {
                handle(&mut model, &mut machine, now, event);
            }
        }
        // The machine always ends, with one shutdown.
        handle(&mut model, &mut machine, now, Event::Stop);
        let has_provider = model.policy.has_provider;
        for _ in 0..2 {
            if let Some(end) = event(&mut model, &machine, &mut now, Happening::CallEnds(CallEnd::Fails), &mut quota) {
                handle(&mut model, &mut machine, now, end);
            }
        }
        prop_assert!(model.ended);
        prop_assert_eq!(model.shutdowns, u32::from(has_provider));
    }
}

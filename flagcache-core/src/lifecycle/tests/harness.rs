//! A machine with a clock, and helpers for its events and steps.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::lifecycle::{
    Call, CallError, DefinitionsOrigin, Event, Fetched, Machine, Notice, Policy, Reply, Step,
};
use crate::{
    FetchErrorKind, FlagDefinitionCacheData, FleetStatus, OnQuotaLimited, OnUnauthorized,
    OnWastedUnits, ReadFailure,
};

/// A provider call without a result returned.
pub(super) const DONE: Event = Event::Replied(Reply::Done(Ok(())));

pub(super) const INTERVAL: Duration = Duration::from_secs(30);
pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn policy() -> Policy {
    Policy {
        poll_interval: INTERVAL,
        cold_start_wait: Duration::from_secs(5),
        hedge_after: Some(Duration::from_secs(1)),
        fail_open_interval: INTERVAL * 4,
        max_staleness: INTERVAL * 10,
        notification_jitter: Duration::ZERO,
        read_failure: ReadFailure::Fetch,
        on_unauthorized: OnUnauthorized::Keep,
        on_quota_limited: OnQuotaLimited::Keep,
        on_wasted_units: OnWastedUnits::Keep,
        hold_back_removals: None,
        manual: false,
        has_provider: true,
        can_fetch: true,
    }
}

/// Definitions with one flag and an ETag.
pub(super) fn set(key: &str, etag: &str) -> FlagDefinitionCacheData {
    let body = format!(r#"{{"flags":[{{"key":"{key}"}}]}}"#);
    // Whole milliseconds, as in the stored form.
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
    FlagDefinitionCacheData::from_api_response(body, Some(etag), fetched_at, None).unwrap()
}

/// A copy as another SDK writes it, without metadata.
pub(super) fn foreign(json: &'static str) -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(json.as_bytes()).unwrap()
}

/// A step in a form that tests can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Decide,
    Stored,
    Read,
    Publish(FlagDefinitionCacheData),
    Report {
        failure: Option<FetchErrorKind>,
        has_data: bool,
        steps_down: bool,
    },
    Shutdown,
    Get(Option<String>),
    CancelGet,
    Install(FlagDefinitionCacheData, DefinitionsOrigin),
    Clear,
    LoadEnded,
    Ended,
}

impl Expected {
    /// `None` for a notice, which a harness collects.
    fn of(step: &Step) -> Option<Self> {
        Some(match step {
            Step::Notice(_) => return None,
            Step::Call(Call::Decide) => Self::Decide,
            Step::Call(Call::Stored) => Self::Stored,
            Step::Call(Call::Read) => Self::Read,
            Step::Call(Call::Publish(data)) => Self::Publish(data.clone()),
            Step::Call(Call::FetchWithoutUpdate(outcome)) => Self::Report {
                failure: outcome.failure(),
                has_data: outcome.data().is_some(),
                steps_down: outcome.step_down_for().is_some(),
            },
            Step::Call(Call::Shutdown) => Self::Shutdown,
            Step::Fetch { etag, .. } => Self::Get(etag.clone()),
            Step::CancelFetch => Self::CancelGet,
            Step::Install { data, origin } => Self::Install(data.clone(), *origin),
            Step::Clear => Self::Clear,
            Step::LoadEnded { .. } => Self::LoadEnded,
            Step::Ended => Self::Ended,
        })
    }
}

pub(super) fn get(etag: &str) -> Expected {
    Expected::Get(Some(etag.to_owned()))
}

pub(super) const GET: Expected = Expected::Get(None);

pub(super) fn from_api(set: &FlagDefinitionCacheData) -> Expected {
    Expected::Install(set.clone(), DefinitionsOrigin::Api)
}

pub(super) fn from_cache(set: &FlagDefinitionCacheData) -> Expected {
    Expected::Install(set.clone(), DefinitionsOrigin::Cache)
}

pub(super) const UNCHANGED: Expected = Expected::Report {
    failure: None,
    has_data: true,
    steps_down: false,
};

pub(super) fn reported(failure: FetchErrorKind) -> Expected {
    Expected::Report {
        failure: Some(failure),
        has_data: true,
        steps_down: false,
    }
}

pub(super) struct Harness {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    pub(super) notices: Vec<Notice>,
    generation: u64,
}

impl Harness {
    pub(super) fn new(policy: Policy) -> Self {
        // Late enough that every age in these tests lies after the clock's start.
        let now = Instant::now() + Duration::from_secs(1_000_000);
        Self {
            machine: Machine::new(policy, now, 7),
            now,
            notices: Vec::new(),
            generation: 0,
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Expected> {
        let steps = self.machine.handle(self.now, event);
        for step in &steps {
            match step {
                Step::Fetch { generation, .. } => self.generation = *generation,
                Step::Notice(notice) => self.notices.push(*notice),
                _ => {}
            }
        }
        steps.iter().filter_map(Expected::of).collect()
    }

    /// Advances to the machine's deadline.
    pub(super) fn wait(&mut self) -> Vec<Expected> {
        self.now = self
            .machine
            .deadline()
            .expect("the machine has no deadline")
            .max(self.now);
        self.handle(Event::Timer)
    }

    /// The generation of the last request.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn wait_time(&self) -> Duration {
        self.machine
            .deadline()
            .expect("the machine has no deadline")
            - self.now
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn refresh(&mut self) -> Vec<Expected> {
        self.handle(Event::Refresh)
    }

    pub(super) fn notification(&mut self) -> Vec<Expected> {
        self.handle(Event::Notification)
    }

    pub(super) fn report(&mut self, report: FleetStatus) {
        assert_eq!(self.handle(Event::Reported(report)), []);
    }

    pub(super) fn decided(&mut self, decision: bool) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Decision(Ok(decision))))
    }

    pub(super) fn decision_failed(&mut self) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Decision(Err(CallError::Failed))))
    }

    pub(super) fn stored(&mut self, copy: Option<&FlagDefinitionCacheData>) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Definitions(Ok(copy.cloned()))))
    }

    pub(super) fn read(&mut self, copy: Option<&FlagDefinitionCacheData>) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Definitions(Ok(copy.cloned()))))
    }

    /// Fails the decisions of the next loads until the machine sends a request, within one poll interval.
    pub(super) fn fetch_in_outage(&mut self) -> Vec<Expected> {
        assert_eq!(self.wait(), [Expected::Decide]);
        let began = self.now;
        loop {
            let answer = self.decision_failed();
            if answer != [Expected::LoadEnded] {
                return answer;
            }
            self.wait();
            assert!(self.now - began <= INTERVAL, "{:?}", self.now - began);
        }
    }

    pub(super) fn damaged(&mut self) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Definitions(Err(CallError::Damaged))))
    }

    pub(super) fn read_failed(&mut self) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Definitions(Err(CallError::Failed))))
    }

    pub(super) fn fetched(&mut self, set: &FlagDefinitionCacheData) -> Vec<Expected> {
        self.answer(Fetched::New(set.clone()))
    }

    pub(super) fn not_modified(&mut self) -> Vec<Expected> {
        self.answer(Fetched::NotModified { etag: None })
    }

    pub(super) fn fetch_failed(&mut self, failure: FetchErrorKind) -> Vec<Expected> {
        self.answer(Fetched::Failed {
            failure,
            retry_after: None,
        })
    }

    pub(super) fn answer(&mut self, fetched: Fetched) -> Vec<Expected> {
        let generation = self.generation;
        self.handle(Event::Fetched {
            generation,
            fetched,
        })
    }

    pub(super) fn published(&mut self) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Done(Ok(()))))
    }

    pub(super) fn publish_failed(&mut self) -> Vec<Expected> {
        self.handle(Event::Replied(Reply::Done(Err(CallError::Failed))))
    }

    /// A leader that has just fetched and published these definitions.
    pub(super) fn leader(policy: Policy, set: &FlagDefinitionCacheData) -> Self {
        let mut harness = Self::new(policy);
        assert_eq!(harness.wait(), [Expected::Decide]);
        assert_eq!(harness.decided(true), [Expected::Stored]);
        assert_eq!(harness.stored(None), [GET]);
        assert_eq!(
            harness.fetched(set),
            [from_api(set), Expected::Publish(set.clone())]
        );
        assert_eq!(harness.published(), [Expected::LoadEnded]);
        harness
    }

    /// A follower that has just read these definitions.
    pub(super) fn follower(policy: Policy, set: &FlagDefinitionCacheData) -> Self {
        let mut harness = Self::new(policy);
        assert_eq!(harness.wait(), [Expected::Decide]);
        assert_eq!(harness.decided(false), [Expected::Read]);
        assert_eq!(
            harness.read(Some(set)),
            [from_cache(set), Expected::LoadEnded]
        );
        harness
    }
}

//! [`Observer`]: logs and counters of a poller. A warning is logged once per change of state, not once per tick. The
//! names of events and metrics are stable; they are listed in `docs/observability.md`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write;
use std::iter::successors;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::poller::meter;
use crate::poller::status::PollerCounters;
use crate::text::escaped;
use crate::{
    DefinitionsChange, DefinitionsOrigin, FetchError, FetchErrorKind, ProviderError,
    ProviderErrorKind, ProviderMethod, Role,
};

/// What PostHog bills for a 200.
const FULL_RESPONSE_UNITS: u64 = 10;
/// What PostHog bills for a 304.
const NOT_MODIFIED_UNITS: u64 = 1;

/// What PostHog bills for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Billed {
    Full,
    NotModified,
    Nothing,
}

/// The target of all events here, independent of the module path.
pub(crate) const TARGET: &str = "flagcache";

#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) counters: PollerCounters,
    /// The first error of the current load.
    load_error: Option<String>,
    /// The error of the last load; `None` if it had none.
    pub(crate) last_error: Option<String>,
    load_sent_request: bool,
    load_read_change: bool,
    /// The kinds of failure per method since it last succeeded. A store that is down may alternate between several
    /// kinds.
    provider_faults: HashSet<(ProviderMethod, ProviderErrorKind)>,
    /// The kinds of request failures since the last success.
    fetch_failures: HashSet<FetchErrorKind>,
    /// The error of the last request; `None` after a success.
    fetch_error: Option<String>,
    role: Option<Role>,
}

impl Observer {
    /// `on_poller_attached` belongs to no load, so its error fails none.
    pub(crate) fn attached(&mut self, answer: &Result<(), ProviderError>) {
        if let Err(error) = answer {
            self.provider_failed(ProviderMethod::Attached, error);
        }
    }

    pub(crate) fn provider_answered<T>(
        &mut self,
        method: ProviderMethod,
        answer: &Result<T, ProviderError>,
    ) {
        match answer {
            Ok(_) => {
                let before = self.provider_faults.len();
                self.provider_faults.retain(|(failed, _)| *failed != method);
                if self.provider_faults.len() < before {
                    tracing::info!(
                        name: "flagcache.provider_recovered",
                        target: TARGET,
                        method = method.as_str(),
                        "flag definition cache provider works again"
                    );
                }
            }
            Err(error) => {
                let message = self.provider_failed(method, error);
                self.load_error.get_or_insert(message);
            }
        }
    }

    fn provider_failed(&mut self, method: ProviderMethod, error: &ProviderError) -> String {
        self.counters.provider_faults += 1;
        meter::provider_fault(method.as_str(), error.kind());
        let message = chain(error);
        if self.provider_faults.insert((method, error.kind())) {
            tracing::warn!(
                name: "flagcache.provider_failed",
                target: TARGET,
                method = method.as_str(),
                kind = error.kind().as_str(),
                error = message,
                "flag definition cache provider failed"
            );
        }
        message
    }

    pub(crate) fn request_sent(&mut self) {
        self.counters.requests += 1;
        self.load_sent_request = true;
    }

    pub(crate) fn request_billed(&mut self, billed: Billed) {
        let units = match billed {
            Billed::Full => {
                self.counters.full_responses += 1;
                FULL_RESPONSE_UNITS
            }
            Billed::NotModified => {
                self.counters.not_modified_responses += 1;
                NOT_MODIFIED_UNITS
            }
            Billed::Nothing => 0,
        };
        self.counters.units_spent += units;
        meter::units_spent(units);
    }

    pub(crate) fn fetch_succeeded(&mut self, billed: Billed) {
        meter::request(if let Billed::NotModified = billed {
            "not_modified"
        } else {
            "ok"
        });
        self.fetch_failures.clear();
        if self.fetch_error.take().is_some() {
            tracing::info!(
                name: "flagcache.fetch_recovered",
                target: TARGET,
                "flag definitions can be fetched again"
            );
        }
    }

    pub(crate) fn fetch_failed(&mut self, error: &FetchError) {
        self.counters.failed_requests += 1;
        meter::request(error.kind().as_str());
        let message = chain(error);
        if self.fetch_failures.insert(error.kind()) {
            tracing::warn!(
                name: "flagcache.fetch_failed",
                target: TARGET,
                kind = error.kind().as_str(),
                error = message,
                "flag definitions could not be fetched"
            );
        }
        self.fetch_error = Some(message.clone());
        self.load_error.get_or_insert(message);
    }

    pub(crate) fn role(&mut self, role: Role) {
        let old = self.role.replace(role).unwrap_or(Role::Undecided);
        if old != role {
            meter::role(old, role);
            tracing::info!(
                name: "flagcache.role_changed",
                target: TARGET,
                from = old.as_str(),
                to = role.as_str(),
                "this worker's role changed"
            );
        }
    }

    pub(crate) fn changed(&mut self, change: &DefinitionsChange) {
        self.load_read_change |= change.origin == Some(DefinitionsOrigin::Cache);
        let flags = change.new.as_ref().map(|snapshot| snapshot.len());
        meter::definitions(change.version, flags);
        tracing::info!(
            name: "flagcache.definitions_changed",
            target: TARGET,
            version = change.version,
            origin = change.origin.map_or("policy", |origin| origin.as_str()),
            flags = flags.unwrap_or(0),
            added = change.diff.added.len(),
            removed = change.diff.removed.len(),
            changed = change.diff.changed.len(),
            "flag definitions changed"
        );
    }

    /// Ends a load. Returns its error.
    pub(crate) fn load_ended(&mut self, ticked: bool, unserved: bool) -> Option<String> {
        self.counters.loads += 1;
        meter::load();
        if let (None, true, Some(message)) = (&self.load_error, unserved, &self.fetch_error) {
            self.load_error = Some(format!(
                "no request was sent because of the backoff after an earlier failure: {message}"
            ));
        }
        // A worker without a cache would have sent a request at each tick.
        let saved = match (
            self.load_sent_request || self.load_error.is_some(),
            self.load_read_change,
        ) {
            (true, _) => 0,
            (false, true) => FULL_RESPONSE_UNITS,
            (false, false) => u64::from(ticked) * NOT_MODIFIED_UNITS,
        };
        self.counters.units_saved += saved;
        meter::units_saved(saved);
        self.load_sent_request = false;
        self.load_read_change = false;
        self.last_error = self.load_error.take();
        self.last_error.clone()
    }

    pub(crate) fn stopped(&self) {
        tracing::info!(name: "flagcache.poller_stopped", target: TARGET, "flag definition poller stopped");
    }
}

/// A bound on cycles: no error has this many causes.
const MAX_CAUSES: usize = 32;

/// An error and its causes on one line. The causes are the user's code: they may panic, or form a cycle.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let causes = || {
        for error in successors(error.source(), |&error| error.source()).take(MAX_CAUSES) {
            let mut cause = String::new();
            // Keep what was written before the error's `Display` failed.
            let _ = write!(cause, "{error}");
            // Many errors repeat their cause in their own text.
            if cause.is_empty() || !message.ends_with(&cause) {
                message.push_str(": ");
                message.push_str(&cause);
            }
        }
    };
    if catch_unwind(AssertUnwindSafe(causes)).is_err() {
        message.push_str(": a cause whose Display panics");
    }
    match escaped(&message) {
        Cow::Borrowed(_) => message,
        Cow::Owned(escaped) => escaped,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    enum LoadCause {
        NamesItself,
        Panics,
        Fails,
    }

    impl fmt::Display for LoadCause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::NamesItself => f.write_str("again"),
                Self::Panics => panic!("shown"),
                Self::Fails => Err(fmt::Error),
            }
        }
    }

    impl Error for LoadCause {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            matches!(self, Self::NamesItself).then_some(self)
        }
    }

    #[test]
    fn an_error_forges_no_line_of_a_log() {
        let error = ProviderError::new(ProviderErrorKind::Other, "down\n all is well")
            .with_source("\u{1b}[2K".to_owned());
        assert_eq!(chain(&error), r"down\n all is well: \u{1b}[2K");
    }

    #[test]
    fn b4_40_an_error_whose_display_fails_or_panics_is_still_reported() {
        for (cause, shown) in [
            (LoadCause::NamesItself, "down: again"),
            (LoadCause::Panics, "down: "),
            (LoadCause::Fails, "down: "),
        ] {
            let error =
                ProviderError::new(ProviderErrorKind::Unavailable, "down").with_source(cause);
            let message = chain(&error);
            assert!(
                message.starts_with(shown) && message.len() < 1000,
                "{message}"
            );
        }
    }

    #[test]
    fn a_cause_that_its_effect_says_already_is_not_said_again() {
        let (inner, outer) = ("no route", "cannot connect: no route");
        let cause = ProviderError::new(ProviderErrorKind::Unavailable, outer).with_source(inner);
        let error = ProviderError::new(ProviderErrorKind::Unavailable, "down").with_source(cause);
        assert_eq!(chain(&error), "down: cannot connect: no route");
    }
}

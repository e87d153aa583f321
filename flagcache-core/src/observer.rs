//! What a poller logs and counts. Warnings come once per change of state, not once per tick.

use std::error::Error;
use std::fmt::Write;

use crate::guard::Method;
use crate::status::PollerCounters;
use crate::{DefinitionsChange, DefinitionsSource, FetchError, FetchFailure, ProviderError, ProviderErrorKind};

/// What PostHog bills for a 200.
const FULL_RESPONSE_UNITS: u64 = 10;
/// What PostHog bills for a 304.
const NOT_MODIFIED_UNITS: u64 = 1;

/// What a request costs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Billed {
    Full,
    NotModified,
    Nothing,
}

#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) counters: PollerCounters,
    /// What went wrong in the running load, first things first.
    load_error: Option<String>,
    /// What went wrong in the last load that met a failure, until one meets none.
    pub(crate) last_error: Option<String>,
    load_sent_request: bool,
    load_read_change: bool,
    provider_faults: [Option<ProviderErrorKind>; Method::ALL.len()],
    /// How the last request failed, until one succeeds.
    fetch_failure: Option<(FetchFailure, String)>,
}

impl Observer {
    pub(crate) fn provider_answered<T>(&mut self, method: Method, answer: &Result<T, ProviderError>) {
        let standing = &mut self.provider_faults[method as usize];
        let name = method.name();
        match answer {
            Ok(_) => {
                if standing.take().is_some() {
                    tracing::info!(method = name, "flag definition cache provider works again");
                }
            }
            Err(error) => {
                self.counters.provider_faults += 1;
                let words = chain(error);
                if standing.replace(error.kind()) != Some(error.kind()) {
                    let kind = error.kind().as_str();
                    tracing::warn!(method = name, kind, error = words, "flag definition cache provider failed");
                }
                self.load_error.get_or_insert(words);
            }
        }
    }

    pub(crate) fn request_sent(&mut self) {
        self.counters.requests += 1;
        self.load_sent_request = true;
    }

    pub(crate) fn request_billed(&mut self, billed: Billed) {
        match billed {
            Billed::Full => {
                self.counters.full_responses += 1;
                self.counters.units_spent += FULL_RESPONSE_UNITS;
            }
            Billed::NotModified => {
                self.counters.not_modified_responses += 1;
                self.counters.units_spent += NOT_MODIFIED_UNITS;
            }
            Billed::Nothing => {}
        }
    }

    pub(crate) fn fetch_succeeded(&mut self) {
        if self.fetch_failure.take().is_some() {
            tracing::info!("flag definitions can be fetched again");
        }
    }

    pub(crate) fn fetch_failed(&mut self, error: &FetchError) {
        self.counters.failed_requests += 1;
        let words = chain(error);
        let standing = self.fetch_failure.replace((error.failure(), words.clone()));
        if standing.is_none_or(|(failure, _)| failure != error.failure()) {
            let failure = error.failure().as_str();
            tracing::warn!(failure, error = words, "flag definitions could not be fetched; keeping what is in memory");
        }
        self.load_error.get_or_insert(words);
    }

    pub(crate) fn changed(&mut self, change: &DefinitionsChange) {
        self.load_read_change |= change.source == Some(DefinitionsSource::Cache);
        tracing::info!(
            version = change.version,
            source = change.source.map_or("policy", |source| source.as_str()),
            flags = change.new.as_ref().map_or(0, |set| set.len()),
            added = change.diff.added.len(),
            removed = change.diff.removed.len(),
            changed = change.diff.changed.len(),
            "flag definitions changed"
        );
    }

    /// Returns what went wrong in the load.
    pub(crate) fn load_ended(&mut self, ticked: bool, unserved: bool) -> Option<String> {
        self.counters.loads += 1;
        if let (None, true, Some((_, words))) = (&self.load_error, unserved, &self.fetch_failure) {
            self.load_error =
                Some(format!("no request was sent because of the backoff after the last one's failure: {words}"));
        }
        // Without a cache this worker would have asked the API at each tick.
        if !self.load_sent_request && self.load_error.is_none() {
            if self.load_read_change {
                self.counters.units_saved += FULL_RESPONSE_UNITS;
            } else if ticked {
                self.counters.units_saved += NOT_MODIFIED_UNITS;
            }
        }
        self.load_sent_request = false;
        self.load_read_change = false;
        self.last_error = self.load_error.take();
        self.last_error.clone()
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(words, ": {error}");
        cause = error.source();
    }
    words
}

//! [`LocalEvaluation::evaluate_or_ask`]: falls back to PostHog if the local evaluation is inconclusive.

use std::collections::HashMap;

use posthog_rs::{
    Client, EvaluateFlagsOptions, Event, FeatureFlagEvaluations, FlagValue, InconclusiveMatchError,
};
use serde_json::Value;

use crate::local_evaluation::MAX_TIMEOUT;
use crate::overrides::flag_value;
use crate::{FlagSubject, LocalEvaluation};

impl LocalEvaluation {
    /// Evaluates a flag, and asks PostHog if the local evaluation is inconclusive. Sends `$feature_flag_called` in both
    /// cases: for a local value as [`evaluate_and_capture`](Self::evaluate_and_capture) does, for a value from PostHog
    /// as `client` does.
    ///
    /// Sends a request only if the local evaluation is inconclusive, and waits at most for the
    /// [`ask_timeout`](crate::LocalEvaluationBuilder::ask_timeout). Without a client, no request is sent. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`InconclusiveMatchError`] if the local evaluation is inconclusive, and there is no client or PostHog returned
    /// no value.
    pub async fn evaluate_or_ask(
        &self,
        client: impl Into<Option<&Client>>,
        key: &str,
        subject: &FlagSubject,
    ) -> Result<Option<FlagValue>, InconclusiveMatchError> {
        let client = client.into();
        let local = match client {
            Some(client) => self.evaluate_and_capture(client, key, subject),
            None => self.evaluate(key, subject),
        };
        let (Err(inconclusive), Some(client)) = (&local, client) else {
            return local;
        };
        let response = self
            .request(client, vec![key.to_owned()], subject)
            .await
            .map_err(|failure| with_failure(inconclusive, &failure))?;
        response
            .get_flag(key)
            .map(Some)
            .ok_or_else(|| with_failure(inconclusive, NO_VALUE))
    }

    /// Evaluates every flag, and asks PostHog in one request for all flags whose local evaluation is inconclusive.
    /// Sends no events.
    ///
    /// Sends a request only if there are such flags, and waits at most for the
    /// [`ask_timeout`](crate::LocalEvaluationBuilder::ask_timeout). Without a client, no request is sent. Cancel safe.
    pub async fn evaluate_all_or_ask(
        &self,
        client: impl Into<Option<&Client>>,
        subject: &FlagSubject,
    ) -> HashMap<String, Result<FlagValue, InconclusiveMatchError>> {
        let mut values = self.evaluate_all(subject);
        let keys: Vec<String> = values
            .iter()
            .filter(|(_, value)| value.is_err())
            .map(|(key, _)| key.clone())
            .collect();
        let (Some(client), false) = (client.into(), keys.is_empty()) else {
            return values;
        };
        let response = self.request(client, keys.clone(), subject).await;
        let response = response.map(|flags| values_of(&flags, subject));
        for key in keys {
            let Some(value) = values.get_mut(&key) else {
                continue;
            };
            let Err(inconclusive) = &*value else { continue };
            let remote = match &response {
                Ok(values) => values.get(&format!("$feature/{key}")).ok_or(NO_VALUE),
                Err(failure) => Err(failure.as_str()),
            };
            *value = remote
                .map(|value| flag_value(value.clone()))
                .map_err(|failure| with_failure(inconclusive, failure));
        }
        values
    }

    async fn request(
        &self,
        client: &Client,
        keys: Vec<String>,
        subject: &FlagSubject,
    ) -> Result<FeatureFlagEvaluations, String> {
        let options = EvaluateFlagsOptions {
            flag_keys: Some(keys),
            ..subject.into()
        };
        let timeout = self.ask_timeout.min(MAX_TIMEOUT);
        match tokio::time::timeout(
            timeout,
            client.evaluate_flags(subject.distinct_id(), options),
        )
        .await
        {
            Ok(Ok(flags)) => Ok(flags),
            Ok(Err(error)) => Err(format!("the request to PostHog failed: {error}")),
            Err(_) => Err(format!(
                "the request to PostHog timed out after {timeout:?}"
            )),
        }
    }
}

const NO_VALUE: &str = "PostHog returned no value for it";

/// The local evaluation's error, with the failure of the request.
fn with_failure(inconclusive: &InconclusiveMatchError, failure: &str) -> InconclusiveMatchError {
    InconclusiveMatchError {
        message: format!("{inconclusive}; {failure}"),
    }
}

/// The values, read as properties of an event, because reading them one by one would capture an event for each.
fn values_of(flags: &FeatureFlagEvaluations, subject: &FlagSubject) -> HashMap<String, Value> {
    let mut event = Event::new("values", subject.distinct_id());
    event.with_flags(flags);
    event
        .properties()
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

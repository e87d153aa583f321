//! PostHog's answer where nothing is decided here.

use std::collections::HashMap;
use std::time::Duration;

use posthog_rs::{
    Client, EvaluateFlagsOptions, Event, FeatureFlagEvaluations, FlagValue, InconclusiveMatchError,
};
use serde_json::Value;

use crate::overrides::flag_value;
use crate::{FlagSubject, LocalEvaluation};

/// Durations over one year (such as `Duration::MAX`) are clamped to one year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl LocalEvaluation {
    /// Evaluates a flag, and asks PostHog if it cannot be decided here. Sends `$feature_flag_called` either way, as
    /// [`evaluate_and_capture`](Self::evaluate_and_capture) does for what is decided here and `client` for what is not.
    ///
    /// Waits for the network only where the answer is not here, and at most for the
    /// [`ask_timeout`](crate::LocalEvaluationBuilder::ask_timeout). Without a client no request is sent. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`InconclusiveMatchError`] if it cannot be decided here and there is no client, or PostHog gave no answer.
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
        let (Err(open), Some(client)) = (&local, client) else {
            return local;
        };
        let answer = self
            .ask(client, vec![key.to_owned()], subject)
            .await
            .map_err(|fault| because(open, &fault))?;
        answer
            .get_flag(key)
            .map(Some)
            .ok_or_else(|| because(open, NO_VALUE))
    }

    /// Evaluates every flag, and asks PostHog in one request for all that cannot be decided here. Sends no events.
    ///
    /// Waits for the network only if there are such flags, and at most for the
    /// [`ask_timeout`](crate::LocalEvaluationBuilder::ask_timeout). Without a client no request is sent. Cancel safe.
    pub async fn evaluate_all_or_ask(
        &self,
        client: impl Into<Option<&Client>>,
        subject: &FlagSubject,
    ) -> HashMap<String, Result<FlagValue, InconclusiveMatchError>> {
        let mut values = self.evaluate_all(subject);
        let open: Vec<String> = values
            .iter()
            .filter(|(_, value)| value.is_err())
            .map(|(key, _)| key.clone())
            .collect();
        let (Some(client), false) = (client.into(), open.is_empty()) else {
            return values;
        };
        let answer = self.ask(client, open.clone(), subject).await;
        let answer = answer.map(|flags| values_of(&flags, subject));
        for key in open {
            let Some(value) = values.get_mut(&key) else {
                continue;
            };
            let Err(open) = &*value else { continue };
            let asked = match &answer {
                Ok(answer) => answer.get(&format!("$feature/{key}")).ok_or(NO_VALUE),
                Err(fault) => Err(fault.as_str()),
            };
            *value = asked
                .map(|answer| flag_value(answer.clone()))
                .map_err(|fault| because(open, fault));
        }
        values
    }

    async fn ask(
        &self,
        client: &Client,
        keys: Vec<String>,
        subject: &FlagSubject,
    ) -> Result<FeatureFlagEvaluations, String> {
        let options = EvaluateFlagsOptions {
            flag_keys: Some(keys),
            ..subject.into()
        };
        let timeout = self.ask_timeout.min(LONGEST);
        match tokio::time::timeout(
            timeout,
            client.evaluate_flags(subject.distinct_id(), options),
        )
        .await
        {
            Ok(Ok(flags)) => Ok(flags),
            Ok(Err(error)) => Err(format!("PostHog could not be asked: {error}")),
            Err(_) => Err(format!("PostHog gave no answer within {timeout:?}")),
        }
    }
}

const NO_VALUE: &str = "PostHog has no value for it";

fn because(open: &InconclusiveMatchError, fault: &str) -> InconclusiveMatchError {
    InconclusiveMatchError {
        message: format!("{open}; {fault}"),
    }
}

/// The values as properties of an event: to read them one by one would capture each.
fn values_of(flags: &FeatureFlagEvaluations, subject: &FlagSubject) -> HashMap<String, Value> {
    let mut event = Event::new("values", subject.distinct_id());
    event.with_flags(flags);
    event
        .properties()
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

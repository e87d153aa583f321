//! The claims of the story, compared with the measurements.

use std::time::Duration;

use serde::Serialize;

use crate::output::Output;

/// What a busy machine may add to any time: a worker may have to wait for a processor, and a write for the disk.
const SLACK: Duration = Duration::from_millis(250);
/// Large fleets of one machine wait for one another too. Counts beyond [`SLACK`] from 17 workers on.
const SLACK_PER_WORKER: Duration = Duration::from_millis(15);

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claim {
    pub(crate) claim: String,
    pub(crate) held: bool,
    pub(crate) measured: String,
    /// The claimed time. A busy machine may take longer, and the claim still holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_seconds: Option<f64>,
}

/// Claims checked so far.
#[derive(Debug)]
pub(crate) struct Claims {
    checked: Vec<Claim>,
    slack: Duration,
}

impl Claims {
    /// Claims of a fleet of this size.
    pub(crate) fn new(workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        Self {
            checked: Vec::new(),
            slack: SLACK.max(SLACK_PER_WORKER.saturating_mul(workers)),
        }
    }

    /// Reports whether `claim` held.
    pub(crate) fn check(
        &mut self,
        output: &Output,
        claim: impl Into<String>,
        held: bool,
        measured: impl Into<String>,
    ) {
        self.add(
            output,
            Claim {
                claim: claim.into(),
                held,
                measured: measured.into(),
                limit_seconds: None,
            },
        );
    }

    /// Reports whether something took no longer than `limit`, plus the slack of a busy machine.
    pub(crate) fn check_time(
        &mut self,
        output: &Output,
        claim: impl Into<String>,
        limit: Duration,
        took: Duration,
    ) {
        let held = took <= limit + self.slack;
        let excuse = if held && took > limit {
            " on a busy machine"
        } else {
            ""
        };
        let measured = format!("{:.3} s{excuse}", took.as_secs_f64());
        let limit_seconds = Some(limit.as_secs_f64());
        self.add(
            output,
            Claim {
                claim: claim.into(),
                held,
                measured,
                limit_seconds,
            },
        );
    }

    fn add(&mut self, output: &Output, claim: Claim) {
        let verdict = if claim.held { "ok:" } else { "DOES NOT HOLD:" };
        output.log(format!("  {verdict} {} ({})", claim.claim, claim.measured));
        self.checked.push(claim);
    }

    pub(crate) fn all_held(&self) -> bool {
        self.checked.iter().all(|claim| claim.held)
    }

    pub(crate) fn into_vec(self) -> Vec<Claim> {
        self.checked
    }
}

//! Evaluates the flag definitions that [flagcache](https://docs.rs/flagcache) shares, with the types of [`posthog_rs`].
//!
//! Applications depend on the facade `flagcache`, which re-exports everything here under its feature `evaluation`.
//!
//! | module | contents |
//! |---|---|
//! | `local_evaluation`, `builder` | [`LocalEvaluation`]: the handle, and its options |
//! | `sync_task`, `evaluator_state` | follows a poller; the state that evaluations load |
//! | `compile` | compiles the API's JSON, flag by flag |
//! | `rules`, `filter`, `date`, `pattern` | the evaluation |
//! | `inconclusive` | why an evaluation has no local result |
//! | `posthog_evaluator` | the definitions for posthog-rs's own evaluator |
//! | `lenient_decode` | decodes flags from PHP and document stores |
//! | `remote_evaluation` | asks PostHog if the local evaluation is inconclusive; feature `ask` |
//! | `overrides`, `test_flags` | [`Overrides`] and [`TestFlags`] |
//! | `flag_called_event`, `sent_events` | the event `$feature_flag_called` |
//! | `subject` | [`FlagSubject`] |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod compile;
mod date;
mod evaluation_counts;
mod evaluator_state;
mod filter;
mod flag_called_event;
mod inconclusive;
mod lenient_decode;
mod local_evaluation;
mod overrides;
mod pattern;
mod posthog_evaluator;
#[cfg(feature = "ask")]
mod remote_evaluation;
mod rules;
mod sent_events;
mod subject;
mod sync_task;
mod test_flags;

pub use builder::LocalEvaluationBuilder;
pub use local_evaluation::LocalEvaluation;
pub use overrides::Overrides;
pub use subject::FlagSubject;
pub use test_flags::TestFlags;

//! Evaluates the flag definitions that [flagcache](https://docs.rs/flagcache) shares, with the types of [`posthog_rs`].
//!
//! Applications depend on the facade `flagcache`, which re-exports everything here under its feature `evaluation`.
//!
//! | module | what lives there |
//! |---|---|
//! | `local_evaluation`, `builder` | [`LocalEvaluation`]: the handle, and its options |
//! | `sync`, `state` | following a poller, and what every evaluation loads |
//! | `compile` | from the API's JSON to what is evaluated, flag by flag |
//! | `rules`, `filter`, `date`, `pattern`, `open` | the evaluation, and why it may stay open |
//! | `official`, `foreign_form` | posthog-rs's own evaluator, for those who want it; flags as PHP and document stores write them |
//! | `ask` | asking PostHog for what cannot be decided here, with feature `ask` |
//! | `overrides`, `test_flags` | [`Overrides`] and [`TestFlags`] |
//! | `flag_called_event`, `sent_events`, `subject` | exposures, and whom a flag is evaluated for |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "ask")]
mod ask;
mod builder;
mod compile;
mod date;
mod filter;
mod flag_called_event;
mod foreign_form;
mod local_evaluation;
mod official;
mod open;
mod overrides;
mod pattern;
mod rules;
mod sent_events;
mod state;
mod subject;
mod sync;
mod test_flags;

pub use builder::LocalEvaluationBuilder;
pub use local_evaluation::LocalEvaluation;
pub use overrides::Overrides;
pub use subject::FlagSubject;
pub use test_flags::TestFlags;

//! [`EvaluationCounts`]: counts evaluations by flag and value; not part of a build without the feature `metrics`.

#[cfg(feature = "metrics")]
pub(crate) use counting::EvaluationCounts;
#[cfg(not(feature = "metrics"))]
pub(crate) use silent::EvaluationCounts;

#[cfg(feature = "metrics")]
mod counting {
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use metrics::{Counter, counter};
    use posthog_rs::FlagValue;

    const NAME: &str = "flagcache_evaluations_total";

    /// The counters by flag and value, replaced as a whole when a pair is added.
    #[derive(Clone, Default)]
    struct Table {
        series: usize,
        flags: HashMap<Arc<str>, Arc<Values>>,
    }

    /// The counters of one flag, by value.
    type Values = Vec<(Box<str>, Counter)>;

    impl Table {
        fn find(&self, key: &str, value: &str) -> Option<&Counter> {
            let values = self.flags.get(key)?;
            values
                .iter()
                .find_map(|(counted, counter)| (**counted == *value).then_some(counter))
        }
    }

    /// Counts evaluations by flag and value, up to a number of pairs. Without a lock, except when a pair is new.
    pub(crate) struct EvaluationCounts {
        table: ArcSwap<Table>,
        /// Locked while a pair is added, so that none is lost.
        add_lock: Mutex<()>,
        max_series: usize,
    }

    impl EvaluationCounts {
        pub(crate) fn new(max_series: usize) -> Self {
            Self {
                table: ArcSwap::default(),
                add_lock: Mutex::new(()),
                max_series,
            }
        }

        /// Counts one evaluation: its value (`None` if there is no such flag), or that it was inconclusive.
        pub(crate) fn count(&self, key: &str, value: Result<Option<&FlagValue>, ()>) {
            let value = match value {
                // The key may be user input, so it is not a label.
                Ok(None) => {
                    return counter!(NAME, "flag" => "other", "value" => "missing").increment(1);
                }
                Ok(Some(FlagValue::Boolean(true))) => "true",
                Ok(Some(FlagValue::Boolean(false))) => "false",
                Ok(Some(FlagValue::String(variant))) => variant,
                Err(()) => "inconclusive",
            };
            let table = self.table.load();
            match table.find(key, value) {
                Some(counter) => counter.increment(1),
                None if table.series >= self.max_series => {
                    counter!(NAME, "flag" => "other", "value" => "other").increment(1);
                }
                None => self.add(key, value).increment(1),
            }
        }

        fn add(&self, key: &str, value: &str) -> Counter {
            let _guard = self.add_lock.lock();
            let table = self.table.load();
            if let Some(counter) = table.find(key, value) {
                return counter.clone();
            }
            if table.series >= self.max_series {
                return counter!(NAME, "flag" => "other", "value" => "other");
            }
            let counter = counter!(NAME, "flag" => key.to_owned(), "value" => value.to_owned());
            let mut next = Table::clone(&table);
            next.series += 1;
            let values = next.flags.entry(Arc::from(key)).or_default();
            Arc::make_mut(values).push((Box::from(value), counter.clone()));
            self.table.store(Arc::new(next));
            counter
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use posthog_rs::FlagValue;

    /// Never made.
    pub(crate) enum EvaluationCounts {}

    impl EvaluationCounts {
        pub(crate) fn count(&self, _: &str, _: Result<Option<&FlagValue>, ()>) {
            match *self {}
        }
    }
}

//! What a poller logs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// One event or span.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) name: String,
    /// The fields as they would be shown, `message` among them.
    pub(crate) fields: BTreeMap<String, String>,
}

/// Everything that was logged by this thread since [`Logs::capture`], whatever its level.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    records: Arc<Mutex<Vec<Record>>>,
}

impl Logs {
    /// Listens on this thread until the guard is dropped.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        let logs = Self::default();
        let guard = tracing::subscriber::set_default(Registry::default().with(logs.clone()));
        (logs, guard)
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// The poller's own warnings and errors.
    pub(crate) fn warnings(&self) -> Vec<Record> {
        let mut records = self.all();
        records.retain(|record| record.level <= Level::WARN && record.target.starts_with("flagcache"));
        records
    }

    fn push(&self, metadata: &tracing::Metadata<'_>, fields: Fields) {
        self.records.lock().unwrap().push(Record {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            name: metadata.name().to_owned(),
            fields: fields.0,
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.push(attributes.metadata(), fields);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.push(event.metadata(), fields);
    }
}

//! What a poller logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
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

thread_local! {
    static LISTENING: RefCell<Option<Logs>> = const { RefCell::new(None) };
}

/// Everything that was logged by this thread since [`Logs::capture`], whatever its level.
///
/// One subscriber serves all tests of the process: with one for each thread, a callsite that another thread has seen first
/// may stay switched off.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    records: Arc<Mutex<Vec<Record>>>,
}

/// Listens until it is dropped.
pub(crate) struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.take();
    }
}

impl Logs {
    pub(crate) fn capture() -> (Self, Listening) {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing::subscriber::set_global_default(Registry::default().with(ByThread)).unwrap();
        });
        let logs = Self::default();
        LISTENING.set(Some(logs.clone()));
        (logs, Listening)
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// The poller's own warnings and errors.
    pub(crate) fn warnings(&self) -> Vec<Record> {
        let mut records = self.all();
        records
            .retain(|record| record.level <= Level::WARN && record.target.starts_with("flagcache"));
        records
    }

    fn push(metadata: &tracing::Metadata<'_>, fields: Fields) {
        let record = Record {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            name: metadata.name().to_owned(),
            fields: fields.0,
        };
        LISTENING.with_borrow(|logs| {
            if let Some(logs) = logs {
                logs.records.lock().unwrap().push(record);
            }
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

struct ByThread;

impl<S: Subscriber> Layer<S> for ByThread {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        Logs::push(attributes.metadata(), fields);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        Logs::push(event.metadata(), fields);
    }
}

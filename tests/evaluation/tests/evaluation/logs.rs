//! Captures the log events of all threads of this process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) thread: ThreadId,
    pub(crate) level: Level,
    pub(crate) name: &'static str,
    /// The formatted fields, including `message`.
    pub(crate) fields: BTreeMap<&'static str, String>,
}

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());

/// Starts to capture log events, once. The tests share the events: each must look for events that only it can cause.
pub(crate) fn capture() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default().with(CaptureLayer)).unwrap()
    });
}

/// The events in which this field has this value.
pub(crate) fn with(field: &str, value: &str) -> Vec<Record> {
    let mut records = RECORDS.lock().unwrap().clone();
    records.retain(|record| {
        record
            .fields
            .get(field)
            .is_some_and(|formatted| formatted == value)
    });
    records
}

struct CaptureLayer;

impl<S: Subscriber> Layer<S> for CaptureLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, name) = (*event.metadata().level(), event.metadata().name());
        RECORDS.lock().unwrap().push(Record {
            thread: thread::current().id(),
            level,
            name,
            fields: fields.0,
        });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

//! What is logged in this process, from all its threads.

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
    /// The fields as they would be shown, `message` among them.
    pub(crate) fields: BTreeMap<&'static str, String>,
}

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());

/// Starts to record the logs, once. The tests share the records: each looks for events that only it can cause.
pub(crate) fn listen() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default().with(Listener)).unwrap()
    });
}

/// What was logged with this value of this field.
pub(crate) fn with(field: &str, value: &str) -> Vec<Record> {
    let mut records = RECORDS.lock().unwrap().clone();
    records.retain(|record| record.fields.get(field).is_some_and(|shown| shown == value));
    records
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
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

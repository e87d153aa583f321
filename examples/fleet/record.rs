//! The reports of all workers, in the order of arrival.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use crate::process::Message;
use crate::protocol::{Event, UnixMicros};

/// One report.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) worker: String,
    pub(crate) at: UnixMicros,
    pub(crate) event: Event,
}

/// A position in the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position(usize);

#[derive(Debug)]
pub(crate) struct Record {
    messages: UnboundedReceiver<Message>,
    entries: Vec<Entry>,
}

impl Record {
    pub(crate) fn new(messages: UnboundedReceiver<Message>) -> Self {
        Self {
            messages,
            entries: Vec::new(),
        }
    }

    /// After all that has arrived by now.
    pub(crate) fn position(&mut self) -> Position {
        self.receive();
        Position(self.entries.len())
    }

    /// What arrived since.
    pub(crate) fn since(&mut self, position: Position) -> &[Entry] {
        self.receive();
        &self.entries[position.0..]
    }

    /// Everything so far.
    pub(crate) fn all(&mut self) -> &[Entry] {
        self.since(Position(0))
    }

    /// Waits until something can be found in what arrived since `position`; `None` after `timeout`.
    pub(crate) async fn find<T>(
        &mut self,
        position: Position,
        timeout: Duration,
        find: impl Fn(&[Entry]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = find(self.since(position)) {
                return Some(found);
            }
            let (worker, report) = timeout_at(deadline, self.messages.recv()).await.ok()??;
            self.entries.push(Entry {
                worker,
                at: report.at,
                event: report.event,
            });
        }
    }

    fn receive(&mut self) {
        while let Ok((worker, report)) = self.messages.try_recv() {
            self.entries.push(Entry {
                worker,
                at: report.at,
                event: report.event,
            });
        }
    }
}

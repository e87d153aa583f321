//! What the stub serves now.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::log::Log;
use super::reply::{ApiReply, EtagForm};
use crate::testing::Definitions;

/// Shared by the handle and all connections.
#[derive(Debug)]
pub(super) struct State {
    settings: Mutex<Settings>,
    pub(super) log: Log,
}

#[derive(Debug)]
struct Settings {
    served: Served,
    etag_form: EtagForm,
    next: VecDeque<ApiReply>,
    always: Option<ApiReply>,
    secret_keys: Vec<String>,
}

/// What one request meets.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) served: Served,
    pub(super) etag_form: EtagForm,
    pub(super) reply: ApiReply,
}

/// A body, with what is made of it once rather than at each request.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) body: Bytes,
    /// Compressed, if the stub compresses.
    pub(super) gzip: Option<Bytes>,
    hash: u64,
}

impl Served {
    pub(super) fn new(body: Bytes, gzip: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self {
            gzip: gzip.then(|| super::gzip::compressed(&body[..])),
            hash: hasher.finish(),
            body,
        }
    }

    /// The same content has the same ETag.
    pub(super) fn etag(&self, form: EtagForm) -> Option<Vec<u8>> {
        let hash = self.hash;
        match form {
            EtagForm::Strong => Some(format!("\"{hash:016x}\"").into_bytes()),
            EtagForm::Weak => Some(format!("W/\"{hash:016x}\"").into_bytes()),
            EtagForm::Garbage => Some(format!("größer {hash:x}, \"").into_bytes()),
            EtagForm::Empty => Some(Vec::new()),
            EtagForm::Absent => None,
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        let settings = Settings {
            served: Served::new(Definitions::empty().to_json(), false),
            etag_form: EtagForm::default(),
            next: VecDeque::new(),
            always: None,
            secret_keys: vec![super::ApiStub::SECRET_KEY.to_owned()],
        };
        Self {
            settings: Mutex::new(settings),
            log: Log::new(),
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock()
    }

    pub(super) fn set_definitions(&self, definitions: Bytes) {
        let mut settings = self.settings();
        settings.served = Served::new(definitions, settings.served.gzip.is_some());
    }

    pub(super) fn set_etag_form(&self, form: EtagForm) {
        self.settings().etag_form = form;
    }

    pub(super) fn set_secret_keys(&self, keys: Vec<String>) {
        self.settings().secret_keys = keys;
    }

    pub(super) fn takes_secret_key(&self, bearer: &[u8]) -> bool {
        let key = bearer.strip_prefix(b"Bearer ");
        key.is_some_and(|key| {
            self.settings()
                .secret_keys
                .iter()
                .any(|taken| taken.as_bytes() == key)
        })
    }

    pub(super) fn set_gzip(&self, on: bool) {
        let mut settings = self.settings();
        settings.served = Served::new(settings.served.body.clone(), on);
    }

    pub(super) fn push(&self, reply: ApiReply, count: usize) {
        self.settings()
            .next
            .extend(std::iter::repeat_n(reply, count));
    }

    pub(super) fn set_always(&self, reply: ApiReply) {
        self.settings().always = Some(reply);
    }

    pub(super) fn clear(&self) {
        let mut settings = self.settings();
        settings.next.clear();
        settings.always = None;
    }

    /// Takes what the next request meets, so that each scripted reply is given once.
    pub(super) fn turn(&self) -> Turn {
        let mut settings = self.settings();
        let reply = settings
            .next
            .pop_front()
            .or_else(|| settings.always.clone())
            .unwrap_or_default();
        Turn {
            served: settings.served.clone(),
            etag_form: settings.etag_form,
            reply,
        }
    }
}

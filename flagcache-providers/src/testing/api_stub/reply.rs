//! The answers of the stub that a test can choose.

use std::time::Duration;

use bytes::Bytes;

use super::gzip;

/// The form of the ETags that the stub sends. For tests; not API-stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EtagForm {
    /// `"…"`.
    #[default]
    Strong,
    /// `W/"…"`.
    Weak,
    /// Bytes beyond ASCII without quotes: no legal ETag, but a legal header.
    Garbage,
    /// An empty header.
    Empty,
    /// No header.
    Absent,
}

/// One scripted answer. For tests; not API-stable.
///
/// It starts as what [`usual`](Self::usual) or [`status`](Self::status) gives; the other methods bend it.
#[derive(Clone, Debug, Default)]
pub struct ApiReply {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Content>,
    pub(super) delay: Duration,
    pub(super) reset: bool,
    pub(super) cut: Cut,
}

/// A body other than the definitions.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Bytes),
    /// This many bytes, sent without their length.
    Long(u64),
}

/// Where a body ends early.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Cut {
    #[default]
    Never,
    /// Nothing comes after this many bytes, and the connection stays.
    Stall(usize),
    /// The connection closes after this many bytes.
    Close(usize),
}

impl ApiReply {
    /// What the stub would answer anyway, to be delayed, cut or given more headers.
    pub fn usual() -> Self {
        Self::default()
    }

    /// This status with an empty body, whatever the keys.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            body: Some(Content::Bytes(Bytes::new())),
            ..Self::default()
        }
    }

    /// A 200 with this body, and an ETag of it.
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self {
            status: Some(200),
            body: Some(Content::Bytes(body.into())),
            ..Self::default()
        }
    }

    /// A 200 with a body of this many bytes whose length is not sent in advance; add a `content-length` header to send it.
    pub fn oversize(bytes: u64) -> Self {
        Self {
            status: Some(200),
            body: Some(Content::Long(bytes)),
            ..Self::default()
        }
    }

    /// A 200 whose small gzip body grows to this many bytes.
    pub fn gzip_bomb(bytes: u64) -> Self {
        Self::body(gzip::bomb(bytes)).header("content-encoding", "gzip")
    }

    /// A 302 to this address.
    pub fn redirect(url: impl Into<String>) -> Self {
        Self::status(302).header("location", url)
    }

    /// The connection is reset without an answer.
    pub fn reset() -> Self {
        Self {
            reset: true,
            ..Self::default()
        }
    }

    /// Answers with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds a header, in place of one that the stub would send. One that is not legal is left out.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Waits before it answers, or resets.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the headers and this many bytes of the body, then nothing more.
    #[must_use]
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.cut = Cut::Stall(bytes);
        self
    }

    /// Sends the full length in the head, and closes the connection after this many bytes of the body.
    #[must_use]
    pub fn truncate_after(mut self, bytes: usize) -> Self {
        self.cut = Cut::Close(bytes);
        self
    }
}

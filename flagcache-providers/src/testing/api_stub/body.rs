//! Bodies that end as they should, or not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::reply::Cut;
use super::state::State;

const CHUNK: usize = 64 * 1024;

/// A body, counted as it is sent.
pub(super) struct StubBody {
    state: Arc<State>,
    content: Source,
    cut: Cut,
    /// Whether the server had the occasion to send what it holds.
    flushed: bool,
}

/// Where the bytes come from.
pub(super) enum Source {
    Bytes(Bytes),
    /// This many spaces, in chunks.
    Spaces(u64),
}

/// The connection is to be closed in the middle of a body.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed as scripted")
    }
}

impl std::error::Error for Closed {}

impl StubBody {
    pub(super) fn new(state: Arc<State>, content: Source, cut: Cut) -> Self {
        Self {
            state,
            content,
            cut,
            flushed: false,
        }
    }

    /// Ends the connection, after one more turn: until then the server keeps headers and body in its buffer, and would throw
    /// them away.
    fn close(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if self.flushed {
            return Poll::Ready(Some(Err(Closed)));
        }
        self.flushed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next piece of at most `most` bytes; empty at the end.
    fn take(&mut self, most: usize) -> Bytes {
        static SPACES: [u8; CHUNK] = [b' '; CHUNK];
        match &mut self.content {
            Source::Bytes(bytes) => bytes.split_to(bytes.remaining().min(most)),
            Source::Spaces(left) => {
                let length = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK).min(most);
                *left -= length as u64;
                Bytes::from_static(&SPACES[..length])
            }
        }
    }
}

impl Body for StubBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        let most = match self.cut {
            Cut::Never => usize::MAX,
            // Nothing wakes this body again: it ends with its connection.
            Cut::Stall(0) => return Poll::Pending,
            Cut::Close(0) => return self.close(context),
            Cut::Stall(left) | Cut::Close(left) => left,
        };
        let piece = self.take(most);
        if piece.is_empty() {
            return match self.cut {
                Cut::Never => Poll::Ready(None),
                Cut::Stall(_) => Poll::Pending,
                Cut::Close(_) => self.close(context),
            };
        }
        if let Cut::Stall(left) | Cut::Close(left) = &mut self.cut {
            *left -= piece.len();
        }
        self.state.log.sent(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            // The full length, which a cut body does not keep.
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Spaces(_) => SizeHint::default(),
        }
    }
}

//! Reads a response body of limited size.

use std::error::Error;
use std::io;

use bytes::Bytes;
use reqwest::Response;

use super::endpoint::Endpoint;
use crate::{FetchError, FetchErrorKind};

/// Reads the decompressed body of a 200 into one buffer, without a copy if it arrives in one piece.
///
/// A body that exceeds `limit` bytes or does not decompress is [`Unusable`](FetchErrorKind::Unusable): PostHog has
/// billed it, and a retry would bring the same. The rest of it is not read. An incomplete body is a connection failure.
pub(super) async fn read(
    response: Response,
    limit: usize,
    endpoint: &Endpoint,
) -> Result<Bytes, FetchError> {
    // Only known for an uncompressed body.
    let length = response.content_length().unwrap_or(0);
    let mut pieces = Pieces {
        response,
        endpoint,
        limit,
        received: 0,
    };
    // Above the limit, which includes every length that does not fit a `usize`, nothing is read or reserved.
    let Some(length) = usize::try_from(length)
        .ok()
        .filter(|length| *length <= limit)
    else {
        return Err(pieces.too_large());
    };
    let Some(first) = pieces.next().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = pieces.next().await? else {
        return Ok(first);
    };
    let mut whole = Vec::with_capacity(length.max(pieces.received));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = pieces.next().await? {
        whole.extend_from_slice(&piece);
    }
    // The buffer lives as long as the definitions; growing may have doubled it.
    whole.shrink_to_fit();
    Ok(Bytes::from(whole))
}

/// A body while it arrives.
struct Pieces<'a> {
    response: Response,
    endpoint: &'a Endpoint,
    limit: usize,
    received: usize,
}

impl Pieces<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let piece = self
            .response
            .chunk()
            .await
            .map_err(|error| broken(self.endpoint, error))?;
        self.received += piece.as_ref().map_or(0, Bytes::len);
        if self.received > self.limit {
            Err(self.too_large())
        } else {
            Ok(piece)
        }
    }

    fn too_large(&self) -> FetchError {
        let message = format!(
            "{} sent a body larger than the maximum of {} bytes; raise `max_body_bytes` if the project is that large",
            self.endpoint.name(),
            self.limit
        );
        FetchError::new(FetchErrorKind::Unusable, message)
    }
}

fn broken(endpoint: &Endpoint, error: reqwest::Error) -> FetchError {
    let (failure, what) = if is_corrupt(&error) {
        (FetchErrorKind::Unusable, "a body that does not decompress")
    } else {
        (FetchErrorKind::Connect, "an incomplete body")
    };
    // The error shows the URL, and with it the project key.
    FetchError::new(failure, format!("{} sent {what}", endpoint.name()))
        .with_source(error.without_url())
}

/// Whether the decoder failed, not the connection: a decoder reports bad data as an I/O error of these kinds.
fn is_corrupt(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        cause = error.source();
    }
    false
}

//! Reading a body within a limit.

use std::error::Error;
use std::io;

use bytes::Bytes;
use reqwest::Response;

use super::endpoint::Endpoint;
use crate::{FetchError, FetchFailure};

/// Reads the decompressed body of a 200 into one buffer, without a copy if it comes in one piece.
///
/// A body that exceeds `limit` bytes is [`Unusable`](FetchFailure::Unusable), and so is one that does not decompress:
/// PostHog has billed it, and the next one will be no better. The rest of it is not read. One that breaks off is a failure
/// of the connection.
pub(super) async fn read(mut response: Response, limit: usize, endpoint: &Endpoint) -> Result<Bytes, FetchError> {
    // Only known for a body that is sent as it is.
    let length = response.content_length().unwrap_or(0);
    if length > limit as u64 {
        return Err(too_large(limit, endpoint));
    }
    let Some(first) = chunk(&mut response, endpoint).await? else { return Ok(Bytes::new()) };
    let Some(mut next) = next_within(&mut response, first.len(), limit, endpoint).await? else { return Ok(first) };
    // `length` is at most `limit`, which is a `usize`.
    let mut whole = Vec::with_capacity((length as usize).max(first.len() + next.len()));
    whole.extend_from_slice(&first);
    loop {
        whole.extend_from_slice(&next);
        match next_within(&mut response, whole.len(), limit, endpoint).await? {
            Some(chunk) => next = chunk,
            None => break,
        }
    }
    // The buffer lives as long as the definitions do; growing may have doubled it.
    whole.shrink_to_fit();
    Ok(Bytes::from(whole))
}

async fn next_within(
    response: &mut Response,
    so_far: usize,
    limit: usize,
    endpoint: &Endpoint,
) -> Result<Option<Bytes>, FetchError> {
    if so_far > limit {
        return Err(too_large(limit, endpoint));
    }
    match chunk(response, endpoint).await? {
        Some(chunk) if chunk.len() > limit - so_far => Err(too_large(limit, endpoint)),
        other => Ok(other),
    }
}

async fn chunk(response: &mut Response, endpoint: &Endpoint) -> Result<Option<Bytes>, FetchError> {
    response.chunk().await.map_err(|error| {
        let (failure, what) = if is_corrupt(&error) {
            (FetchFailure::Unusable, "a body that does not decompress")
        } else {
            (FetchFailure::Connect, "an incomplete body")
        };
        FetchError::new(failure, format!("{} sent {what}", endpoint.name())).with_source(error.without_url())
    })
}

fn too_large(limit: usize, endpoint: &Endpoint) -> FetchError {
    let message = format!(
        "{} sent a body larger than the body limit of {limit} bytes; raise `body_limit` if the project is that large",
        endpoint.name()
    );
    FetchError::new(FetchFailure::Unusable, message)
}

/// Whether the decoder, not the connection, gave up: a decoder reports bad data as an I/O error of these kinds.
fn is_corrupt(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        }
        cause = error.source();
    }
    false
}

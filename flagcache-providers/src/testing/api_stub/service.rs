//! One request, one answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};

use super::ApiStub;
use super::body::{Source, StubBody};
use super::reply::{ApiReply, Content};
use super::state::{Served, State, Turn};

/// Where some SDKs name the project, others in the address.
const PROJECT_KEY: HeaderName = HeaderName::from_static("x-posthog-project-api-key");

/// The connection is to be reset instead of answered.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset as scripted")
    }
}

impl std::error::Error for Reset {}

/// What is sent before a scripted reply bends it.
struct Answer {
    status: StatusCode,
    etag: Option<Vec<u8>>,
    gzip: bool,
    body: Source,
}

pub(super) async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<StubBody>, Reset> {
    if request.method() == Method::POST && request.uri().path().trim_end_matches('/') == "/batch" {
        return Ok(take_events(&state, request.into_body()).await);
    }
    let Turn {
        served,
        etag_form,
        reply,
    } = state.turn();
    let answer = match &reply.body {
        None => {
            let usual = usual(&state, &request, &served, served.etag(etag_form));
            Answer {
                status: status(&reply).unwrap_or(usual.status),
                ..usual
            }
        }
        Some(Content::Bytes(body)) => {
            let status = status(&reply).unwrap_or_default();
            let etag = (status == StatusCode::OK)
                .then(|| Served::new(body.clone(), false).etag(etag_form))
                .flatten();
            Answer {
                status,
                etag,
                gzip: false,
                body: Source::Bytes(body.clone()),
            }
        }
        Some(Content::Long(bytes)) => {
            let status = status(&reply).unwrap_or_default();
            Answer {
                status,
                etag: None,
                gzip: false,
                body: Source::Spaces(*bytes),
            }
        }
    };
    state
        .log
        .record(&request, (!reply.reset).then_some(answer.status.as_u16()));
    tokio::time::sleep(reply.delay).await;
    if reply.reset {
        return Err(Reset);
    }
    Ok(respond(&state, answer, &reply))
}

/// Takes the events of a client. They are no requests for definitions: they use up no scripted reply and cost no units.
async fn take_events(state: &Arc<State>, mut body: Incoming) -> Response<StubBody> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
    }
    let (status, answer) = match state.log.take_events(&bytes) {
        Ok(()) => (StatusCode::OK, Bytes::from_static(br#"{"status":"Ok"}"#)),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    let mut response = Response::new(StubBody::new(
        Arc::clone(state),
        Source::Bytes(answer),
        Default::default(),
    ));
    *response.status_mut() = status;
    response
}

/// What the API does: it checks the keys, and compares ETags before it sends definitions.
fn usual(
    state: &State,
    request: &Request<Incoming>,
    served: &Served,
    etag: Option<Vec<u8>>,
) -> Answer {
    let empty = |status, etag| Answer {
        status,
        etag,
        gzip: false,
        body: Source::Bytes(Bytes::new()),
    };
    if !request
        .uri()
        .path()
        .trim_end_matches('/')
        .ends_with("/flags/definitions")
    {
        return empty(StatusCode::NOT_FOUND, None);
    }
    if request.method() != Method::GET {
        return empty(StatusCode::METHOD_NOT_ALLOWED, None);
    }
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    let token = format!("token={}", ApiStub::PROJECT_KEY);
    let names_project = header(request, PROJECT_KEY) == ApiStub::PROJECT_KEY.as_bytes()
        || parameters.clone().any(|parameter| parameter == token);
    if !names_project || !state.takes_secret_key(header(request, AUTHORIZATION)) {
        return empty(StatusCode::UNAUTHORIZED, None);
    }
    // Without it PostHog leaves the cohorts out.
    if !parameters.any(|parameter| parameter == "send_cohorts") {
        return empty(StatusCode::BAD_REQUEST, None);
    }
    if etag
        .as_deref()
        .is_some_and(|etag| !etag.is_empty() && same_etag(header(request, IF_NONE_MATCH), etag))
    {
        return empty(StatusCode::NOT_MODIFIED, etag);
    }
    let accepts_gzip = header(request, ACCEPT_ENCODING)
        .windows(4)
        .any(|word| word == b"gzip");
    match served.gzip.clone().filter(|_| accepts_gzip) {
        Some(body) => Answer {
            status: StatusCode::OK,
            etag,
            gzip: true,
            body: Source::Bytes(body),
        },
        None => Answer {
            status: StatusCode::OK,
            etag,
            gzip: false,
            body: Source::Bytes(served.body.clone()),
        },
    }
}

fn respond(state: &Arc<State>, answer: Answer, reply: &ApiReply) -> Response<StubBody> {
    let mut response = Response::new(StubBody::new(Arc::clone(state), answer.body, reply.cut));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if answer.status == StatusCode::OK {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if answer.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(etag) = answer
        .etag
        .and_then(|etag| HeaderValue::from_bytes(&etag).ok())
    {
        headers.insert(ETAG, etag);
    }
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            headers.insert(name, value);
        }
    }
    response
}

/// The scripted status, if there is one and HTTP knows its like.
fn status(reply: &ApiReply) -> Option<StatusCode> {
    reply
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
}

fn header(request: &Request<Incoming>, name: HeaderName) -> &[u8] {
    request
        .headers()
        .get(name)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default()
}

/// A weak ETag confirms as a strong one does.
fn same_etag(given: &[u8], own: &[u8]) -> bool {
    let opaque = |etag: &[u8]| etag.strip_prefix(b"W/").unwrap_or(etag).to_owned();
    opaque(given) == opaque(own)
}

//! The PostHog API source against a server that does all that a server can do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside the test functions fail a test as these do"
)]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flagcache_core::{
    FetchError, FetchErrorKind, FetchResponse, FlagDefinitionPoller, FlagDefinitionSource,
    PostHogApi, PostHogApiBuilder, PostHogApiError, ProjectFingerprint,
};
use flagcache_providers::testing::{ApiReply, ApiRequest, ApiStub, Definitions, EtagForm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Long enough for any answer that does come.
const AMPLE: Duration = Duration::from_secs(20);
/// For requests that are meant to run into it.
const SHORT: Duration = Duration::from_millis(300);

fn api_at(host: impl Into<String>) -> PostHogApiBuilder {
    PostHogApi::builder()
        .host(host)
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY)
        .request_timeout(AMPLE)
}

async fn stub_and_api() -> (ApiStub, PostHogApi) {
    let stub = ApiStub::start().await.unwrap();
    let api = api_at(stub.url()).build().unwrap();
    (stub, api)
}

/// The body and the ETag of a 200.
async fn definitions(api: &PostHogApi, etag: Option<&str>) -> (Vec<u8>, Option<String>) {
    match api.fetch(etag).await.unwrap() {
        FetchResponse::Definitions { body, etag } => (body.to_vec(), etag),
        other => panic!("no definitions: {other:?}"),
    }
}

/// The error of a fetch, whose whole chain shows no key.
async fn failure(api: &PostHogApi) -> FetchError {
    let error = api.fetch(Some("\"etag\"")).await.unwrap_err();
    assert_shows_no_key(&error);
    error
}

fn assert_shows_no_key(error: &FetchError) {
    let mut shown = format!("{error:?} {error:#?}");
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        shown += &format!("\n{error} {error:?}");
        cause = error.source();
    }
    for hidden in [
        ApiStub::PROJECT_KEY,
        ApiStub::SECRET_KEY,
        "token=",
        "Bearer",
    ] {
        assert!(!shown.contains(hidden), "{hidden:?} is shown:\n{shown}");
    }
}

fn only(requests: Vec<ApiRequest>) -> ApiRequest {
    let [request] = <[ApiRequest; 1]>::try_from(requests).unwrap();
    request
}

#[tokio::test]
async fn b1_12_without_a_secret_key_nothing_is_sent() {
    let stub = ApiStub::start().await.unwrap();
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(" ")
        .build()
        .unwrap();
    assert!(!api.can_fetch());
    let error = failure(&api).await;
    assert_eq!(error.kind(), FetchErrorKind::Unauthorized);
    assert!(error.to_string().contains("no secret key"), "{error}");
    assert_eq!(stub.stats().requests, 0);
}

#[tokio::test]
async fn b2_33_the_request_has_the_method_path_query_and_headers_that_posthog_expects() {
    let (stub, api) = stub_and_api().await;
    definitions(&api, None).await;
    let request = only(stub.requests());
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.target,
        format!(
            "/flags/definitions?token={}&send_cohorts",
            ApiStub::PROJECT_KEY
        )
    );
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {}", ApiStub::SECRET_KEY).as_str())
    );
    assert_eq!(
        request.user_agent(),
        Some(concat!("flagcache/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(request.header("accept-encoding"), Some("gzip"));
    assert!(!request.is_conditional());
}

#[tokio::test]
async fn b2_33_a_path_in_the_host_is_kept_and_the_user_agent_names_the_service() {
    let stub = ApiStub::start().await.unwrap();
    let api = api_at(format!("{}/ph/", stub.url()))
        .user_agent_suffix("checkout")
        .build()
        .unwrap();
    definitions(&api, None).await;
    let request = only(stub.requests());
    assert!(
        request.target.starts_with("/ph/flags/definitions?"),
        "{}",
        request.target
    );
    assert_eq!(
        request.user_agent(),
        Some(concat!(
            "flagcache/",
            env!("CARGO_PKG_VERSION"),
            " checkout"
        ))
    );
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_named_with_its_type_and_never_shown() {
    let (stub, api) = stub_and_api().await;
    let page = |status: u16, body: &'static str| {
        ApiReply::body(body)
            .with_status(status)
            .header("content-type", "Text/HTML; charset=utf-8")
    };
    for (reply, kind, named) in [
        (
            page(200, "<html><title>hidden</title></html>"),
            FetchErrorKind::Unusable,
            "200 with a page (text/html)",
        ),
        (
            page(
                200,
                "<html>hidden<form><input type=\"password\"></form></html>",
            ),
            FetchErrorKind::Unusable,
            "200 with a login page (text/html)",
        ),
        (
            page(502, "<html>hidden</html>"),
            FetchErrorKind::Server,
            "502 Bad Gateway with a page (text/html), as a proxy",
        ),
        (
            page(403, "<html>hidden</html>"),
            FetchErrorKind::Unauthorized,
            "403 Forbidden with a page (text/html), as a proxy",
        ),
        (
            page(404, "<html>hidden</html>"),
            FetchErrorKind::Rejected,
            "404 Not Found with a page (text/html), as a proxy",
        ),
        (
            ApiReply::status(503),
            FetchErrorKind::Server,
            "503 Service Unavailable",
        ),
    ] {
        stub.next(reply);
        let error = failure(&api).await;
        let shown = format!("{error} {error:?}");
        assert_eq!(error.kind(), kind, "{shown}");
        assert!(shown.contains(named), "{shown}");
        assert!(!shown.contains("hidden"), "{shown}");
    }
    // A JSON body is used, whatever its type is called.
    stub.next(page(200, r#"{"flags":[]}"#));
    definitions(&api, None).await;
}

/// A key in a file, as Kubernetes mounts it: a symbolic link into a folder that is replaced.
#[cfg(unix)]
#[tokio::test]
async fn b12_85_a_replaced_key_is_read_again_and_the_refused_request_repeated_once() {
    use std::fs;
    use std::os::unix::fs::symlink;

    let stub = ApiStub::start().await.unwrap();
    stub.set_secret_keys(["phs_old", "phs_new"]);
    let mounted = tempfile::tempdir().unwrap();
    let at = |name: &str| mounted.path().join(name);
    let mount = |version: &str, key: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("key"), key).unwrap();
        symlink(version, at("data_tmp")).unwrap();
        fs::rename(at("data_tmp"), at("data")).unwrap();
    };
    mount("1", "phs_old\n");
    symlink("data/key", at("key")).unwrap();
    let api = api_at(stub.url())
        .secret_key_file(at("key"))
        .build()
        .unwrap();
    definitions(&api, None).await;
    // The next request finds the new key.
    mount("2", "phs_new\n");
    definitions(&api, None).await;
    assert_eq!(
        stub.requests()[1].header("authorization"),
        Some("Bearer phs_new")
    );

    // A file that is gone or empty keeps the key.
    let before = api.key_fingerprint();
    fs::write(at("2/key"), "").unwrap();
    definitions(&api, None).await;
    fs::remove_file(at("2/key")).unwrap();
    definitions(&api, None).await;
    assert_eq!(api.key_fingerprint(), before);

    // A key that is refused and not replaced is tried once only.
    stub.set_secret_keys(["phs_third"]);
    let sent = stub.stats().requests;
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Unauthorized);
    assert_eq!(stub.stats().requests, sent + 1);
}

#[tokio::test]
async fn b12_85_a_key_that_is_replaced_while_its_request_runs_costs_one_refused_request() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_secret_keys(["phs_new"]);
    // The old key once at the build and once for the request; then it was replaced.
    let reads = std::sync::atomic::AtomicU32::new(0);
    let api = api_at(stub.url())
        .secret_key_fn(move || {
            let earlier = reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, io::Error>(if earlier < 2 { "phs_old" } else { "phs_new" }.to_owned())
        })
        .build()
        .unwrap();
    let old = api.key_fingerprint();
    definitions(&api, None).await;
    let statuses: Vec<_> = stub
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [Some(401), Some(200)]);
    assert_ne!(api.key_fingerprint(), old);
}

#[tokio::test]
async fn names_are_resolved() {
    let (stub, _) = stub_and_api().await;
    let api = api_at(stub.url().replace("127.0.0.1", "localhost"))
        .build()
        .unwrap();
    definitions(&api, None).await;
    assert_eq!(stub.stats().ok, 1);
}

#[tokio::test]
async fn b2_19_etags_are_kept_and_sent_back_byte_for_byte() {
    let (stub, api) = stub_and_api().await;
    stub.set_definitions(Definitions::realistic(10, 1));
    for (form, start) in [
        (EtagForm::Strong, "\""),
        (EtagForm::Weak, "W/\""),
        (EtagForm::Garbage, "größer "),
    ] {
        stub.set_etag_form(form);
        let (body, etag) = definitions(&api, None).await;
        assert_eq!(body, Definitions::realistic(10, 1).to_json());
        let etag = etag.unwrap();
        assert!(etag.starts_with(start), "{etag}");
        match api.fetch(Some(&etag)).await.unwrap() {
            FetchResponse::NotModified { etag: confirmed } => {
                assert_eq!(confirmed, Some(etag.clone()))
            }
            other => panic!("{form:?}: {other:?}"),
        }
        let sent = stub.requests().pop().unwrap();
        assert_eq!(sent.header("if-none-match"), Some(etag.as_str()));
    }
    assert_eq!(stub.stats().units, 33);
}

#[tokio::test]
async fn b2_19_an_absent_or_empty_etag_is_none() {
    let (stub, api) = stub_and_api().await;
    for form in [EtagForm::Absent, EtagForm::Empty] {
        stub.set_etag_form(form);
        assert_eq!(definitions(&api, None).await.1, None, "{form:?}");
    }
}

#[tokio::test]
async fn b2_33_an_etag_that_cannot_be_sent_is_left_out() {
    let (stub, api) = stub_and_api().await;
    // `*` would be confirmed by any definitions.
    for etag in ["", " ", "*", "\"a\nb\"", "\"\0\""] {
        definitions(&api, Some(etag)).await;
        assert!(!stub.requests().pop().unwrap().is_conditional(), "{etag:?}");
    }
}

#[tokio::test]
async fn b2_28_to_b2_31_statuses() {
    let (stub, api) = stub_and_api().await;
    let statuses = [
        (401, FetchErrorKind::Unauthorized),
        (403, FetchErrorKind::Unauthorized),
        (402, FetchErrorKind::QuotaLimited),
        (429, FetchErrorKind::RateLimited),
        (500, FetchErrorKind::Server),
        (502, FetchErrorKind::Server),
        (503, FetchErrorKind::Server),
        (504, FetchErrorKind::Server),
        (599, FetchErrorKind::Server),
        (201, FetchErrorKind::Rejected),
        (204, FetchErrorKind::Rejected),
        (206, FetchErrorKind::Rejected),
        (300, FetchErrorKind::Rejected),
        (400, FetchErrorKind::Rejected),
        (404, FetchErrorKind::Rejected),
        (405, FetchErrorKind::Rejected),
        (418, FetchErrorKind::Rejected),
        (799, FetchErrorKind::Rejected),
    ];
    for (status, expected) in statuses {
        stub.next(ApiReply::status(status).header("etag", "\"of-an-error\""));
        let error = failure(&api).await;
        assert_eq!(error.kind(), expected, "{status}");
        assert_eq!(error.retry_after(), None, "{status}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    assert_eq!(
        stub.stats().requests,
        statuses.len() as u64,
        "one request each, none repeated"
    );
}

#[tokio::test]
async fn b2_28_wrong_keys_are_reported_without_showing_them() {
    let (stub, _) = stub_and_api().await;
    let api = api_at(stub.url()).secret_key("phs_other").build().unwrap();
    let error = failure(&api).await;
    assert_eq!(error.kind(), FetchErrorKind::Unauthorized);
    assert!(!format!("{error} {error:?}").contains("phs_other"));
}

#[tokio::test]
async fn b2_32_the_body_of_a_refusal_is_not_repeated() {
    let (stub, api) = stub_and_api().await;
    stub.next(ApiReply::body(format!("no such key: {}", ApiStub::SECRET_KEY)).with_status(401));
    failure(&api).await;
}

/// What the HTTP client logs counts as ours: only this crate can keep the keys out of it.
#[tokio::test]
async fn b2_32_no_key_is_logged_at_any_level() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = LogWriter(Arc::clone(&log));
    let _guard = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .set_default();
    let (stub, api) = stub_and_api().await;
    definitions(&api, None).await;
    for reply in [
        ApiReply::status(401),
        ApiReply::reset(),
        ApiReply::redirect("http://127.0.0.1:1/"),
        ApiReply::redirect("/"),
    ] {
        stub.clear();
        // A reset is followed by a second request.
        stub.always(reply);
        failure(&api).await;
    }
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE"), "nothing was logged");
    for key in [ApiStub::PROJECT_KEY, ApiStub::SECRET_KEY] {
        assert!(!log.contains(key), "{log}");
    }
}

#[derive(Clone)]
struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn b2_30_retry_after_in_seconds_and_as_a_date() {
    let (stub, api) = stub_and_api().await;
    for status in [429, 503] {
        stub.next(ApiReply::status(status).header("retry-after", "17"));
        assert_eq!(
            failure(&api).await.retry_after(),
            Some(Duration::from_secs(17)),
            "{status}"
        );
        stub.next(
            ApiReply::status(status)
                .header("date", "Sun, 06 Nov 1994 08:49:00 GMT")
                .header("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
        );
        assert_eq!(
            failure(&api).await.retry_after(),
            Some(Duration::from_secs(37)),
            "{status}"
        );
        stub.next(ApiReply::status(status).header("retry-after", "86400000"));
        assert_eq!(
            failure(&api).await.retry_after(),
            Some(Duration::from_secs(3600)),
            "{status}"
        );
        stub.next(ApiReply::status(status).header("retry-after", "later"));
        assert_eq!(failure(&api).await.retry_after(), None, "{status}");
    }
}

#[tokio::test]
async fn b2_32_a_redirect_to_another_host_gets_neither_key_nor_request() {
    let (stub, api) = stub_and_api().await;
    let other = ApiStub::start().await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        let target = format!(
            "{}/flags/definitions?token={}",
            other.url(),
            ApiStub::PROJECT_KEY
        );
        stub.next(ApiReply::status(status).header("location", target));
        let error = failure(&api).await;
        assert_eq!(error.kind(), FetchErrorKind::Rejected, "{status}");
        assert!(
            error.to_string().contains(&other.url()),
            "the target is named: {error}"
        );
    }
    assert_eq!(other.stats().requests, 0);
}

#[tokio::test]
async fn b2_32_a_redirect_to_another_scheme_or_nowhere_is_not_followed() {
    let (stub, api) = stub_and_api().await;
    let targets = [
        stub.url().replace("http://", "https://"),
        "http://localhost:1/".to_owned(),
        "//127.0.0.2/".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://".to_owned(),
        String::new(),
    ];
    for target in targets {
        stub.clear();
        stub.always(ApiReply::redirect(&target));
        let error = failure(&api).await;
        assert_eq!(
            error.kind(),
            FetchErrorKind::Rejected,
            "{target:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_redirect_to_the_same_origin_is_followed_with_the_key() {
    let (stub, api) = stub_and_api().await;
    stub.next_n(
        3,
        ApiReply::redirect(format!(
            "/eu/flags/definitions?token={}&send_cohorts",
            ApiStub::PROJECT_KEY
        )),
    );
    definitions(&api, None).await;
    let last = stub.requests().pop().unwrap();
    assert!(last.target.starts_with("/eu/"), "{}", last.target);
    assert!(last.header("authorization").is_some());
    assert_eq!(stub.stats().requests, 4);
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let (stub, api) = stub_and_api().await;
    stub.always(ApiReply::redirect("/flags/definitions"));
    let error = failure(&api).await;
    assert_eq!(error.kind(), FetchErrorKind::Rejected);
    assert_eq!(stub.stats().requests, 4);
}

#[tokio::test]
async fn b2_21_a_truncated_body_is_a_failure_of_the_connection() {
    let (stub, api) = stub_and_api().await;
    stub.set_definitions(Definitions::realistic(200, 1));
    for gzip in [false, true] {
        stub.set_gzip(gzip);
        for bytes in [0, 1, 1000, 10_000] {
            stub.next(ApiReply::usual().truncate_after(bytes));
            let error = failure(&api).await;
            assert_eq!(
                error.kind(),
                FetchErrorKind::Connect,
                "gzip {gzip}, {bytes} bytes: {error:?}"
            );
            assert!(error.to_string().contains("incomplete body"), "{error}");
        }
    }
}

#[tokio::test]
async fn b2_21_the_request_timeout_covers_headers_and_body() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(Definitions::realistic(200, 1));
    let api = api_at(stub.url()).request_timeout(SHORT).build().unwrap();
    for reply in [
        ApiReply::usual().delay(AMPLE),
        ApiReply::usual().stall_after(0),
        ApiReply::usual().stall_after(1000),
        ApiReply::redirect("/").stall_after(0).delay(AMPLE),
    ] {
        stub.next(reply);
        let start = Instant::now();
        let error = failure(&api).await;
        let took = start.elapsed();
        assert_eq!(error.kind(), FetchErrorKind::Timeout);
        assert!(error.to_string().contains("300ms"), "{error}");
        assert!(took >= SHORT && took < AMPLE / 2, "{took:?}");
    }
    // The next request is not held up by the ones that were cut.
    definitions(&api_at(stub.url()).build().unwrap(), None).await;
}

#[tokio::test]
async fn b2_31_slow_but_complete_answers_are_taken() {
    let (stub, api) = stub_and_api().await;
    stub.next(ApiReply::usual().delay(SHORT));
    definitions(&api, None).await;
}

#[tokio::test]
async fn b2_31_a_reset_connection() {
    let (stub, api) = stub_and_api().await;
    stub.next(ApiReply::reset());
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Connect);
    assert_eq!(stub.stats().requests, 1);
    // On a connection that had answered before it is sent once more, and only once.
    definitions(&api, None).await;
    stub.next(ApiReply::reset());
    definitions(&api, None).await;
    assert_eq!(stub.stats().requests, 4);
    stub.next_n(2, ApiReply::reset());
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Connect);
    assert_eq!(stub.stats().requests, 6);
    definitions(&api, None).await;
}

/// A server that answers so many requests on each connection, and closes it without an answer at the next one.
async fn closing_server(answered_per_connection: usize) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let number = {
                let mut log = log.lock().unwrap();
                log.push(0);
                log.len() - 1
            };
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(1..) = connection.read(&mut bytes).await {
                log.lock().unwrap()[number] += 1;
                if log.lock().unwrap()[number] > answered_per_connection {
                    break;
                }
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    .await
                    .unwrap();
            }
        }
    });
    (host, received)
}

#[tokio::test]
async fn b9_70_a_get_on_a_closing_connection_is_retried_once() {
    let (host, received) = closing_server(1).await;
    let api = api_at(host).build().unwrap();
    for _ in 0..4 {
        definitions(&api, None).await;
    }
    assert_eq!(*received.lock().unwrap(), [2, 2, 2, 1]);
}

#[tokio::test]
async fn b9_70_a_get_that_a_new_connection_left_unanswered_is_not_repeated() {
    let (host, received) = closing_server(0).await;
    let api = api_at(host).build().unwrap();
    let error = failure(&api).await;
    assert!(
        error.to_string().contains("ended without an answer"),
        "{error}"
    );
    assert_eq!(*received.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_304_to_an_unconditional_request_is_an_error_that_says_so() {
    let (stub, api) = stub_and_api().await;
    stub.always(ApiReply::status(304));
    let error = api.fetch(None).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Rejected);
    assert!(
        error.to_string().contains("304") && error.to_string().contains("caching proxy"),
        "{error}"
    );
    assert!(matches!(
        api.fetch(Some("\"a\"")).await,
        Ok(FetchResponse::NotModified { .. })
    ));
}

/// A caching proxy that answers 304 to everything, as the poller meets it.
#[tokio::test]
async fn b9_70_a_304_to_every_request_backs_off_with_one_warning_and_is_the_last_error() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = LogWriter(Arc::clone(&log));
    let _guard = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .set_default();
    let (stub, api) = stub_and_api().await;
    stub.always(ApiReply::status(304));
    let interval = Duration::from_millis(100);
    let begun = Instant::now();
    let flags = FlagDefinitionPoller::builder()
        .source(api)
        .poll_interval(interval)
        .start()
        .unwrap();
    while stub.stats().requests < 4 {
        assert!(
            begun.elapsed() < AMPLE,
            "{} requests",
            stub.stats().requests
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Three pauses of one to two intervals each, as after any answer that is not definitions (rule 31).
    assert!(begun.elapsed() > interval * 3, "{:?}", begun.elapsed());
    let status = flags.status();
    assert!(flags.definitions().is_none());
    assert!(
        status
            .last_error
            .as_ref()
            .is_some_and(|error| format!("{error:#}").contains("caching proxy")),
        "{status:?}"
    );
    flags.shutdown().await.unwrap();
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let warnings = log.lines().filter(|line| line.contains("304")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[tokio::test]
async fn an_answer_that_is_not_http_1_is_called_that() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = api_at(format!("http://{}", listener.local_addr().unwrap()))
        .build()
        .unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 1024]).await;
        // The first frame of HTTP/2.
        connection.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = failure(&api).await;
    assert!(error.to_string().contains("not HTTP/1.1"), "{error}");
}

#[tokio::test]
async fn b2_31_no_server_listens() {
    let (stub, api) = stub_and_api().await;
    definitions(&api, None).await;
    drop(stub);
    let deadline = Instant::now() + AMPLE;
    // The port closes when the server's task is dropped, soon after.
    loop {
        match api.fetch(None).await {
            Ok(_) => assert!(Instant::now() < deadline, "the port stays open"),
            Err(error) if error.to_string().contains("cannot connect") => {
                assert_shows_no_key(&error);
                assert_eq!(error.kind(), FetchErrorKind::Connect);
                break;
            }
            Err(_) => assert!(Instant::now() < deadline, "never refused"),
        }
    }
}

#[tokio::test]
async fn b2_31_a_name_that_does_not_resolve() {
    // A label beyond 63 letters fails in the resolver itself, without asking the network.
    let api = api_at(format!("http://{}.invalid", "a".repeat(64)))
        .build()
        .unwrap();
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Connect);
}

#[tokio::test]
async fn b2_31_https_to_a_port_that_speaks_plain_http() {
    let (stub, _) = stub_and_api().await;
    let api = api_at(stub.url().replace("http://", "https://"))
        .build()
        .unwrap();
    let error = failure(&api).await;
    assert_eq!(error.kind(), FetchErrorKind::Connect);
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(stub.stats().requests, 0);
}

#[tokio::test]
async fn b2_33_gzip_bodies_are_decompressed() {
    let (stub, api) = stub_and_api().await;
    let set = Definitions::realistic(200, 1);
    stub.set_definitions(&set);
    stub.set_gzip(true);
    let (body, etag) = definitions(&api, None).await;
    assert_eq!(body, set.to_json());
    assert!(
        stub.stats().body_bytes < body.len() as u64 / 2,
        "it was compressed on the way"
    );
    assert!(matches!(
        api.fetch(etag.as_deref()).await.unwrap(),
        FetchResponse::NotModified { .. }
    ));
}

#[tokio::test]
async fn b2_33_a_gzip_bomb_is_cut_at_max_body_bytes() {
    let stub = ApiStub::start().await.unwrap();
    let api = api_at(stub.url()).max_body_bytes(1 << 20).build().unwrap();
    stub.next(ApiReply::gzip_bomb(16 << 20));
    let error = failure(&api).await;
    assert_eq!(error.kind(), FetchErrorKind::Unusable);
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
    assert!(stub.stats().body_bytes < 1 << 20, "small on the way");
}

#[tokio::test]
async fn b2_22_a_body_that_does_not_decompress_is_unusable() {
    let (stub, api) = stub_and_api().await;
    stub.next(
        ApiReply::body("no gzip at all, however long it may be").header("content-encoding", "gzip"),
    );
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Unusable);
}

#[tokio::test]
async fn b2_33_the_rest_of_a_body_that_is_too_large_is_not_read() {
    const LARGE: u64 = 100 << 20;
    let stub = ApiStub::start().await.unwrap();
    let api = api_at(stub.url()).max_body_bytes(64 << 10).build().unwrap();
    for reply in [
        ApiReply::oversize(LARGE),
        ApiReply::oversize(LARGE).header("content-length", LARGE.to_string()),
    ] {
        let before = stub.stats().body_bytes;
        stub.next(reply);
        assert_eq!(failure(&api).await.kind(), FetchErrorKind::Unusable);
        // What is on its way in the buffers of the two sockets may be some megabytes.
        let sent = stub.stats().body_bytes - before;
        assert!(sent < LARGE / 2, "{sent} bytes were sent");
    }
}

#[tokio::test]
async fn b2_33_a_body_whose_announced_length_is_too_large_is_not_read_at_all() {
    let (stub, api) = stub_and_api().await;
    stub.next(
        ApiReply::oversize(1 << 40)
            .header("content-length", (1u64 << 40).to_string())
            .stall_after(0),
    );
    assert_eq!(failure(&api).await.kind(), FetchErrorKind::Unusable);
}

#[tokio::test]
async fn b2_33_max_body_bytes_is_exact() {
    let (stub, _) = stub_and_api().await;
    for length in [1, 1000, 300_000] {
        let api = |limit| api_at(stub.url()).max_body_bytes(limit).build().unwrap();
        for has_length in [true, false] {
            let reply = if has_length {
                ApiReply::body(" ".repeat(length))
            } else {
                ApiReply::oversize(length as u64)
            };
            stub.next_n(2, reply);
            assert_eq!(definitions(&api(length), None).await.0.len(), length);
            if length > 1 {
                assert_eq!(
                    failure(&api(length - 1)).await.kind(),
                    FetchErrorKind::Unusable,
                    "{length}, announced: {has_length}"
                );
            } else {
                stub.clear();
            }
        }
    }
}

#[tokio::test]
async fn b2_22_the_source_leaves_bodies_to_the_poller() {
    let (stub, api) = stub_and_api().await;
    for body in ["", "{", "[]", "null"] {
        stub.next(ApiReply::body(body));
        assert_eq!(definitions(&api, None).await.0, body.as_bytes());
    }
}

#[tokio::test]
async fn large_definitions_arrive_whole() {
    let (stub, api) = stub_and_api().await;
    let set = Definitions::realistic(1000, 1);
    stub.set_definitions(&set);
    for gzip in [false, true] {
        stub.set_gzip(gzip);
        let (body, _) = definitions(&api, None).await;
        // Not `assert_eq`, which would print a megabyte.
        assert!(body == set.to_json(), "gzip {gzip}");
    }
}

#[tokio::test]
async fn a_change_of_one_flag_changes_the_etag() {
    let (stub, api) = stub_and_api().await;
    let set = Definitions::realistic(10, 1);
    stub.set_definitions(&set);
    let (_, etag) = definitions(&api, None).await;
    let key = set.keys().next().unwrap();
    stub.set_definitions(set.clone().with_rollout(key, 12.5));
    let (body, changed) = definitions(&api, etag.as_deref()).await;
    assert_ne!(body, set.to_json());
    assert_ne!(changed, etag);
}

#[tokio::test]
async fn clones_and_requests_at_once_work_and_a_dropped_request_harms_none() {
    let (stub, api) = stub_and_api().await;
    stub.next(ApiReply::usual().delay(AMPLE));
    let dropped = tokio::spawn({
        let api = api.clone();
        async move { api.fetch(None).await.map(drop) }
    });
    stub.wait_until(AMPLE, |stats| stats.requests == 1)
        .await
        .unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let (first, second) = (api.clone(), api.clone());
    let (first, second) = tokio::join!(first.fetch(None), second.fetch(None));
    assert!(first.is_ok() && second.is_ok());
}

#[test]
fn the_project_is_that_of_the_key_and_debug_shows_none() {
    let api = api_at("http://127.0.0.1:1").build().unwrap();
    assert_eq!(
        api.project(),
        Some(ProjectFingerprint::of(ApiStub::PROJECT_KEY))
    );
    assert!(api.can_fetch());
    let shown = format!("{api:?} {api:#?}");
    assert!(
        shown.contains("127.0.0.1:1") && shown.contains("[…]"),
        "{shown}"
    );
    assert!(!shown.contains("stub"), "{shown}");
}

/// No crypto provider is installed for the process, and none is needed.
#[test]
fn https_needs_no_process_wide_crypto_provider() {
    api_at("https://us.i.posthog.com").build().unwrap();
}

/// Runs one test of this file, ignored or not, in a process of its own with these variables, and no other that matters.
fn in_a_process_with(variables: &[(&str, &str)], test: &str) {
    let mut command = Command::new(env::current_exe().unwrap());
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "ssl_cert_file",
        "ssl_cert_dir",
    ] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let output = command
        .args(["--include-ignored", "--exact", "--nocapture", test])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_host_of_this_machine_is_not_asked_through_a_proxy() {
    in_a_process_with(
        &[("HTTP_PROXY", "http://127.0.0.1:1")],
        "b2_33_the_request_has_the_method_path_query_and_headers_that_posthog_expects",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proxy_of_the_environment_is_used() {
    let stub = ApiStub::start().await.unwrap();
    let proxy = stub.url();
    tokio::task::spawn_blocking(move || {
        in_a_process_with(&[("HTTP_PROXY", &proxy)], "through_the_proxy")
    })
    .await
    .unwrap();
    let target = only(stub.requests()).target;
    assert!(
        target.starts_with("http://posthog.invalid/flags/definitions?"),
        "{target}"
    );
}

#[tokio::test]
#[ignore = "run by `a_proxy_of_the_environment_is_used`, with a proxy in its environment"]
async fn through_the_proxy() {
    definitions(&api_at("http://posthog.invalid").build().unwrap(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b9_71_a_407_is_reported_as_an_answer_of_the_proxy() {
    let stub = ApiStub::start().await.unwrap();
    stub.always(ApiReply::status(407));
    let proxy = stub.url();
    tokio::task::spawn_blocking(move || {
        in_a_process_with(&[("HTTP_PROXY", &proxy)], "refused_by_the_proxy")
    })
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "run by `b9_71_a_407_is_reported_as_an_answer_of_the_proxy`, with a proxy in its environment"]
async fn refused_by_the_proxy() {
    let api = api_at("http://posthog.invalid").build().unwrap();
    let error = failure(&api).await.to_string();
    assert!(
        error.starts_with("the proxy 127.0.0.1:") && error.contains("HTTP_PROXY"),
        "{error}"
    );
    let api = api_at("http://posthog.invalid").no_proxy().build().unwrap();
    let error = failure(&api).await.to_string();
    assert!(
        error.starts_with("cannot connect to posthog.invalid"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
const NO_CERTIFICATES: [(&str, &str); 2] = [
    ("SSL_CERT_FILE", "/dev/null"),
    ("SSL_CERT_DIR", "/dev/null"),
];

#[cfg(target_os = "linux")]
#[test]
fn http_and_cache_only_readers_need_no_certificates() {
    in_a_process_with(
        &NO_CERTIFICATES,
        "b2_33_the_request_has_the_method_path_query_and_headers_that_posthog_expects",
    );
    in_a_process_with(&NO_CERTIFICATES, "without_certificates");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by `http_and_cache_only_readers_need_no_certificates`, without certificates"]
fn without_certificates() {
    let error = api_at("https://us.i.posthog.com").build().unwrap_err();
    assert!(matches!(error, PostHogApiError::Client(_)), "{error:?}");
    assert!(error.to_string().contains("ca-certificates"), "{error}");
    PostHogApi::builder()
        .project_key(ApiStub::PROJECT_KEY)
        .build()
        .unwrap();
}

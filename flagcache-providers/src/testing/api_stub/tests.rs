//! The stub as a client without a library sees it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// What comes back until the connection ends.
async fn ask(stub: &ApiStub, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(stub.address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .expect("the connection ends")?;
    Ok(String::from_utf8(answer).expect("text"))
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: stub\r\nconnection: close\r\n{headers}\r\n")
}

fn get(headers: &str) -> String {
    let target = format!(
        "/flags/definitions?token={}&send_cohorts",
        ApiStub::PROJECT_KEY
    );
    request(
        &format!("GET {target}"),
        &format!("authorization: Bearer {}\r\n{headers}", ApiStub::SECRET_KEY),
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).expect("a status line")
}

#[tokio::test]
async fn it_checks_path_method_keys_and_parameters() {
    let stub = ApiStub::start().await.unwrap();
    let bearer = format!("authorization: Bearer {}\r\n", ApiStub::SECRET_KEY);
    let token = format!("token={}", ApiStub::PROJECT_KEY);
    let by_header = format!(
        "{bearer}x-posthog-project-api-key: {}\r\n",
        ApiStub::PROJECT_KEY
    );
    let by_other_header = format!("{bearer}x-posthog-project-api-key: phc_other\r\n");
    let cases = [
        (
            format!("GET /flags/definitions?{token}&send_cohorts"),
            &*bearer,
            "200",
        ),
        (
            format!("GET /flags/definitions?send_cohorts&{token}"),
            &*bearer,
            "200",
        ),
        (format!("GET /flags/definitions?{token}"), &*bearer, "400"),
        (
            "GET /flags/definitions?send_cohorts".to_owned(),
            &*bearer,
            "401",
        ),
        (
            format!("GET /flags/definitions?{token}x&send_cohorts"),
            &*bearer,
            "401",
        ),
        (
            format!("GET /flags/definitions?{token}&send_cohorts"),
            "",
            "401",
        ),
        (
            format!("GET /flags/definitions?{token}&send_cohorts"),
            "authorization: Bearer phs_other\r\n",
            "401",
        ),
        (
            "GET /flags/definitions/?send_cohorts".to_owned(),
            &*by_header,
            "200",
        ),
        (
            "GET /flags/definitions/?send_cohorts".to_owned(),
            &*by_other_header,
            "401",
        ),
        (format!("GET /decide?{token}"), &*bearer, "404"),
        (
            format!("DELETE /flags/definitions?{token}&send_cohorts"),
            &*bearer,
            "405",
        ),
    ];
    for (line, headers, expected) in &cases {
        let answer = ask(&stub, &request(line, headers)).await.unwrap();
        assert_eq!(status(&answer), *expected, "{line}");
    }
    let stats = stub.stats();
    assert_eq!(
        (stats.requests, stats.ok, stats.others, stats.units),
        (11, 3, 8, 30)
    );
}

#[tokio::test]
async fn it_confirms_its_own_etag_until_the_content_changes() {
    let stub = ApiStub::start().await.unwrap();
    let answer = ask(&stub, &get("")).await.unwrap();
    let etag = answer
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let conditional = get(&format!("if-none-match: {etag}\r\n"));
    assert_eq!(status(&ask(&stub, &conditional).await.unwrap()), "304");
    stub.set_definitions(r#"{"flags":[{"key":"a"}]}"#);
    assert_eq!(status(&ask(&stub, &conditional).await.unwrap()), "200");
    stub.set_definitions(super::super::Definitions::empty());
    assert_eq!(
        status(&ask(&stub, &conditional).await.unwrap()),
        "304",
        "the same content has the same ETag"
    );
    let conditional: Vec<_> = stub
        .requests()
        .iter()
        .map(|request| (request.is_conditional(), request.status))
        .collect();
    assert_eq!(
        conditional,
        [
            (false, Some(200)),
            (true, Some(304)),
            (true, Some(200)),
            (true, Some(304))
        ]
    );
    assert_eq!(stub.stats().units, 22);
}

#[tokio::test]
async fn events_are_taken_whatever_is_scripted_and_are_no_requests() {
    let stub = ApiStub::start().await.unwrap();
    stub.always(ApiReply::status(503));
    let post = |body: &str| {
        request(
            "POST /batch/",
            &format!("content-length: {}\r\n", body.len()),
        ) + body
    };
    let batch = post(r#"{"api_key":"phc","batch":[{"event":"a"},{"event":"b"}]}"#);
    let (came, answer) = tokio::join!(stub.wait_for_events(LIMIT, 2), ask(&stub, &batch));
    assert_eq!(status(&answer.unwrap()), "200");
    assert_eq!(
        came.unwrap(),
        [json!({ "event": "a" }), json!({ "event": "b" })]
    );
    assert_eq!(status(&ask(&stub, &post("[]")).await.unwrap()), "400");
    assert_eq!(
        stub.wait_for_events(Duration::from_millis(50), 3)
            .await
            .unwrap_err(),
        stub.events()
    );
    assert_eq!(
        stub.stats(),
        ApiStats {
            body_bytes: stub.stats().body_bytes,
            ..ApiStats::default()
        }
    );
}

#[tokio::test]
async fn scripted_replies_are_given_in_order_and_then_end() {
    let stub = ApiStub::start().await.unwrap();
    stub.always(ApiReply::status(500));
    stub.next(ApiReply::status(503).header("retry-after", "7"));
    stub.next_n(2, ApiReply::status(429));
    let answer = ask(&stub, &get("")).await.unwrap();
    assert!(answer.contains("retry-after: 7\r\n"), "{answer}");
    let mut statuses = vec![status(&answer).to_owned()];
    for _ in 0..4 {
        statuses.push(status(&ask(&stub, &get("")).await.unwrap()).to_owned());
    }
    assert_eq!(statuses, ["503", "429", "429", "500", "500"]);
    stub.clear();
    assert_eq!(status(&ask(&stub, &get("")).await.unwrap()), "200");
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_truncated_body_announces_its_full_length() {
    let stub = ApiStub::start().await.unwrap();
    stub.next(ApiReply::reset());
    assert_eq!(
        ask(&stub, &get("")).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    stub.next(ApiReply::body("0123456789").truncate_after(4));
    let answer = ask(&stub, &get("")).await.unwrap();
    assert!(
        answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\n0123"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stalled_body_keeps_the_connection_and_a_drop_ends_it() {
    let stub = ApiStub::start().await.unwrap();
    stub.next(ApiReply::body("0123456789").stall_after(4));
    let mut stream = TcpStream::connect(stub.address).await.unwrap();
    stream.write_all(get("").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let start = Instant::now();
    while !answer.ends_with(b"0123") {
        assert!(start.elapsed() < LIMIT, "no body came");
        assert_ne!(
            stream.read_buf(&mut answer).await.unwrap(),
            0,
            "the connection ended"
        );
    }
    let more = tokio::time::timeout(Duration::from_millis(100), stream.read_buf(&mut answer)).await;
    assert!(more.is_err(), "something came after the stall");
    drop(stub);
    let ended = tokio::time::timeout(LIMIT, stream.read_buf(&mut answer))
        .await
        .expect("the connection ends");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn waiting_ends_with_the_condition_or_the_timeout() {
    let stub = ApiStub::start().await.unwrap();
    let reached = stub
        .wait_until(Duration::from_millis(50), |stats| stats.requests > 0)
        .await;
    assert_eq!(reached.unwrap_err().requests, 0);
    let request = get("");
    let (reached, _) = tokio::join!(
        stub.wait_until(LIMIT, |stats| stats.ok == 1),
        ask(&stub, &request)
    );
    assert_eq!(reached.unwrap().units, 10);
}

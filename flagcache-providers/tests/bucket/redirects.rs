//! Answers that no object store should give: redirects, for example to a login page, and objects that are too large.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flagcache_core::ProviderErrorKind;
use flagcache_providers::BucketStore;

use crate::worker::{SERVICE, Worker, chain};

/// Starts a server that answers each request with `answer` of its first line. Returns its port and the first lines of the
/// requests. Ends with the process.
fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let Some(head) = request(&mut connection) else {
                continue;
            };
            let first = head.lines().next().unwrap().to_owned();
            let answer = answer(&first);
            log.lock().unwrap().push(first);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

/// Reads a request with its body, and returns its head.
fn request(connection: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(head.to_owned());
            }
        }
        let mut part = [0; 4096];
        match connection.read(&mut part) {
            Ok(length @ 1..) => text.push_str(std::str::from_utf8(&part[..length]).unwrap()),
            _ => return None,
        }
    }
}

fn answer(status: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         Content-Length: {length}\r\n{header}\r\n{body}"
    )
}

fn worker(port: u16) -> Worker {
    Worker::over(BucketStore::builder(
        format!(
            "s3://flags?endpoint=http://127.0.0.1:{port}&region=eu-west-1&access_key_id=app&secret_access_key=hunter2\
             &session_token=hunter2"
        ),
        SERVICE,
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_is_redirected_is_not_written() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
    ] {
        let (port, asked) = serve(move |first| match first {
            _ if first.contains("/login") => answer("200 OK", "ETag: \"1\"\r\n", "<html></html>"),
            _ if first.starts_with("GET") => answer("404 Not Found", "", ""),
            _ if first.contains("/probe") => answer("412 Precondition Failed", "", ""),
            _ => answer(status, "Location: /login\r\n", ""),
        });
        let error = worker(port).tries_to_lead().await.unwrap_err();
        let chain = chain(&error);
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{chain}");
        assert!(chain.contains(&status[..3]), "{chain}");
        let asked = asked.lock().unwrap();
        assert!(
            asked.iter().all(|first| !first.contains("/login")),
            "{asked:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_too_large_is_not_read() {
    let (port, _) = serve(|_| {
        "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         Content-Length: 99000000000\r\n\r\n{"
            .to_owned()
    });
    let error = worker(port).tries_to_lead().await.unwrap_err();
    assert!(
        chain(&error).contains("99000000000 bytes"),
        "{}",
        chain(&error)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_gets_no_token() {
    let (other, asked) = serve(|_| answer("200 OK", "ETag: \"1\"\r\n", "{}"));
    let location = format!("Location: http://localhost:{other}/\r\n");
    let (port, _) = serve(move |_| answer("307 Temporary Redirect", &location, ""));
    let error = worker(port).tries_to_lead().await.unwrap_err();
    assert!(chain(&error).contains("307"), "{}", chain(&error));
    assert!(asked.lock().unwrap().is_empty());
}

//! PostHog is asked if the local evaluation is inconclusive.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flagcache::testing::ApiStub;
use flagcache::{FlagSubject, LocalEvaluation};
use posthog_rs::{Client, ClientOptionsBuilder, FlagValue};
use serde_json::{Value, json};

use crate::fixture::{TIMEOUT, api, definitions_of, on, poller};

/// A server that returns the same response to every `/flags` request, and records the requests.
struct FlagsServer {
    url: String,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl FlagsServer {
    /// `None` for a server that never responds.
    fn start(response: Option<Value>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let recorded: Arc<Mutex<Vec<Value>>> = Arc::default();
        let requests = Arc::clone(&recorded);
        // The thread ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (response, requests) = (response.clone(), Arc::clone(&requests));
                thread::spawn(move || serve(stream.unwrap(), response.as_ref(), &requests));
            }
        });
        Self {
            url,
            requests: recorded,
        }
    }

    async fn client(&self) -> Client {
        let mut options = ClientOptionsBuilder::default();
        options
            .api_key(ApiStub::PROJECT_KEY.to_owned())
            .host(self.url.clone());
        posthog_rs::client(options.build().unwrap()).await
    }

    /// The requested keys of each request.
    fn keys(&self) -> Vec<Vec<String>> {
        let requests = self.requests.lock().unwrap();
        let keys = |request: &Value| {
            let keys: Vec<String> =
                serde_json::from_value(request["flag_keys_to_evaluate"].clone()).unwrap();
            keys
        };
        let mut keys: Vec<Vec<String>> = requests.iter().map(keys).collect();
        keys.iter_mut().for_each(|keys| keys.sort_unstable());
        keys
    }
}

fn serve(mut stream: TcpStream, response: Option<&Value>, requests: &Mutex<Vec<Value>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let Ok(body) = serde_json::from_str::<Value>(body) else {
            continue;
        };
        let is_flags = head.starts_with("POST /flags");
        if is_flags {
            requests.lock().unwrap().push(body);
        }
        let Some(response) = response else { continue };
        let body = if is_flags {
            response.to_string()
        } else {
            "{}".to_owned()
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close"
        );
        let _ = write!(stream, "{head}\r\n\r\n{body}");
        return;
    }
}

/// A flag with experience continuity, which only PostHog can evaluate.
fn persistent(key: &str) -> String {
    let filters = json!({ "groups": [{}] });
    json!({ "key": key, "active": true, "ensure_experience_continuity": true, "filters": filters })
        .to_string()
}

#[tokio::test]
async fn inconclusive_flags_are_requested_from_posthog_in_one_request() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[
        on("here"),
        persistent("blue"),
        persistent("off"),
        persistent("gone"),
    ]));
    let poller = poller().source(api(&stub)).start().unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.wait_ready(TIMEOUT).await.unwrap();
    let server = FlagsServer::start(Some(json!({ "flags": {
        "blue": { "key": "blue", "enabled": true, "variant": "blue" },
        "off": { "key": "off", "enabled": false, "variant": null },
    }})));
    let (client, ada) = (server.client().await, FlagSubject::new("ada"));
    let blue = FlagValue::String("blue".to_owned());

    assert_eq!(
        flags.evaluate_or_ask(&client, "here", &ada).await.unwrap(),
        Some(FlagValue::Boolean(true))
    );
    assert_eq!(
        flags
            .evaluate_or_ask(&client, "no-such-flag", &ada)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        server.keys(),
        Vec::<Vec<String>>::new(),
        "no request for conclusive evaluations"
    );
    assert_eq!(
        flags.evaluate_or_ask(&client, "blue", &ada).await.unwrap(),
        Some(blue.clone())
    );
    let error = flags
        .evaluate_or_ask(&client, "gone", &ada)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("experience continuity") && error.contains("no value"),
        "{error}"
    );
    let error = flags
        .evaluate_or_ask(None, "blue", &ada)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("experience continuity"), "{error}");
    assert_eq!(server.keys(), [["blue"], ["gone"]]);

    let all = flags.evaluate_all_or_ask(&client, &ada).await;
    assert_eq!(server.keys().last().unwrap(), &["blue", "gone", "off"]);
    assert_eq!(all["here"].as_ref().unwrap(), &FlagValue::Boolean(true));
    assert_eq!(all["blue"].as_ref().unwrap(), &blue);
    assert_eq!(all["off"].as_ref().unwrap(), &FlagValue::Boolean(false));
    assert!(all["gone"].is_err());
    assert_eq!(server.keys().len(), 3, "one request for all flags");
    poller.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_request_that_times_out_leaves_the_evaluation_inconclusive() {
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(definitions_of(&[on("here"), persistent("blue")]));
    let poller = poller().source(api(&stub)).start().unwrap();
    let flags = LocalEvaluation::builder(&poller)
        .ask_timeout(Duration::from_millis(50))
        .attach();
    flags.wait_ready(TIMEOUT).await.unwrap();
    let server = FlagsServer::start(None);
    let (client, ada) = (server.client().await, FlagSubject::new("ada"));
    let error = flags
        .evaluate_or_ask(&client, "blue", &ada)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("experience continuity") && error.contains("timed out after 50ms"),
        "{error}"
    );
    let all = flags.evaluate_all_or_ask(&client, &ada).await;
    assert!(all["here"].is_ok() && all["blue"].is_err());
    poller.shutdown().await.unwrap();
}

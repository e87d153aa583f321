//! A web service like `examples/axum_service` whose requests are decided by ten flags: requests in a second and how long
//! they take, with flagcache and with PostHog's own SDK, by a load generator in a process of its own.
//!
//! ```text
//! cargo bench --package flagcache-benches --bench service
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use flagcache_benches::{Figure, Section, Table, bodies, is_quick};
use flagcache_core::{FlagDefinitionPoller, PostHogApi};
use flagcache_evaluation::{FlagSubject, LocalEvaluation};
use flagcache_providers::testing::ApiStub;
use flagcache_test_support::Process;
use posthog_rs::{Client, ClientOptionsBuilder, EvaluateFlagsOptions, FlagValue, LocalEvaluator};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const FLAGS: usize = 1_000;
const COHORTS: usize = 500;
/// Flags of one request. The first has no cohort, each other has one.
const OF_A_REQUEST: usize = 10;
const CONNECTIONS: usize = 8;
/// Each is captured once for each flag, before anything is measured.
const USERS: usize = 50;
const ROUNDS: usize = 3;

/// The service's names on the command line, and in the table.
const WAYS: [(&str, &str); 4] = [
    ("none", "no flag at all"),
    (
        "flagcache",
        "flagcache: `evaluate_and_capture` of ten flags",
    ),
    (
        "client",
        "posthog_rs: `Client::evaluate_flags` with ten keys, and `is_enabled` of each",
    ),
    (
        "evaluator",
        "posthog_rs: `LocalEvaluator::evaluate_flag` of ten flags, no events",
    ),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Runtime::new().unwrap();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", way, api] => runtime.block_on(serve(way, api)),
        _ => runtime.block_on(measure()),
    }
}

// ---- the service ---------------------------------------------------------------------------------------------------

/// What decides the flags of a request.
enum Service {
    None,
    Flagcache(LocalEvaluation, Client),
    Client(Client),
    Evaluator(LocalEvaluator),
}

#[derive(Deserialize)]
struct Visitor {
    user: String,
    plan: String,
}

async fn serve(way: &str, api: &str) {
    let service = match way {
        "none" => Service::None,
        "flagcache" => Service::Flagcache(evaluation(api).await, client(api, false).await),
        "client" => Service::Client(client(api, true).await),
        "evaluator" => Service::Evaluator(evaluation(api).await.evaluator()),
        other => panic!("no such service: {other}"),
    };
    let keys: Vec<String> = (0..OF_A_REQUEST).map(|at| format!("flag-{at}")).collect();
    let routes = Router::new()
        .route("/checkout", get(checkout))
        .with_state(Arc::new((service, keys)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
}

async fn evaluation(api: &str) -> LocalEvaluation {
    let source = PostHogApi::builder()
        .host(api)
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    let poller = FlagDefinitionPoller::builder()
        .source(source.build().unwrap())
        .start()
        .unwrap();
    let flags = LocalEvaluation::attach(&poller);
    flags.wait_ready(Duration::from_secs(60)).await.unwrap();
    flags
}

async fn client(api: &str, evaluates: bool) -> Client {
    let mut options = ClientOptionsBuilder::default();
    options.api_key(ApiStub::PROJECT_KEY.to_owned()).host(api);
    if evaluates {
        options
            .secret_key(ApiStub::SECRET_KEY)
            .enable_local_evaluation(true);
    }
    posthog_rs::client(options.build().unwrap()).await
}

/// How many of the flags are on.
async fn checkout(
    State(state): State<Arc<(Service, Vec<String>)>>,
    Query(Visitor { user, plan }): Query<Visitor>,
) -> String {
    let (service, keys) = &*state;
    let subject = FlagSubject::new(user)
        .property("plan", plan)
        .property("age", 30);
    let is_on = |value| matches!(value, Ok(Some(FlagValue::Boolean(true))));
    let on = match service {
        Service::None => 0,
        Service::Flagcache(flags, client) => {
            let is_on = |key: &&String| is_on(flags.evaluate_and_capture(client, key, &subject));
            keys.iter().filter(is_on).count()
        }
        Service::Client(client) => {
            let options = EvaluateFlagsOptions {
                flag_keys: Some(keys.clone()),
                only_evaluate_locally: true,
                ..(&subject).into()
            };
            let flags = client.evaluate_flags(subject.distinct_id(), options).await;
            let flags = flags.unwrap();
            keys.iter().filter(|key| flags.is_enabled(key)).count()
        }
        Service::Evaluator(evaluator) => {
            let (groups, group_properties) = (subject.groups(), subject.group_properties());
            let evaluate = |key: &&String| {
                let (id, properties) = (subject.distinct_id(), subject.properties());
                is_on(evaluator.evaluate_flag(key, id, properties, groups, group_properties))
            };
            keys.iter().filter(evaluate).count()
        }
    };
    on.to_string()
}

// ---- the load ------------------------------------------------------------------------------------------------------

/// A service in a process of its own. Killed when dropped.
struct ServiceProcess {
    _process: Process,
    address: SocketAddr,
}

impl ServiceProcess {
    fn start(way: &str, api: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = Process::start_piped(command.args(["serve", way, api])).unwrap();
        let address = process.lines().next().unwrap().parse().unwrap();
        Self {
            _process: process,
            address,
        }
    }
}

/// One connection, with one request at a time.
struct Connection(TcpStream, Vec<u8>);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream, Vec::new())
    }

    /// The body of the answer, and how long it took.
    async fn get(&mut self, user: usize) -> (String, Duration) {
        let request =
            format!("GET /checkout?user=user-{user}&plan=pro HTTP/1.1\r\nhost: service\r\n\r\n");
        let begun = Instant::now();
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.1.clear();
        loop {
            let read = self.0.read_buf(&mut self.1).await.unwrap();
            assert!(read > 0, "the service closed the connection");
            let text = std::str::from_utf8(&self.1).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                return (body.to_owned(), begun.elapsed());
            }
        }
    }
}

/// What the requests of one round took, and how many there were in a second.
async fn load(address: SocketAddr) -> (Vec<Duration>, f64) {
    let span = Duration::from_millis(if is_quick() { 500 } else { 4_000 });
    let begun = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|at| {
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                let mut took = Vec::new();
                while begun.elapsed() < span {
                    took.push(
                        connection
                            .get((at + took.len() * CONNECTIONS) % USERS)
                            .await
                            .1,
                    );
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    (took, rate)
}

async fn measure() {
    let api = ApiStub::start().await.unwrap();
    api.set_definitions(bodies::with_cohorts(FLAGS, COHORTS, 50));
    let services = WAYS.map(|(way, _)| ServiceProcess::start(way, &api.url()));
    let mut decided = Vec::new();
    for service in &services {
        let mut connection = Connection::open(service.address).await;
        let mut on = Vec::new();
        for user in 0..USERS {
            on.push(connection.get(user).await.0);
        }
        decided.push(on);
    }
    assert_eq!(decided[1], decided[2], "both decide alike");
    assert_eq!(decided[1], decided[3], "both decide alike");

    let mut runs = WAYS.map(|_| (Vec::new(), Vec::new()));
    // In turn, so that what else the machine does hits all of them.
    for _ in 0..ROUNDS {
        for (service, (took, rates)) in services.iter().zip(&mut runs) {
            let (all, rate) = load(service.address).await;
            took.extend(all);
            rates.push(rate);
        }
    }
    report(runs).finish("service");
}

fn report(runs: [(Vec<Duration>, Vec<f64>); WAYS.len()]) -> Section {
    let mut section = Section::new("A web service");
    section.say(format!(
        "A service with axum, as `examples/axum_service`, in a project of {FLAGS} flags and {COHORTS} cohorts: each request is \
         decided by {OF_A_REQUEST} flags, of which {} have a cohort. A load generator on the same machine keeps \
         {CONNECTIONS} connections busy, each with one request at a time, for {USERS} users whose exposures were captured before. \
         `cargo bench --package flagcache-benches --bench service` measures it.",
        OF_A_REQUEST - 1
    ));
    let columns = [
        "flags of a request by",
        "requests in a second",
        "median",
        "99th percentile",
    ];
    let mut table = Table::new("requests", &columns);
    for ((_, name), (mut took, mut rates)) in WAYS.into_iter().zip(runs) {
        rates.sort_by(f64::total_cmp);
        took.sort();
        let at = |share: f64| Figure::of(vec![took[(took.len() as f64 * share) as usize]]);
        let [median, late] = [0.5, 0.99].map(|share| at(share).unwrap().cells()[0].clone());
        let rate = format!("{:.0}", rates[rates.len() / 2]);
        table.row([name.to_owned(), rate, median, late]);
    }
    section.tables.push(table);
    section
}

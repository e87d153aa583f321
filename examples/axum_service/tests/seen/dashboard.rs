//! The queries of `docs/dashboards/flagcache.json`, answered by a Prometheus that scrapes this service.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flagcache::testing::{ApiReply, ApiStub};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::{LIMIT, Service, program};

const DASHBOARD: &str = include_str!("../../../../docs/dashboards/flagcache.json");

/// A Prometheus on a free port, killed when dropped.
struct Prometheus {
    _process: Child,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Starts one that scrapes these services five times a second.
    fn start(program: &Path, folder: &Path, services: &[&Service]) -> Self {
        let targets: Vec<_> = services
            .iter()
            .map(|service| service.url.trim_start_matches("http://"))
            .collect();
        // JSON is YAML.
        let config = json!({
            "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms" },
            "scrape_configs": [{ "job_name": "shop", "static_configs": [{ "targets": targets }] }],
        });
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let free = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            _process: process,
            url: format!("http://{address}/api/v1/query"),
            client: reqwest::Client::new(),
        }
    }

    /// The series that answer a query; none while it starts.
    async fn query(&self, query: &str) -> Vec<Value> {
        let url = Url::parse_with_params(&self.url, [("query", query)]).unwrap();
        let Ok(response) = self.client.get(url).send().await else {
            return Vec::new();
        };
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        assert!(!status.is_client_error(), "{query}: {answer}");
        answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

/// The queries of the panels, and those that fill the lists of the variables.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let of = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let panels = of(&dashboard["panels"]);
    let of_panels = panels
        .iter()
        .flat_map(|panel| of(&panel["targets"]))
        .map(|target| target["expr"].as_str().unwrap().to_owned());
    let of_variables = of(&dashboard["templating"]["list"])
        .into_iter()
        .filter_map(|variable| {
            let definition = variable["definition"].as_str()?.to_owned();
            let (series, label) = definition
                .strip_prefix("label_values(")?
                .strip_suffix(')')?
                .rsplit_once(", ")?;
            Some(format!("group by ({label}) ({series})"))
        });
    let all: Vec<_> = of_panels.chain(of_variables).collect();
    assert!(all.len() > 18, "{all:?}");
    all.into_iter().map(|query| chosen(&query)).collect()
}

/// The query as Grafana sends it if all is selected.
fn chosen(query: &str) -> String {
    let query = query
        .replace("$job", ".*")
        .replace("$instance", ".*")
        .replace("$flag", ".*")
        .replace("$__rate_interval", "30s");
    assert!(!query.contains('$'), "{query}");
    query
}

#[tokio::test]
#[ignore = "needs Prometheus"]
async fn a_prometheus_answers_each_query_of_the_dashboard_with_data() {
    let program = program(&["prometheus"]);
    let folder = tempfile::tempdir().unwrap();
    let (stub, down) = (
        ApiStub::start().await.unwrap(),
        ApiStub::start().await.unwrap(),
    );
    let filters = json!({ "groups": [{ "properties": [], "rollout_percentage": 100 }] });
    stub.set_definitions(
        json!({ "flags": [
            { "key": "new-checkout", "active": true, "filters": filters },
            { "key": "sticky", "active": true, "ensure_experience_continuity": true, "filters": filters },
        ] })
        .to_string(),
    );
    down.always(ApiReply::status(503));
    let no_folder = folder.path().join("a-file");
    std::fs::write(&no_folder, "").unwrap();

    let store = folder.path().join("store");
    let leader = Service::start(&stub, &store).await;
    leader.ready("leader").await;
    let follower = Service::start(&stub, &store).await;
    follower.ready("follower").await;
    let failing = Service::start(&down, &no_folder).await;
    let prometheus = Prometheus::start(&program, folder.path(), &[&leader, &follower, &failing]);

    let deadline = Instant::now() + LIMIT;
    for query in queries() {
        while prometheus.query(&query).await.is_empty() {
            assert!(Instant::now() < deadline, "no data for {query}");
            leader.layout("user=ada").await;
            sleep(Duration::from_millis(50)).await;
        }
    }
    // What the panels of one number show.
    for (query, shown) in [
        (r#"sum(flagcache_role{role="leader"})"#, "1"),
        (r#"sum(flagcache_state{state!~"ready|stopped"})"#, "1"),
        ("max(flagcache_definitions_flags)", "2"),
        ("max(flagcache_evaluation_undecidable_flags)", "1"),
        ("sum(flagcache_units_spent_total)", "10"),
    ] {
        let answer = prometheus.query(query).await;
        assert_eq!(answer[0]["value"][1], shown, "{query}");
    }
}

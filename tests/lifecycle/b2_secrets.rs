//! B2 32 and 33 through a whole run: what a poller says of its keys, and what it sends.

use std::error::Error;
use std::fmt::Debug;

use flagcache::{FlagDefinitionPoller, FlagDefinitionSource, PostHogApi, ProviderErrorKind};
use flagcache_providers::testing::{ApiReply, ApiStub, Definitions, Fault, ScriptedProvider};

use crate::support::{Logs, millis, secs};

/// The keys, and the parts of them that would give them away.
const SECRETS: [&str; 4] = [
    ApiStub::PROJECT_KEY,
    ApiStub::SECRET_KEY,
    "stub_project",
    "stub_secret",
];

/// Everything that was said in words.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn debug(&mut self, value: &dyn Debug) {
        self.0.push(format!("{value:?} {value:#?}"));
    }

    fn error(&mut self, error: &dyn Error) {
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.0.push(format!("{error} {error:?} {error:#?}"));
            cause = error.source();
        }
    }

    #[track_caller]
    fn assert_silent_about_secrets(&self) {
        for words in &self.0 {
            for secret in SECRETS {
                assert!(!words.contains(secret), "{secret} in: {words}");
            }
        }
    }
}

/// The faults of an API, as many as there are kinds.
fn faults() -> Vec<ApiReply> {
    let token = format!(
        "http://localhost:1/elsewhere?token={}",
        ApiStub::PROJECT_KEY
    );
    let mut faults: Vec<ApiReply> = [
        301, 400, 401, 402, 403, 404, 405, 418, 429, 500, 502, 503, 504,
    ]
    .map(ApiReply::status)
    .to_vec();
    faults.push(ApiReply::status(302).header("location", token.clone()));
    faults.push(ApiReply::status(503).header("retry-after", ApiStub::SECRET_KEY));
    faults.push(ApiReply::redirect(token));
    faults.push(ApiReply::reset());
    faults.push(ApiReply::usual().truncate_after(50));
    faults.push(ApiReply::usual().stall_after(50));
    faults.push(ApiReply::body(format!(
        "{{\"flags\":[{{\"key\":\"{}",
        ApiStub::SECRET_KEY
    )));
    faults
}

#[tokio::test]
async fn b2_32_no_log_line_error_or_debug_of_a_faulty_run_shows_a_key() {
    let (logs, _guard) = Logs::capture();
    let mut said = Said::default();
    let stub = ApiStub::start().await.unwrap();
    stub.set_definitions(Definitions::realistic(20, 1));
    let builder = || {
        let builder = PostHogApi::builder()
            .host(stub.url())
            .request_timeout(millis(500));
        builder
            .project_key(ApiStub::PROJECT_KEY)
            .secret_key(ApiStub::SECRET_KEY)
    };
    let api = builder().build().unwrap();
    said.debug(&builder());
    said.debug(&api);
    let bad_keys = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::SECRET_KEY)
        .build()
        .unwrap_err();
    said.error(&bad_keys);
    let bad_host = format!("http://{}@127.0.0.1:x", ApiStub::SECRET_KEY);
    said.error(&builder().host(bad_host).build().unwrap_err());

    // Each fault in its words, and through a poller of its own: a backoff would put off the next one.
    let mut faults = faults();
    faults.push(ApiReply::status(200).header("content-type", ApiStub::SECRET_KEY));
    for fault in faults {
        stub.next(fault.clone());
        if let Err(error) = api.fetch(Some("\"etag\"")).await {
            said.error(&error);
        }
        stub.next(fault);
        let provider = ScriptedProvider::new();
        provider
            .stored()
            .always_fault(Fault::Error(ProviderErrorKind::Unavailable));
        provider.publish().always_fault(Fault::Panic);
        let poller = FlagDefinitionPoller::builder()
            .source(api.clone())
            .flag_definition_cache_provider(provider);
        said.debug(&poller);
        let poller = poller.manual().start().unwrap();
        let mut changes = poller.subscribe();
        for _ in 0..2 {
            if let Err(error) = poller.refresh().await {
                said.error(&error);
            }
        }
        if let Err(error) = poller.wait_ready(millis(1)).await {
            said.error(&error);
        }
        said.debug(&poller);
        said.debug(&poller.status());
        said.debug(&poller.definitions());
        let _ = poller.shutdown().await;
        while let Some(change) = changes.next().await {
            said.debug(&change);
        }
    }
    // No server listens there any more.
    drop(stub);
    said.error(&api.fetch(None).await.unwrap_err());

    // Whatever was logged, by us or by what we are built on, at every level.
    for record in logs.all() {
        said.debug(&record);
    }
    assert!(
        logs.warnings().len() > 20 && said.0.len() > 200,
        "{} {}",
        logs.warnings().len(),
        said.0.len()
    );
    said.assert_silent_about_secrets();
}

#[tokio::test]
async fn b2_33_the_request_of_a_poller_is_the_one_that_posthog_expects() {
    let stub = ApiStub::start().await.unwrap();
    let api = PostHogApi::builder()
        .host(stub.url())
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    let poller = FlagDefinitionPoller::builder()
        .source(api.build().unwrap())
        .manual()
        .start()
        .unwrap();
    poller.refresh().await.unwrap();
    poller.refresh().await.unwrap();
    poller.wait_ready(secs(1)).await.unwrap();
    let requests = stub.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
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
        assert!(request.user_agent().unwrap().starts_with("flagcache/"));
        assert!(request.header("accept-encoding").unwrap().contains("gzip"));
    }
    assert_eq!(
        requests
            .iter()
            .map(|request| request.is_conditional())
            .collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(stub.stats().units, 11, "the second one was conditional");
    poller.shutdown().await.unwrap();
}

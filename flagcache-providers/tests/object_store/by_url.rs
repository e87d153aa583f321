//! A store that is named by a URL alone, with credentials in the environment of the process.

use std::process::Command;

use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::ProviderRegistry;

use crate::emulator::{ACCOUNT_KEY, Emulator, Kind};
use crate::sets::fetched;

const URL: &str = "FLAGCACHE_TEST_URL";

#[test]
fn a_url_and_credentials_of_the_environment_are_enough() {
    for kind in [Kind::Moto, Kind::Azurite] {
        let emulator = Emulator::start(kind);
        let url = emulator.url("by-url", emulator.port());
        let url = format!("{url}&service=checkout&lease_ttl=30s&response_timeout=20s");
        let worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "by_url::one_worker", "--ignored"])
            .env(URL, url)
            .env("AWS_ACCESS_KEY_ID", "app")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&worker.stdout);
        assert!(
            worker.status.success() && said.contains("1 passed"),
            "{kind:?}: {said}"
        );
    }
}

#[tokio::test]
#[ignore = "a process of its own, which the test above starts"]
async fn one_worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let registry = ProviderRegistry::default();
    let [writer, reader] = [(); 2].map(|()| registry.open(&url).unwrap());
    let data = fetched("beta", "\"1\"", 0);
    assert!(writer.should_fetch_flag_definitions().await.unwrap());
    writer.on_flag_definitions_received(&data).await.unwrap();
    assert!(!reader.should_fetch_flag_definitions().await.unwrap());
    let read = reader.get_flag_definitions().await.unwrap();
    assert!(read.unwrap().same_content(&data));
}

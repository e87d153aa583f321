//! A poller over a file store, configured by the environment alone. It loads at each line of its standard input, and answers
//! each with a line: `ok <flags> <units spent so far>`, or `error <text>`.

use std::error::Error;

use flagcache::{FileStore, FlagDefinitionPoller, PostHogApi};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: default-worker <folder>")?;
    let api = match PostHogApi::from_env() {
        Ok(api) => api,
        Err(error) => {
            println!("error {error:#}");
            return Ok(());
        }
    };
    let store = FileStore::builder(folder, "checkout").build()?;
    let flags = FlagDefinitionPoller::builder()
        .source(api)
        .flag_definition_cache_provider(store.provider())
        // The loads are those that are asked for.
        .manual()
        .start()?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        match (flags.refresh().await, flags.definitions()) {
            (Ok(()), Some(set)) => println!("ok {} {}", set.len(), flags.status().counters.units_spent),
            (Ok(()), None) => println!("error no definitions"),
            (Err(error), _) => println!("error {}", format!("{error:#}").replace('\n', " ")),
        }
    }
    flags.shutdown().await?;
    Ok(())
}

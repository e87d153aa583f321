//! What lies in a versioned store, read and written past its provider.
#![allow(dead_code)]

use bytes::Bytes;
use flagcache_core::{Expected, VersionedStore};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) fn key(service: &str, name: &str) -> String {
    format!("posthog/flags/{service}/{name}")
}

pub(crate) async fn head(store: &dyn VersionedStore, service: &str) -> Option<Value> {
    let (head, _) = store.read(&key(service, "head")).await.unwrap()?;
    Some(serde_json::from_slice(&head).unwrap())
}

/// Writes a key whatever its state.
pub(crate) async fn put(store: &dyn VersionedStore, key: &str, value: Bytes) {
    loop {
        let expected = store.read(key).await.unwrap().map(|(_, version)| version);
        let expected = Expected::from(expected);
        if store
            .write(key, value.clone(), expected)
            .await
            .unwrap()
            .is_some()
        {
            return;
        }
    }
}

/// Puts `copy` in the place of the current copy, as a tool would that knows the format: a worker that holds the copy that the
/// record names reads no slot at all.
pub(crate) async fn put_copy(store: &dyn VersionedStore, service: &str, copy: Bytes) {
    let empty = || json!({"schema": 1, "leader": null, "term": 0, "renewal": 0, "lease_ms": 1_000, "copy": null});
    let mut head = head(store, service).await.unwrap_or_else(empty);
    let slot = head["copy"]["slot"].as_str().unwrap_or("a").to_owned();
    let hash = format!("{:016x}", xxh3_64(&copy));
    head["copy"] = json!({"slot": slot, "length": copy.len(), "hash": hash});
    put(store, &key(service, &slot), copy).await;
    put(store, &key(service, "head"), head.to_string().into()).await;
}

//! What lies in an object store, written past its provider.
#![allow(dead_code)]

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

fn path(prefix: &str, service: &str, name: &str) -> Path {
    Path::from(format!("{prefix}/posthog/flags/{service}/{name}"))
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Option<Bytes> {
    match store.get(path).await {
        Ok(found) => Some(found.bytes().await.unwrap()),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Puts `copy` in the place of the current copy, as a tool would that knows the format, or deletes that.
pub(crate) async fn damage(
    store: &dyn ObjectStore,
    prefix: &str,
    service: &str,
    copy: Option<Bytes>,
) {
    let head_path = path(prefix, service, "head");
    let head = read(store, &head_path).await;
    let mut head: Value = match head {
        Some(head) => serde_json::from_slice(&head).unwrap(),
        None => {
            json!({"schema": 1, "leader": null, "term": 0, "renewal": 0, "lease_ms": 1_000, "copy": null})
        }
    };
    let slot = head["copy"]["slot"].as_str().unwrap_or("a").to_owned();
    let slot_path = path(prefix, service, &slot);
    let Some(copy) = copy else {
        if read(store, &slot_path).await.is_some() {
            store.delete(&slot_path).await.unwrap();
        }
        return;
    };
    let hash = format!("{:016x}", xxh3_64(&copy));
    head["copy"] = json!({"slot": slot, "length": copy.len(), "hash": hash});
    store.put(&slot_path, copy.into()).await.unwrap();
    store
        .put(&head_path, head.to_string().into())
        .await
        .unwrap();
}

//! The rules on the file store.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Worker;
use crate::rules::rules_for;
use crate::test_store::TestStore;
use crate::worker::{SERVICE, Store};

rules_for!(Folder);

pub(crate) struct Folder(TempDir);

impl Folder {
    fn file(&self, kind: &str) -> std::path::PathBuf {
        self.0.path().join(format!("{SERVICE}.{kind}"))
    }
}

impl TestStore for Folder {
    const NAME: &'static str = "file";
    const LOCK_TTL: Duration = Duration::ZERO;

    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn store(&self, _: Duration) -> Store {
        Store::File {
            folder: self.0.path().to_owned(),
        }
    }

    fn copy(&self) -> Option<Vec<u8>> {
        fs::read(self.file("json")).ok()
    }

    fn put(&self, copy: &[u8]) {
        fs::write(self.file("json"), copy).unwrap();
    }

    fn take_leadership_away(&self) {
        // The system keeps the lock of a paused process; only another lock file allows another leader.
        fs::remove_file(self.file("lock")).unwrap();
    }

    fn block_leadership(&self, leader: &mut Worker) {
        leader.pause();
    }
}

//! What two workers see between the loss of a primary and the return of the copy.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use flagcache_core::{FetchOutcome, FlagDefinitionCacheData};

use crate::worker::{Worker, version};

const AT_MOST: Duration = Duration::from_secs(40);

/// How long things took.
pub(crate) struct Recovery {
    /// From the loss of the primary until the leader had the copy put back.
    restored: Duration,
    /// For how long the follower saw an older copy.
    set_back: Duration,
}

/// Both workers load when the test calls them, and every 200 ms, as pollers with that interval would. The API answers the
/// leader that `latest`, which it has in memory, is current.
pub(crate) async fn of(
    leader: &Worker,
    follower: &Worker,
    latest: &FlagDefinitionCacheData,
    lost: Instant,
) -> Recovery {
    let interval = Duration::from_millis(200);
    let restored = Cell::new(None);
    let leads = async {
        loop {
            leader.noticed(interval).await;
            if matches!(leader.decide().await, Ok(true))
                && leader
                    .fetch_without_update(FetchOutcome::unchanged(latest))
                    .await
                    .is_ok()
            {
                return restored.set(Some(lost.elapsed()));
            }
        }
    };
    let follows = async {
        let mut older_since = None;
        loop {
            follower.noticed(interval).await;
            let was_restored = restored.get().is_some();
            let Ok(false) = follower.decide().await else {
                continue;
            };
            let Ok(Some(copy)) = follower.read().await else {
                continue;
            };
            if version(&copy) < version(latest) {
                assert!(!was_restored, "older after the leader's load");
                older_since.get_or_insert_with(Instant::now);
            } else if was_restored {
                return older_since.map(|since| since.elapsed());
            }
        }
    };
    let both = async { tokio::join!(leads, follows).1 };
    let set_back = tokio::time::timeout(AT_MOST, both)
        .await
        .expect("the copy is put back in time");
    let set_back = set_back.unwrap_or_default();
    // A load of the leader, the notification of it, and a load of the follower; the rest is for a busy machine.
    assert!(
        set_back < Duration::from_secs(2),
        "the follower was set back for {set_back:?}"
    );
    Recovery {
        restored: restored.get().unwrap(),
        set_back,
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the copy was back {:.1?} after the loss of the primary; the follower saw an older one for {:.1?}",
            self.restored, self.set_back
        )
    }
}

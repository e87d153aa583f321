//! [`DefinitionsChanges`]: a subscription to changes of the definitions.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::{DefinitionsDiff, DefinitionsOrigin, FlagDefinitionCacheData};

/// How many changes a subscriber may lag behind before they are merged into one.
pub(crate) const CHANGES_CAPACITY: usize = 64;

/// One change of the definitions in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DefinitionsChange {
    /// Counts the changes of this poller from 1.
    pub version: u64,
    /// The origin of the new definitions; `None` when a policy cleared memory.
    pub origin: Option<DefinitionsOrigin>,
    /// The keys added, removed and changed.
    pub diff: DefinitionsDiff,
    /// The previous definitions; `None` at the first load.
    pub old: Option<FlagDefinitionCacheData>,
    /// The current definitions; `None` when a policy cleared memory.
    pub new: Option<FlagDefinitionCacheData>,
}

/// What differs between what was in memory and what is.
pub(crate) fn difference(
    old: Option<&FlagDefinitionCacheData>,
    new: Option<&FlagDefinitionCacheData>,
) -> DefinitionsDiff {
    let keys = |snapshot: &FlagDefinitionCacheData| {
        snapshot.flags().map(|flag| flag.key().to_owned()).collect()
    };
    let mut diff = DefinitionsDiff::default();
    match (old, new) {
        (Some(old), Some(new)) => diff = new.diff(old),
        (None, Some(new)) => diff.added = keys(new),
        (Some(old), None) => diff.removed = keys(old),
        (None, None) => {}
    }
    diff
}

/// A subscription to the changes of one poller, from [`subscribe`](crate::FlagDefinitionPoller::subscribe).
#[derive(Debug)]
pub struct DefinitionsChanges {
    receiver: broadcast::Receiver<DefinitionsChange>,
    /// The last definitions that this subscriber saw, to compute the merged change after a lag.
    last_seen: Option<FlagDefinitionCacheData>,
    /// The next change must merge what was missed. Kept here, so that it survives a cancelled wait.
    lagged: bool,
}

impl DefinitionsChanges {
    pub(crate) fn new(
        receiver: broadcast::Receiver<DefinitionsChange>,
        last_seen: Option<FlagDefinitionCacheData>,
    ) -> Self {
        Self {
            receiver,
            last_seen,
            lagged: false,
        }
    }

    /// The next change; `None` once the poller has ended.
    /// One event per change. A subscriber that falls 64 changes behind gets one event that merges what it missed.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<DefinitionsChange> {
        loop {
            match self.receiver.recv().await {
                Ok(mut change) => {
                    if std::mem::take(&mut self.lagged) {
                        change.old = self.last_seen.take();
                        change.diff = difference(change.old.as_ref(), change.new.as_ref());
                    } else if self.has_seen(change.new.as_ref()) {
                        // Installed when the subscription began, but not announced yet.
                        continue;
                    }
                    self.last_seen.clone_from(&change.new);
                    return Some(change);
                }
                Err(RecvError::Lagged(_)) => self.lagged = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn has_seen(&self, new: Option<&FlagDefinitionCacheData>) -> bool {
        match (&self.last_seen, new) {
            (Some(seen), Some(new)) => seen.same_content(new),
            (None, None) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn set(key: &str) -> FlagDefinitionCacheData {
        FlagDefinitionCacheData::from_json(format!(r#"{{"flags":[{{"key":"{key}"}}]}}"#)).unwrap()
    }

    fn change(
        version: u64,
        old: Option<FlagDefinitionCacheData>,
        new: Option<FlagDefinitionCacheData>,
    ) -> DefinitionsChange {
        let diff = difference(old.as_ref(), new.as_ref());
        DefinitionsChange {
            version,
            origin: Some(DefinitionsOrigin::Api),
            diff,
            old,
            new,
        }
    }

    #[tokio::test]
    async fn b7_56_definitions_present_at_the_subscription_are_no_change() {
        let (sender, receiver) = broadcast::channel(CHANGES_CAPACITY);
        let mut changes = DefinitionsChanges::new(receiver, Some(set("a")));
        sender.send(change(1, None, Some(set("a")))).unwrap();
        sender
            .send(change(2, Some(set("a")), Some(set("b"))))
            .unwrap();
        sender
            .send(change(3, Some(set("b")), Some(set("a"))))
            .unwrap();
        assert_eq!(changes.next().await.unwrap().version, 2);
        assert_eq!(changes.next().await.unwrap().version, 3);
    }

    #[tokio::test]
    async fn b7_56_a_dropped_wait_loses_no_change() {
        let (sender, receiver) = broadcast::channel(2);
        let mut changes = DefinitionsChanges::new(receiver, Some(set("a")));
        for (version, [old, new]) in (1..).zip([["a", "b"], ["b", "c"], ["c", "d"]]) {
            sender
                .send(change(version, Some(set(old)), Some(set(new))))
                .unwrap();
        }
        // Each attempt has one more step of the task's budget, until one ends between the lag and its merge.
        let mut next = None;
        for left in 1.. {
            tokio::task::yield_now().await;
            for _ in left..128 {
                tokio::task::coop::consume_budget().await;
            }
            next = changes.next().now_or_never().flatten();
            if next.is_some() {
                break;
            }
        }
        let change = next.unwrap();
        let keys = |set: Option<FlagDefinitionCacheData>| {
            set.map(|set| set.flags().next().unwrap().key().to_owned())
        };
        assert_eq!(
            keys(change.old).as_deref(),
            Some("a"),
            "what this subscriber saw last"
        );
    }

    #[tokio::test]
    async fn b7_56_the_first_definitions_are_a_change() {
        let (sender, receiver) = broadcast::channel(CHANGES_CAPACITY);
        let mut changes = DefinitionsChanges::new(receiver, None);
        sender.send(change(1, None, Some(set("a")))).unwrap();
        assert_eq!(changes.next().await.unwrap().diff.added, ["a"]);
    }
}

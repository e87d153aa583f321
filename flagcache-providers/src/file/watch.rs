//! [`Watch`]: the operating system's notifications of changed files. One watcher for the whole process, because the
//! system limits their number (Linux: 128 per user).

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::builder::Files;
use super::fs::VOLUME_LINK;

/// The watcher of this process, while it is needed.
static HUB: Mutex<Weak<Hub>> = Mutex::new(Weak::new());

type OnChange = Arc<dyn Fn() + Send + Sync>;

struct Hub {
    watcher: Mutex<Watched>,
    /// A separate lock: the watcher's thread takes it while a caller may hold the other one and wait for that thread.
    listeners: Arc<Mutex<Listeners>>,
}

struct Watched {
    watcher: RecommendedWatcher,
    /// How many stores have files in each folder.
    folders: HashMap<PathBuf, usize>,
}

#[derive(Default)]
struct Listeners {
    next_id: u64,
    by_id: HashMap<u64, Listener>,
}

struct Listener {
    data: OsString,
    lock: OsString,
    refresh: OsString,
    on_change: OnChange,
}

/// Calls back until it is dropped.
pub(super) struct Watch {
    hub: Arc<Hub>,
    folder: PathBuf,
    id: u64,
}

impl Watch {
    /// Calls `on_change`, on the watcher's thread, whenever the data file may have changed, the lock may have been
    /// released or a refresh may have been requested. It must be quick, and must not drop a `Watch`.
    pub(super) fn start(files: &Files, on_change: OnChange) -> notify::Result<Self> {
        let hub = Hub::of_process()?;
        hub.watch(&files.folder)?;
        let listener = Listener {
            data: name(&files.data),
            lock: name(&files.lock),
            refresh: name(&files.refresh),
            on_change,
        };
        let id = lock(&hub.listeners).add(listener);
        Ok(Self {
            hub,
            folder: files.folder.clone(),
            id,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.hub.listeners).by_id.remove(&self.id);
        self.hub.unwatch(&self.folder);
    }
}

impl Hub {
    fn of_process() -> notify::Result<Arc<Self>> {
        let mut current = lock(&HUB);
        if let Some(hub) = current.upgrade() {
            return Ok(hub);
        }
        let listeners = Arc::new(Mutex::new(Listeners::default()));
        let shared = Arc::clone(&listeners);
        let watcher = notify::recommended_watcher(move |event| notify_listeners(&shared, event))?;
        let hub = Arc::new(Self {
            watcher: Mutex::new(Watched {
                watcher,
                folders: HashMap::new(),
            }),
            listeners,
        });
        *current = Arc::downgrade(&hub);
        Ok(hub)
    }

    fn watch(&self, folder: &Path) -> notify::Result<()> {
        let mut watched = lock(&self.watcher);
        // Requested again even if watched already: the folder may have been removed and created again. On Windows the
        // handle of the first watch would stay open, and with it the removed folder.
        if cfg!(windows) && watched.folders.contains_key(folder) {
            let _ = watched.watcher.unwatch(folder);
        }
        watched.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        *watched.folders.entry(folder.to_owned()).or_default() += 1;
        Ok(())
    }

    fn unwatch(&self, folder: &Path) {
        let mut watched = lock(&self.watcher);
        let Some(stores) = watched.folders.get_mut(folder) else {
            return;
        };
        *stores -= 1;
        if *stores == 0 {
            watched.folders.remove(folder);
            // Fails if the folder is gone, and the watch with it.
            let _ = watched.watcher.unwatch(folder);
        }
    }
}

impl Listeners {
    fn add(&mut self, listener: Listener) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.by_id.insert(id, listener);
        id
    }
}

impl Listener {
    fn cares_for(&self, event: &Event) -> bool {
        // By name alone: some systems report a folder by another path. A store with a file of this name elsewhere only
        // checks its files.
        let is_about = |file: &OsStr| {
            event
                .paths
                .iter()
                .any(|path| path.file_name() == Some(file))
        };
        match event.kind {
            // A lock is released when its holder closes the file, also when it is killed.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                is_about(&self.data) || is_about(&self.lock)
            }
            EventKind::Access(_) => false,
            EventKind::Remove(_) => is_about(&self.data) || is_about(&self.lock),
            _ => {
                is_about(&self.data) || is_about(&self.refresh) || is_about(OsStr::new(VOLUME_LINK))
            }
        }
    }
}

fn notify_listeners(listeners: &Mutex<Listeners>, event: notify::Result<Event>) {
    // An error or an overflow may have lost any store's event.
    let for_all = event.as_ref().map_or(true, Event::need_rescan);
    let concerns = |listener: &&Listener| {
        for_all || event.as_ref().is_ok_and(|event| listener.cares_for(event))
    };
    let concerned: Vec<OnChange> = lock(listeners)
        .by_id
        .values()
        .filter(concerns)
        .map(|listener| Arc::clone(&listener.on_change))
        .collect();
    for on_change in concerned {
        on_change();
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().map(OsStr::to_owned).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

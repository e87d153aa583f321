struct Store;

fn is_store<S: flagcache::VersionedStore>(_: S) {}

fn main() {
    is_store(Store);
}

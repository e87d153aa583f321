use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Borrowed<'a>(&'a str);

struct Store(String);

#[flag_cache_provider]
impl Store {
    fn should_fetch_flag_definitions(&self) -> Result<bool, Borrowed<'_>> {
        Err(Borrowed(&self.0))
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) -> Result<(), &str> {
        Err(&self.0)
    }
}

fn main() {}

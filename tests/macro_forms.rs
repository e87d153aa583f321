use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};
struct A;
#[flag_cache_provider]
impl A {
    async fn should_fetch_flag_definitions(&self) -> bool {
        true
    }
    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }
    async fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) -> Result<(), String> {
        Ok(())
    }
}
#[tokio::test]
async fn x() {
    let p: std::sync::Arc<dyn FlagDefinitionCacheProvider> = std::sync::Arc::new(A);
    assert!(p.should_fetch_flag_definitions().await.unwrap());
}

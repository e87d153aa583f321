//! `crate = path`.

use std::sync::Arc;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};

mod vendored {
    pub(crate) use flagcache as flags;

    /// A provider from a macro of another crate would find that crate by `$crate`.
    macro_rules! provider {
        ($name:ident, $krate:path) => {
            struct $name;

            #[flagcache::flag_cache_provider(crate = $krate)]
            impl $name {
                fn should_fetch_flag_definitions(&self) -> bool {
                    true
                }

                fn get_flag_definitions(
                    &self,
                ) -> Option<$crate::crate_path::vendored::flags::FlagDefinitionCacheData> {
                    None
                }

                #[allow(clippy::needless_pass_by_value)]
                fn on_flag_definitions_received(
                    &self,
                    _: $crate::crate_path::vendored::flags::FlagDefinitionCacheData,
                ) {
                }
            }
        };
        ($name:ident) => {
            struct $name;

            #[flagcache::flag_cache_provider(crate = $crate::crate_path::vendored::flags)]
            impl $name {
                async fn should_fetch_flag_definitions(&self) -> bool {
                    true
                }

                async fn get_flag_definitions(
                    &self,
                ) -> Option<$crate::crate_path::vendored::flags::FlagDefinitionCacheData> {
                    None
                }

                async fn on_flag_definitions_received(
                    &self,
                    _: &$crate::crate_path::vendored::flags::FlagDefinitionCacheData,
                ) {
                }
            }
        };
    }

    pub(crate) use provider;
}

vendored::provider!(ByArgument, crate::crate_path::vendored::flags);
vendored::provider!(ByDollarCrate);

struct Renamed;

#[flag_cache_provider(crate = self::vendored::flags,)]
impl Renamed {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

struct Absolute;

#[flag_cache_provider(crate = ::flagcache)]
impl Absolute {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

#[tokio::test]
async fn may_be_any_path() {
    let stores: [Arc<dyn FlagDefinitionCacheProvider>; 4] = [
        Arc::new(ByArgument),
        Arc::new(ByDollarCrate),
        Arc::new(Renamed),
        Arc::new(Absolute),
    ];
    for store in stores {
        assert!(store.should_fetch_flag_definitions().await.unwrap());
    }
}

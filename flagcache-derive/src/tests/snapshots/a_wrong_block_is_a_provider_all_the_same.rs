::core::compile_error! {
    "missing `get_flag_definitions` and `on_flag_definitions_received`; write in this block\n    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData>\n    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData)\nplain `fn` and `Result` do as well; `shutdown` is optional; all methods stand in one block"
}
const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    impl<T> __flagcache::FlagDefinitionCacheProvider for Store<T>
    where
        Self: ::core::marker::Send + ::core::marker::Sync + 'static,
    {
        fn should_fetch_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Decision>
        where
            'provider: 'call,
        {
            ::core::unreachable!()
        }
        fn get_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Definitions>
        where
            'provider: 'call,
        {
            ::core::unreachable!()
        }
        fn on_flag_definitions_received<'provider, 'argument, 'call>(
            &'provider self,
            _: &'argument __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'call, __flagcache::Done>
        where
            'provider: 'call,
            'argument: 'call,
        {
            ::core::unreachable!()
        }
    }
};

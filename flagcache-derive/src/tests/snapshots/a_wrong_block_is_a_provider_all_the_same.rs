::core::compile_error! {
    "missing `get_flag_definitions` and `on_flag_definitions_received`; write in this block\n    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData>\n    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData)\nplain `fn` and `Result` do as well; `shutdown` is optional"
}
const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    impl<T> __flagcache::FlagDefinitionCacheProvider for Store<T>
    where
        Self: ::core::marker::Send + ::core::marker::Sync + 'static,
    {
        fn should_fetch_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Decision>
        where
            '__provider: '__call,
        {
            ::core::unreachable!()
        }
        fn get_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Definitions>
        where
            '__provider: '__call,
        {
            ::core::unreachable!()
        }
        fn on_flag_definitions_received<'__provider, '__given, '__call>(
            &'__provider self,
            _: &'__given __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'__call, __flagcache::Done>
        where
            '__provider: '__call,
            '__given: '__call,
        {
            ::core::unreachable!()
        }
    }
};

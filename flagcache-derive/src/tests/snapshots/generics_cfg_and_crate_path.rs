const _: () = {
    use flagcache_core::macro_support as __flagcache;
    #[automatically_derived]
    impl<T: Clone, const N: usize> __flagcache::FlagDefinitionCacheProvider
    for Store<T, N>
    where
        T: Send,
        Self: __flagcache::Send + __flagcache::Sync,
    {
        #[cfg(unix)]
        fn should_fetch_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Decision>
        where
            '__provider: '__call,
        {
            __flagcache::call(move || __flagcache::Resolve::<
                __flagcache::Decision,
                _,
            >::resolve(Self::should_fetch_flag_definitions(self)))
        }
        #[cfg(not(unix))]
        fn should_fetch_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Decision>
        where
            '__provider: '__call,
        {
            __flagcache::Boxed::pin(async move {
                __flagcache::IntoOutcome::<
                    __flagcache::Decision,
                >::into_outcome(Self::should_fetch_flag_definitions(self).await)
            })
        }
        fn get_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Definitions>
        where
            '__provider: '__call,
        {
            __flagcache::call(move || __flagcache::Resolve::<
                __flagcache::Definitions,
                _,
            >::resolve(Self::get_flag_definitions(self)))
        }
        fn on_flag_definitions_received<'__provider, '__given, '__call>(
            &'__provider self,
            __given: &'__given __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'__call, __flagcache::Done>
        where
            '__provider: '__call,
            '__given: '__call,
        {
            __flagcache::call(move || __flagcache::Resolve::<
                __flagcache::Done,
                _,
            >::resolve(
                Self::on_flag_definitions_received(
                    self,
                    __flagcache::Argument::argument(__flagcache::Given(__given)),
                ),
            ))
        }
    }
    #[automatically_derived]
    impl<T: Clone, const N: usize> __flagcache::Shareable for Store<T, N>
    where
        T: Send,
    {}
};

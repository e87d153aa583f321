const _: () = {
    use flagcache_core::macro_support as __flagcache;
    #[automatically_derived]
    impl<T: Clone, const N: usize> __flagcache::FlagDefinitionCacheProvider
    for Store<T, N>
    where
        T: Send,
        for<'any> <Self as __flagcache::Itself<
            'any,
        >>::Type: __flagcache::Send + __flagcache::Sync,
    {
        #[cfg(unix)]
        fn should_fetch_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Decision>
        where
            'provider: 'call,
        {
            __flagcache::call(move || __flagcache::DecisionReturn::resolve(
                Self::should_fetch_flag_definitions(self),
                __flagcache::MethodError::into_provider_error,
            ))
        }
        #[cfg(not(unix))]
        fn should_fetch_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Decision>
        where
            'provider: 'call,
        {
            __flagcache::Boxed::pin(async move {
                __flagcache::DecisionValue::outcome(
                    Self::should_fetch_flag_definitions(self).await,
                    __flagcache::MethodError::into_provider_error,
                )
            })
        }
        fn get_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Definitions>
        where
            'provider: 'call,
        {
            __flagcache::call(move || __flagcache::DefinitionsReturn::resolve(
                Self::get_flag_definitions(self),
                __flagcache::GenericMethodError::into_provider_error,
            ))
        }
        fn on_flag_definitions_received<'provider, 'argument, 'call>(
            &'provider self,
            poller_argument: &'argument __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'call, __flagcache::Done>
        where
            'provider: 'call,
            'argument: 'call,
        {
            __flagcache::call(move || __flagcache::DoneReturn::resolve(
                Self::on_flag_definitions_received(
                    self,
                    __flagcache::DefinitionsArgument::argument(
                        __flagcache::Given(poller_argument),
                    ),
                ),
                __flagcache::MethodError::into_provider_error,
            ))
        }
        #[cfg(not(any(all(unix), all(not(unix)))))]
        fn should_fetch_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Decision>
        where
            'provider: 'call,
        {
            ::core::compile_error! {
                "`should_fetch_flag_definitions` is required, and configured out here; write it for this configuration as well"
            }
        }
    }
    #[automatically_derived]
    impl<T: Clone, const N: usize> __flagcache::SharedProviderOf for Store<T, N>
    where
        T: Send,
    {}
};

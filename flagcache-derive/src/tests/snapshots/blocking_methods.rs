const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    impl __flagcache::FlagDefinitionCacheProvider for Store
    where
        for<'any> <Self as __flagcache::Itself<
            'any,
        >>::Type: __flagcache::Send + __flagcache::Sync,
    {
        fn should_fetch_flag_definitions<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Decision>
        where
            'provider: 'call,
        {
            __flagcache::call(move || {
                __flagcache::blocking(
                    self,
                    <Self as __flagcache::CloneForThread<_>>::clone_for_thread,
                    (),
                    |__provider, __detached| __flagcache::DecisionValue::outcome(
                        Self::should_fetch_flag_definitions(__provider),
                        __flagcache::MethodError::into_provider_error,
                    ),
                )
            })
        }
        fn on_flag_definitions_received<'provider, 'argument, 'call>(
            &'provider self,
            poller_argument: &'argument __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'call, __flagcache::Done>
        where
            'provider: 'call,
            'argument: 'call,
        {
            __flagcache::call(move || {
                __flagcache::blocking(
                    self,
                    <Self as __flagcache::CloneForThread<_>>::clone_for_thread,
                    __flagcache::Detach::detach(poller_argument),
                    |__provider, __detached| __flagcache::DoneValue::outcome(
                        Self::on_flag_definitions_received(
                            __provider,
                            __flagcache::DefinitionsArgument::argument(
                                __flagcache::Given(__flagcache::Lend::lend(__detached)),
                            ),
                        ),
                        __flagcache::MethodError::into_provider_error,
                    ),
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
                __flagcache::MethodError::into_provider_error,
            ))
        }
    }
    const _: () = <Store as __flagcache::SharedProvider<_>>::CHECKED;
};

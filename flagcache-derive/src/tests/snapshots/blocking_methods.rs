const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    impl __flagcache::FlagDefinitionCacheProvider for Store
    where
        Self: __flagcache::Send + __flagcache::Sync,
    {
        fn should_fetch_flag_definitions<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Decision>
        where
            '__provider: '__call,
        {
            __flagcache::call(move || {
                __flagcache::blocking(
                    self,
                    <Self as __flagcache::ClonedProvider>::cloned_provider,
                    (),
                    |__provider, __detached| __flagcache::IntoOutcome::<
                        __flagcache::Decision,
                    >::into_outcome(Self::should_fetch_flag_definitions(__provider)),
                )
            })
        }
        fn on_flag_definitions_received<'__provider, '__given, '__call>(
            &'__provider self,
            __given: &'__given __flagcache::FlagDefinitionCacheData,
        ) -> __flagcache::Call<'__call, __flagcache::Done>
        where
            '__provider: '__call,
            '__given: '__call,
        {
            __flagcache::call(move || {
                __flagcache::blocking(
                    self,
                    <Self as __flagcache::ClonedProvider>::cloned_provider,
                    __flagcache::Detach::detach(__given),
                    |__provider, __detached| __flagcache::IntoOutcome::<
                        __flagcache::Done,
                    >::into_outcome(
                        Self::on_flag_definitions_received(
                            __provider,
                            __flagcache::Argument::argument(
                                __flagcache::Given(__flagcache::Lend::lend(__detached)),
                            ),
                        ),
                    ),
                )
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
    }
};

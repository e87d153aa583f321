const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    #[allow(clippy::pedantic)]
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
            __flagcache::Boxed::pin(async move {
                __flagcache::IntoOutcome::<
                    __flagcache::Done,
                >::into_outcome(
                    Self::on_flag_definitions_received(
                            self,
                            __flagcache::Argument::argument(__flagcache::Given(__given)),
                        )
                        .await,
                )
            })
        }
        #[allow(deprecated)]
        fn shutdown<'__provider, '__call>(
            &'__provider self,
        ) -> __flagcache::Call<'__call, __flagcache::Done>
        where
            '__provider: '__call,
        {
            __flagcache::call(move || __flagcache::Resolve::<
                __flagcache::Done,
                _,
            >::resolve(Self::shutdown(self)))
        }
        fn on_fetch_without_update<'__provider, '__given, '__call>(
            &'__provider self,
            __given: __flagcache::FetchOutcome<'__given>,
        ) -> __flagcache::Call<'__call, __flagcache::Done>
        where
            '__provider: '__call,
            '__given: '__call,
        {
            __flagcache::Boxed::pin(async move {
                __flagcache::IntoOutcome::<
                    __flagcache::Done,
                >::into_outcome(
                    Self::on_fetch_without_update(
                            self,
                            __flagcache::Argument::argument(__flagcache::Given(__given)),
                        )
                        .await,
                )
            })
        }
        fn on_poller_attached(&self, __given: __flagcache::PollerContext) {
            Self::on_poller_attached(
                self,
                __flagcache::Argument::argument(__flagcache::Given(__given)),
            )
        }
    }
};

const _: () = {
    use ::flagcache::macro_support as __flagcache;
    #[automatically_derived]
    #[allow(clippy::pedantic)]
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
                __flagcache::MethodError::into_provider_error,
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
            __flagcache::Boxed::pin(async move {
                __flagcache::DoneValue::outcome(
                    Self::on_flag_definitions_received(
                            self,
                            __flagcache::DefinitionsArgument::argument(
                                __flagcache::Given(poller_argument),
                            ),
                        )
                        .await,
                    __flagcache::MethodError::into_provider_error,
                )
            })
        }
        #[allow(deprecated)]
        fn shutdown<'provider, 'call>(
            &'provider self,
        ) -> __flagcache::Call<'call, __flagcache::Done>
        where
            'provider: 'call,
        {
            __flagcache::call(move || __flagcache::DoneReturn::resolve(
                Self::shutdown(self),
                __flagcache::MethodError::into_provider_error,
            ))
        }
        fn on_fetch_without_update<'provider, 'call>(
            &'provider self,
            poller_argument: __flagcache::FetchOutcome,
        ) -> __flagcache::Call<'call, __flagcache::Done>
        where
            'provider: 'call,
        {
            __flagcache::Boxed::pin(async move {
                __flagcache::DoneValue::outcome(
                    Self::on_fetch_without_update(
                            self,
                            __flagcache::OutcomeArgument::argument(
                                __flagcache::Given(poller_argument),
                            ),
                        )
                        .await,
                    __flagcache::MethodError::into_provider_error,
                )
            })
        }
        fn on_poller_attached(&self, poller_argument: __flagcache::PollerContext) {
            Self::on_poller_attached(
                self,
                __flagcache::ContextArgument::argument(
                    __flagcache::Given(poller_argument),
                ),
            )
        }
    }
    const _: () = <Store as __flagcache::SharedProvider<_>>::CHECKED;
};

//! The expansion uses nothing that the user's scope could lack or change, and offends no lint.

mod no_prelude {
    #![no_implicit_prelude]

    #[derive(::std::clone::Clone)]
    pub(crate) struct Store;

    #[::flagcache::flag_cache_provider]
    impl Store {
        async fn should_fetch_flag_definitions(&self) -> bool {
            true
        }

        #[flag_cache(blocking)]
        fn get_flag_definitions(
            &self,
        ) -> ::std::option::Option<::flagcache::FlagDefinitionCacheData> {
            ::std::option::Option::None
        }

        fn on_flag_definitions_received(&self, _: ::flagcache::FlagDefinitionCacheData) {}

        #[flag_cache(blocking)]
        fn on_fetch_without_update(&self, _: ::flagcache::FetchOutcome) {}

        fn on_poller_attached(&self, _: ::flagcache::PollerContext) {}

        fn shutdown(&self) -> impl ::std::future::Future<Output = ()> + ::std::marker::Send {
            ::std::future::ready(())
        }
    }
}

mod hostile_names {
    #![allow(
        non_camel_case_types,
        dead_code,
        non_upper_case_globals,
        unused_macros,
        clippy::wrong_self_convention
    )]

    // Names that a careless expansion would pick up.
    pub(crate) struct Box;
    pub(crate) struct Pin;
    pub(crate) struct Result;
    pub(crate) struct Ok;
    pub(crate) struct Err;
    pub(crate) struct Some;
    pub(crate) struct None;
    pub(crate) struct Send;
    pub(crate) struct Sync;
    pub(crate) struct Clone;
    pub(crate) struct String;
    pub(crate) struct bool;
    pub(crate) struct str;
    pub(crate) struct Call;
    pub(crate) struct Done;
    pub(crate) struct Given;
    pub(crate) struct FlagDefinitionCacheProvider;
    pub(crate) struct FlagDefinitionCacheData;
    pub(crate) struct PollerContext;
    pub(crate) struct FetchOutcome;
    pub(crate) trait Future {}
    pub(crate) trait IntoOutcome {}
    pub(crate) trait Resolve {}
    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod flagcache {}
    pub(crate) mod flagcache_core {}
    pub(crate) mod macro_support {}
    pub(crate) const call: u8 = 0;
    pub(crate) static data: u8 = 0;
    macro_rules! unreachable {
        () => {
            compile_error!("not ours")
        };
    }

    type Definitions = ::std::option::Option<::flagcache::FlagDefinitionCacheData>;
    type Decision = ::std::primitive::bool;

    #[derive(::std::clone::Clone)]
    pub(crate) struct Store;

    /// Methods on everything: a method call in the expansion would be ambiguous.
    pub(crate) trait Noise {
        fn clone(&self) {}
        fn into_outcome(&self) {}
        fn resolve(&self) {}
        fn argument(&self) {}
        fn detach(&self) {}
        fn lend(&self) {}
        fn map(&self) {}
        fn into(&self) {}
    }

    impl<T: ?::std::marker::Sized> Noise for T {}

    #[::flagcache::flag_cache_provider]
    impl Store {
        async fn should_fetch_flag_definitions(&self) -> Decision {
            true
        }

        #[flag_cache(blocking)]
        fn get_flag_definitions(&self) -> Definitions {
            Definitions::None
        }

        #[flag_cache(blocking)]
        fn on_flag_definitions_received(&self, _: &::flagcache::FlagDefinitionCacheData) {}

        fn on_fetch_without_update(&self, _: ::flagcache::FetchOutcome) {}

        fn on_poller_attached(&self, _: ::flagcache::PollerContext) {}

        fn shutdown(&self) -> impl ::std::future::Future<Output = ()> + ::std::marker::Send {
            ::std::future::ready(())
        }
    }
}

mod strict_lints {
    #![deny(
        warnings,
        keyword_idents,
        let_underscore,
        nonstandard_style,
        rust_2018_idioms,
        unused,
        clippy::all,
        clippy::cargo,
        clippy::nursery,
        clippy::pedantic,
        deprecated,
        elided_lifetimes_in_paths,
        explicit_outlives_requirements,
        missing_copy_implementations,
        missing_debug_implementations,
        missing_docs,
        redundant_lifetimes,
        single_use_lifetimes,
        trivial_bounds,
        trivial_casts,
        trivial_numeric_casts,
        unit_bindings,
        unreachable_pub,
        unsafe_code,
        unused_import_braces,
        unused_lifetimes,
        unused_macro_rules,
        unused_qualifications,
        unused_results,
        variant_size_differences
    )]
    // Not `clippy::same_name_method` and `clippy::single_call_fn`: the trait's methods and the user's have the same names, and
    // each calls the other once. That is the idea.
    #![deny(
        clippy::absolute_paths,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::arbitrary_source_item_ordering,
        clippy::clone_on_ref_ptr,
        clippy::default_numeric_fallback,
        clippy::expect_used,
        clippy::implicit_return,
        clippy::impl_trait_in_params,
        clippy::items_after_statements,
        clippy::let_underscore_must_use,
        clippy::min_ident_chars,
        clippy::missing_docs_in_private_items,
        clippy::module_name_repetitions,
        clippy::panic,
        clippy::pattern_type_mismatch,
        clippy::pub_use,
        clippy::question_mark_used,
        clippy::renamed_function_params,
        clippy::semicolon_outside_block,
        clippy::shadow_reuse,
        clippy::shadow_same,
        clippy::shadow_unrelated,
        clippy::single_char_lifetime_names,
        clippy::std_instead_of_alloc,
        clippy::std_instead_of_core,
        clippy::type_complexity,
        clippy::unreachable,
        clippy::unused_trait_names,
        clippy::unwrap_used
    )]
    #![allow(
        clippy::needless_return,
        clippy::redundant_pub_crate,
        reason = "each contradicts another lint of the list"
    )]
    #![allow(
        clippy::missing_const_for_fn,
        clippy::trivially_copy_pass_by_ref,
        clippy::unused_self,
        reason = "the methods have nothing in them; these lints leave trait impls alone"
    )]

    use core::future::ready;

    use flagcache::{FetchOutcome, FlagDefinitionCacheData, PollerContext, flag_cache_provider};

    /// A provider with a deprecated method.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Deprecated;

    #[flag_cache_provider]
    impl Deprecated {
        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            return None;
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

        #[deprecated]
        fn should_fetch_flag_definitions(&self) -> bool {
            return true;
        }
    }

    /// A provider.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Store;

    #[flag_cache_provider]
    impl Store {
        #[flag_cache(blocking)]
        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            return None;
        }

        async fn on_fetch_without_update(&self, _: FetchOutcome) {
            return ready(()).await;
        }

        #[flag_cache(blocking)]
        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

        fn on_poller_attached(&self, _: PollerContext) {}

        fn peek_flag_definitions(
            &self,
        ) -> impl Future<Output = Option<FlagDefinitionCacheData>> + Send {
            return ready(None);
        }

        async fn should_fetch_flag_definitions(&self) -> bool {
            return ready(true).await;
        }

        fn shutdown(&self) {}
    }
}

#[tokio::test]
async fn each_is_a_provider() {
    use flagcache::FlagDefinitionCacheProvider;
    use std::sync::Arc;

    let stores: [Arc<dyn FlagDefinitionCacheProvider>; 4] = [
        Arc::new(no_prelude::Store),
        Arc::new(hostile_names::Store),
        Arc::new(strict_lints::Store),
        Arc::new(strict_lints::Deprecated),
    ];
    for store in stores {
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        assert!(store.get_flag_definitions().await.unwrap().is_none());
        store.shutdown().await.unwrap();
    }
}

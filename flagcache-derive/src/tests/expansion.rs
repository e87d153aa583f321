//! The expansion as one would read it. `UPDATE_EXPECT=1` writes the files anew.

use expect_test::expect_file;
use proc_macro2::TokenStream;
use quote::quote;

use crate::frame;
use crate::open_provider;
use crate::provider::ProviderMethod;

/// The output without the block itself, which goes back as it came.
fn expansion_of(args: TokenStream, block: TokenStream) -> String {
    let file: syn::File = syn::parse2(frame::generate::<ProviderMethod>(args, block)).unwrap();
    let mut items = file.items.into_iter();
    items.next().unwrap();
    let rest = syn::File {
        shebang: None,
        frontmatter: None,
        attrs: Vec::new(),
        items: items.collect(),
    };
    prettyplease::unparse(&rest)
}

#[test]
fn every_shape_of_method() {
    let block = quote! {
        #[allow(clippy::pedantic)]
        impl Store {
            async fn should_fetch_flag_definitions(&self) -> bool {
                true
            }

            fn get_flag_definitions(&self) -> Answer<'_> {
                None
            }

            fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> impl Future<Output = io::Result<()>> {
                async { Ok(()) }
            }

            #[deprecated]
            fn shutdown(&self) {}

            fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async {})
            }

            fn on_poller_attached(&self, context: PollerContext) {}
        }
    };
    expect_file!["snapshots/every_shape_of_method.rs"].assert_eq(&expansion_of(quote!(), block));
}

#[test]
fn blocking_methods() {
    let block = quote! {
        impl Store {
            #[flag_cache(blocking)]
            fn should_fetch_flag_definitions(&self) -> bool {
                true
            }

            #[flag_cache(blocking)]
            fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) {}

            fn get_flag_definitions(&self) -> Option<&FlagDefinitionCacheData> {
                None
            }
        }
    };
    expect_file!["snapshots/blocking_methods.rs"].assert_eq(&expansion_of(quote!(), block));
}

#[test]
fn generics_cfg_and_crate_path() {
    let block = quote! {
        impl<T: Clone, const N: usize> Store<T, N>
        where
            T: Send,
        {
            #[cfg(unix)]
            fn should_fetch_flag_definitions(&self) -> bool {
                true
            }

            #[cfg(not(unix))]
            async fn should_fetch_flag_definitions(&self) -> bool {
                false
            }

            fn get_flag_definitions(&self) -> T::Answer {
                None
            }

            fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) {}
        }
    };
    let expansion = expansion_of(quote!(crate = flagcache_core), block);
    expect_file!["snapshots/generics_cfg_and_crate_path.rs"].assert_eq(&expansion);
}

#[test]
fn a_wrong_block_is_a_provider_all_the_same() {
    let block = quote! {
        impl<T> Store<T> {
            fn should_fetch_flag_definitions(&self) -> bool {
                true
            }
        }
    };
    let expansion = expansion_of(quote!(), block);
    expect_file!["snapshots/a_wrong_block_is_a_provider_all_the_same.rs"].assert_eq(&expansion);
}

#[test]
fn of_two_halves_the_first_is_reported() {
    let first = quote!(impl Halved { fn should_fetch_flag_definitions(&self) -> bool { true } });
    let second = quote! {
        impl Halved {
            fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> { None }
            fn on_flag_definitions_received(&self, _: FlagDefinitionCacheData) {}
        }
    };
    for _ in 0..2 {
        assert!(
            frame::generate::<ProviderMethod>(quote!(), first.clone())
                .to_string()
                .contains("compile_error")
        );
        assert_eq!(
            frame::generate::<ProviderMethod>(quote!(), second.clone()).to_string(),
            second.to_string()
        );
    }
}

#[test]
fn the_block_goes_back_as_it_came() {
    let block = quote! {
        /// Documentation.
        #[cfg(unix)]
        impl<T> self::Store<T>
        where
            T: Send,
        {
            #![allow(dead_code)]

            const LIMIT: [u8; { 1 + 2 }] = { [0; 3] };
            pub(crate) const fn new<const N: usize>(mut self: Box<Self>, (a, b): (u8, u8)) -> impl Fn(u8) -> u8 + use<T> {
                syntax of the "future" => ?!
            }
            helper! { any tokens }
            helper!(any tokens);
            pub unsafe extern "C" fn raw() {}
            default fn specialised() {}
            type Alias = u8;

            async fn should_fetch_flag_definitions(&self) -> bool { true }
            fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> { None }
            fn on_flag_definitions_received(&self, _: FlagDefinitionCacheData) {}
        }
    };
    let output = frame::generate::<ProviderMethod>(quote!(), block.clone()).to_string();
    assert!(output.starts_with(&block.to_string()), "{output}");
    assert!(!output.contains("compile_error"), "{output}");
}

#[test]
fn options_of_a_url() {
    let configuration = quote! {
        #[open_provider(schemes("etcd", "etcds"), crate = flags)]
        struct EtcdUrl {
            #[open_provider(url)]
            url: StoreUrl,
            /// What the keys
            /// begin with.
            ///
            /// Required.
            prefix: String,
            #[open_provider(default = "10s")]
            ttl: Duration,
            r#type: Option<u16>,
            #[open_provider(schemes("etcds"))]
            ca: std::option::Option<PathBuf>,
        }
    };
    let file = syn::parse2(open_provider::generate(configuration)).unwrap();
    expect_file!["snapshots/options_of_a_url.rs"].assert_eq(&prettyplease::unparse(&file));
}

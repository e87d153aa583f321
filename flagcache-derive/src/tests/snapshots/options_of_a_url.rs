const _: () = {
    use flags::registry::support as __flagcache;
    #[automatically_derived]
    impl __flagcache::OpenProvider for EtcdUrl {
        const SCHEMES: &'static [&'static str] = &["etcd", "etcds"];
        const OPTIONS: &'static [__flagcache::UrlOption] = &[
            __flagcache::UrlOption::required(
                "prefix",
                "What the keys begin with.\nRequired.",
            ),
            __flagcache::UrlOption::optional("ttl", "").with_default("10s"),
            __flagcache::UrlOption::optional("type", ""),
            __flagcache::UrlOption::optional("ca", "").with_schemes(&["etcds"]),
        ];
        fn provider_at(__url: &__flagcache::StoreUrl) -> __flagcache::Opened {
            let __config: Self = ::core::convert::TryFrom::try_from(__url)?;
            __flagcache::OpenOutcome::into_opened(EtcdUrl::open(__config))
        }
    }
    #[automatically_derived]
    impl ::core::convert::TryFrom<&__flagcache::StoreUrl> for EtcdUrl {
        type Error = __flagcache::RegistryError;
        fn try_from(
            __url: &__flagcache::StoreUrl,
        ) -> ::core::result::Result<Self, Self::Error> {
            __flagcache::known_options::<Self>(__url)?;
            ::core::result::Result::Ok(Self {
                url: __flagcache::url(__url),
                prefix: __flagcache::required::<String>(__url, "prefix")?,
                ttl: __flagcache::with_default::<Duration>(__url, "ttl", "10s")?,
                r#type: __flagcache::optional::<u16>(__url, "type")?,
                ca: __flagcache::optional::<PathBuf>(__url, "ca")?,
            })
        }
    }
};

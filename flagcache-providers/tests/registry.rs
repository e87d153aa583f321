//! Stores by their URLs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError};
use flagcache_derive::OpenProvider;
use flagcache_providers::registry::{
    ExposeSecret, OpenProvider, Opened, ProviderRegistry, RegistryError, SecretString, StoreUrl,
    UrlOption,
};

/// What a third party registers.
struct Mine;

#[async_trait]
impl FlagDefinitionCacheProvider for Mine {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(None)
    }

    async fn on_flag_definitions_received(
        &self,
        _data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// What its URLs configure, by hand.
struct MineUrl;

impl OpenProvider for MineUrl {
    const SCHEMES: &'static [&'static str] = &["mine"];
    const OPTIONS: &'static [UrlOption] = &[
        UrlOption::optional("name", ""),
        UrlOption::optional("fast", ""),
        UrlOption::optional("limit", ""),
    ];

    fn provider_at(url: &StoreUrl) -> Opened {
        assert_eq!(
            (url.scheme(), url.host(), url.port(), url.path()),
            ("mine", Some("host"), Some(7), "/path")
        );
        assert_eq!(
            url.expose_with_options(&["name"]),
            "mine://user:hunter2@host:7/path?name=a+b"
        );
        assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
        assert_eq!(url.required::<String>("name")?, "a b");
        assert_eq!(url.value("fast")?, Some(true));
        assert_eq!(url.value("limit")?, Some(Duration::from_secs(300)));
        Ok(Box::new(Mine))
    }
}

/// The same by the derive, with an option of each kind.
#[derive(OpenProvider)]
#[open_provider(schemes("derived", "derived+tls"), crate = flagcache_providers)]
struct DerivedUrl {
    #[open_provider(url)]
    url: StoreUrl,
    /// The name of
    /// the service.
    ///
    /// It is required.
    name: String,
    /// How often.
    #[open_provider(default = "3")]
    retries: u16,
    #[open_provider(default = "10s")]
    ttl: Duration,
    size: Option<u64>,
    fast: Option<bool>,
    token: Option<SecretString>,
    #[open_provider(schemes("derived+tls"))]
    r#ca: Option<PathBuf>,
}

impl DerivedUrl {
    fn open(self) -> Result<Mine, String> {
        assert_eq!(self.url.host(), Some("host"));
        match self.name.as_str() {
            "none" => {
                assert_eq!((self.retries, self.ttl), (3, Duration::from_secs(10)));
                assert_eq!((self.size, self.fast, self.ca), (None, None, None));
                assert!(self.token.is_none());
            }
            "all" => {
                assert_eq!((self.retries, self.ttl), (7, Duration::from_millis(5)));
                assert_eq!((self.size, self.fast), (Some(1 << 40), Some(true)));
                assert_eq!(self.ca, Some(PathBuf::from("/ca.pem")));
                let token = self.token.ok_or("no token")?;
                assert_eq!(token.expose_secret(), "hunter2");
                assert!(!format!("{token:?}").contains("hunter2"));
            }
            _ => return Err("there is no such service".to_owned()),
        }
        Ok(Mine)
    }
}

/// As a macro of the user's writes it: a type, a text or a path from a variable is a group without delimiters.
macro_rules! from_variables {
    ($krate:path, $size:ty, $limit:ty, $default:literal, $text:expr) => {
        #[derive(OpenProvider)]
        #[open_provider(schemes("macro"), crate = $krate)]
        struct MacroUrl {
            #[doc = $text]
            size: $size,
            #[open_provider(default = $default)]
            limit: $limit,
        }
    };
}

from_variables!(
    flagcache_providers,
    Option<u16>,
    Duration,
    "5s",
    "How much."
);

impl MacroUrl {
    fn open(self) -> Result<Mine, String> {
        assert_eq!((self.size, self.limit), (None, Duration::from_secs(5)));
        Ok(Mine)
    }
}

#[test]
fn a_configuration_may_come_from_a_macro() {
    let registry = ProviderRegistry::empty().register::<MacroUrl>().unwrap();
    assert!(registry.open("macro:").is_ok());
    let option = registry.options("macro")[0];
    assert!(!option.required);
    assert_eq!(option.description, "How much.");
}

fn registry() -> ProviderRegistry {
    ProviderRegistry::default()
        .register::<MineUrl>()
        .unwrap()
        .register::<DerivedUrl>()
        .unwrap()
}

/// The error of a URL, with the causes, after a look for what must not be in it.
fn refused(url: &str) -> String {
    let error = registry()
        .open(url)
        .err()
        .unwrap_or_else(|| panic!("{url} was opened"));
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    for shown in [&text, &format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    text
}

#[test]
fn a_registered_scheme_is_opened_with_its_options() {
    assert!(
        registry()
            .open("mine://user:hunter2@host:7/path?name=a%20b&fast=true&limit=5m")
            .is_ok()
    );
}

#[test]
fn each_mistake_is_named_and_no_secret_shown() {
    for (url, words) in [
        ("", "the store's URL cannot be read; write scheme:…"),
        ("/var/cache/hunter2", "the store's URL cannot be read"),
        ("://hunter2", "the store's URL cannot be read"),
        (
            "etcd://:hunter2@host",
            "there is no store for the scheme etcd; known: ",
        ),
        (
            "mine://u:hunter2@host:7/path?nam=hunter2",
            "have no option `nam`; their options: name, fast, limit",
        ),
        (
            "mine://u:hunter2@host:7/path?name=hunter2&name=b",
            "option `name` of this mine URL is repeated",
        ),
        (
            "mine://user:hunter2@host:7/path?name=a+b&fast=hunter2",
            "option `fast` of this mine URL is invalid",
        ),
        (
            "mine://user:hunter2@host:7/path?name=a+b&fast=true&limit=5",
            "whole number with a unit",
        ),
        (
            "mine://user:hunter2@host:7/path?name=a+b&fast=true&limit=99999999999999999999s",
            "whole number with a unit",
        ),
        ("mine://user:hunter2@host:7/pa#th", "write %23"),
        ("mine://user:1?hunter2@host:7/path?name=a%20b", "write %3F"),
    ] {
        let error = refused(url);
        assert!(error.contains(words), "{url}: {error}");
    }
}

#[test]
fn a_derived_configuration_is_read_with_its_types() {
    for url in [
        "derived://host?name=none",
        "derived+tls://host?name=all&retries=7&ttl=5ms&size=1099511627776&fast=true&token=hunter2&ca=/ca.pem",
    ] {
        registry().open(url).unwrap();
    }
}

#[test]
fn each_mistake_in_a_derived_url_is_named_and_no_secret_shown() {
    for (rest, words) in [
        (
            "://host",
            "derived URLs require the option `name`; add name=… after the question mark",
        ),
        ("://host?name=", "derived URLs require the option `name`"),
        (
            "://host?name=x",
            "cannot be set up: there is no such service",
        ),
        (
            "://host?name=all&retires=3",
            "have no option `retires`; their options: name, retries, ttl, size, fast, token; did you mean `retries`?",
        ),
        (
            "://host?name=all&xyz=hunter2",
            "have no option `xyz`; their options: name, retries, ttl, size, fast, token",
        ),
        ("://host?name=all&ca=/ca.pem", "have no option `ca`"),
        ("+tls://host?name=all&cb=/ca.pem", "did you mean `ca`?"),
        (
            "://host?name=all&retries=hunter2",
            "option `retries` of this derived URL is invalid; give a whole number from 0 to 65535",
        ),
        (
            "://host?name=all&retries=65536",
            "give a whole number from 0 to 65535",
        ),
        (
            "://host?name=all&ttl=10",
            "give a whole number with a unit: 500ms, 10s, 5m, 24h",
        ),
        (
            "://host?name=all&size=-1",
            "give a whole number from 0 to 18446744073709551615",
        ),
        ("://host?name=all&fast=yes", "give true or false"),
        (
            "://host?token=hunter2&token=hunter2",
            "option `token` of this derived URL is repeated; give it once",
        ),
    ] {
        let error = refused(&format!("derived{rest}"));
        assert!(error.contains(words), "{rest}: {error}");
    }
    assert!(refused("derivd://host").contains("did you mean derived?"));
}

#[test]
fn the_options_of_a_scheme_are_known_with_their_descriptions() {
    let registry = registry();
    let names = |scheme| -> Vec<_> { registry.options(scheme).iter().map(|it| it.name).collect() };
    assert_eq!(
        names("derived"),
        ["name", "retries", "ttl", "size", "fast", "token"]
    );
    assert_eq!(names("derived+tls").last(), Some(&"ca"));
    assert!(names("etcd").is_empty());
    let [name, retries, ..] = registry.options("derived") else {
        panic!("{:?}", registry.options("derived"))
    };
    assert_eq!(
        name.description,
        "The name of the service.\nIt is required."
    );
    assert!(name.required && name.default.is_none());
    assert!(!retries.required);
    assert_eq!(retries.default, Some("3"));
}

/// The documentation of the module lists all options of the stores.
#[test]
fn each_option_of_a_bundled_store_is_described_and_documented() {
    let page = include_str!("../src/registry/mod.rs");
    let registry = ProviderRegistry::default();
    for scheme in registry.schemes() {
        for option in registry.options(scheme) {
            assert!(!option.description.is_empty(), "{scheme}: {}", option.name);
            let opened = [format!("`{}`", option.name), format!("`{}=", option.name)];
            assert!(
                opened.iter().any(|it| page.contains(it)),
                "{scheme}: {}",
                option.name
            );
        }
    }
}

#[test]
fn a_scheme_is_registered_once_and_must_be_one() {
    assert!(matches!(
        registry().register::<MineUrl>(),
        Err(RegistryError::AlreadyRegistered(_))
    ));
    const BAD: [&str; 5] = ["", "Mine", "7up", "a b", "a:"];
    struct Bad<const N: usize>;
    impl<const N: usize> OpenProvider for Bad<N> {
        const SCHEMES: &'static [&'static str] = &[BAD[N]];
        const OPTIONS: &'static [UrlOption] = &[];

        fn provider_at(_: &StoreUrl) -> Opened {
            Ok(Box::new(Mine))
        }
    }
    for registered in [
        registry().register::<Bad<0>>(),
        registry().register::<Bad<1>>(),
        registry().register::<Bad<2>>(),
        registry().register::<Bad<3>>(),
        registry().register::<Bad<4>>(),
    ] {
        assert!(
            matches!(registered, Err(RegistryError::BadScheme(_))),
            "{registered:?}"
        );
    }
}

#[test]
fn a_bundled_store_that_is_not_compiled_in_names_its_feature() {
    for (scheme, feature, compiled_in) in [
        ("memory", "memory", cfg!(feature = "memory")),
        ("file", "file", cfg!(feature = "file")),
        ("redis", "redis", cfg!(feature = "redis")),
        ("rediss", "redis", cfg!(feature = "redis")),
        ("redis+sentinel", "redis", cfg!(feature = "redis")),
        ("rediss+cluster", "redis", cfg!(feature = "redis")),
        ("redis+unix", "redis", cfg!(feature = "redis")),
        ("unix", "redis", cfg!(feature = "redis")),
    ] {
        assert_eq!(
            registry().schemes().any(|known| known == scheme),
            compiled_in
        );
        if !compiled_in {
            let error = refused(&format!("{scheme}:///hunter2?service=a"));
            assert!(
                error.contains(&format!("the feature `{feature}`")),
                "{error}"
            );
            let error = refused("etcd://host");
            assert!(
                error.contains(&format!("{scheme} with the feature `{feature}`")),
                "{error}"
            );
        }
    }
}

#[cfg(feature = "memory")]
mod memory {
    use super::*;

    async fn shares(one: &str, other: &str) -> bool {
        let (one, other) = (
            registry().open(one).unwrap(),
            registry().open(other).unwrap(),
        );
        let data = FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#).unwrap();
        one.on_flag_definitions_received(&data).await.unwrap();
        other.get_flag_definitions().await.unwrap().is_some()
    }

    #[tokio::test]
    async fn memory_is_shared_by_name() {
        assert!(shares("memory:a", "memory:a").await);
        assert!(!shares("memory:b", "memory:c").await);
        assert!(!shares("memory:d", "memory:").await);
        assert!(shares("memory:", "memory:").await);
    }

    #[test]
    fn a_memory_url_has_neither_host_nor_options() {
        assert!(refused("memory://name").contains("write memory: or memory:name"));
        assert!(refused("memory:?lease=1s").contains("no option `lease`; their options: none"));
    }
}

#[cfg(feature = "file")]
mod file {
    use super::*;

    #[tokio::test]
    async fn a_file_url_opens_the_folder_it_names() {
        let folder = tempfile::TempDir::with_prefix("a folder ").unwrap();
        // On Windows it begins with a drive: file:///C:/…
        let url = url::Url::from_directory_path(folder.path()).unwrap();
        let provider = registry()
            .open(&format!("{url}?service=kit&watch=false"))
            .unwrap();
        assert!(provider.should_fetch_flag_definitions().await.unwrap());
        let data = FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#).unwrap();
        provider.on_flag_definitions_received(&data).await.unwrap();
        assert!(folder.path().join("kit.json").exists());
    }

    #[test]
    fn a_file_url_needs_a_folder_and_a_service() {
        for url in [
            "file:relative?service=a",
            "file:/one-slash?service=a",
            // What the other system takes for a path.
            if cfg!(windows) {
                "file:///no-drive/folder?service=a"
            } else {
                "file://other-host/folder?service=a"
            },
        ] {
            let form = if cfg!(windows) {
                "write file:///C:/folder?service=name"
            } else {
                "write file:///folder?service=name"
            };
            assert!(refused(url).contains(form), "{url}");
        }
        let folder = if cfg!(windows) { "C:/folder" } else { "folder" };
        let refused = |rest: &str| refused(&format!("file:///{folder}{rest}"));
        assert!(refused("").contains("require the option `service`"));
        assert!(refused("?service=").contains("require the option `service`"));
        assert!(refused("?service=a%2Fb").contains("cannot be set up"));
        assert!(refused("?service=a&watch=no").contains("give true or false"));
    }

    #[cfg(windows)]
    #[test]
    fn a_file_url_names_a_drive_or_a_share() {
        for (url, path) in [
            ("file:///C:/a%20folder?service=a", r"C:\a folder"),
            ("file://localhost/C:/folder?service=a", r"C:\folder"),
            ("file:///c%3A/folder?service=a", r"c:\folder"),
            (
                "file://server/share/folder?service=a",
                r"\\server\share\folder",
            ),
        ] {
            let parsed = StoreUrl::parse(url).unwrap();
            assert_eq!(parsed.file_path().unwrap().as_os_str(), path, "{url}");
            assert!(registry().open(url).is_ok(), "{url}");
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;

    #[test]
    fn a_postgres_url_opens_without_a_server() {
        for url in [
            "postgres://app:hunter2@127.0.0.1:1/app?service=checkout&sslmode=disable",
            "postgresql://app@a:1,b:2/app?service=checkout&lease_ttl=30s&response_timeout=2s&sslmode=disable",
            "postgres://app@a/app?service=checkout&table=app.flags&listen=false&sslmode=disable",
        ] {
            assert!(ProviderRegistry::default().open(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_postgres_url_that_cannot_be_used_says_why() {
        let refused = |rest: &str| refused(&format!("postgres://app:hunter2@a/app?{rest}"));
        assert!(refused("sslmode=disable").contains("require the option `service`"));
        assert!(refused("service=a&ttl=5s").contains("lease_ttl"));
        assert!(refused("service=a&sslmode=disable&table=A").contains("cannot name the table"));
        assert!(refused("service=a/b&sslmode=disable").contains("cannot name a service"));
    }
}

#[cfg(feature = "object-store")]
mod object_store {
    use super::*;

    #[tokio::test]
    async fn a_bucket_url_opens_without_a_server() {
        for url in [
            "s3://flags?service=checkout",
            "s3://flags/eu/west?service=checkout&region=eu-west-1&lease_ttl=30s&response_timeout=2s",
            "s3://flags?service=checkout&endpoint=http://127.0.0.1:1",
            "gs://flags/eu?service=checkout&endpoint=http://127.0.0.1:1",
            "az://flags/eu?service=checkout&account_name=acme",
        ] {
            assert!(registry().open(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_bucket_url_that_cannot_be_used_says_why() {
        assert!(refused("s3://flags").contains("require the option `service`"));
        assert!(refused("s3://flags?service=a&ttl=5s").contains("lease_ttl"));
        assert!(refused("gs://flags?service=a&region=eu").contains("no option `region`"));
        assert!(refused("s3://flags?service=a/b").contains("cannot name a service"));
        assert!(refused("s3://app:hunter2@flags?service=a").contains("does not name a bucket"));
        assert!(refused("s3://flags:9000?service=a").contains("`?endpoint=`"));
        // The account may be in the environment of who runs this.
        if std::env::var_os("AZURE_STORAGE_ACCOUNT_NAME").is_none() {
            assert!(refused("az://flags?service=a").contains("Account must be specified"));
        }
        let secret = refused("s3://flags?service=a&secret_access_key=hunter2");
        assert!(secret.contains("no option `secret_access_key`"));
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;

    #[tokio::test]
    async fn a_redis_url_opens_without_a_server() {
        for url in [
            "redis://127.0.0.1:1?service=checkout",
            "rediss://user:hunter2@127.0.0.1:1/3?service=checkout",
            "redis://127.0.0.1:1?service=checkout&lock_ttl=5s&response_timeout=500ms&data_ttl=none&protocol=resp3",
            "redis://127.0.0.1:1?service=checkout&data_ttl=48h",
            "redis+sentinel://user:hunter2@127.0.0.1:1,127.0.0.1:2/flags/3?service=checkout&sentinel_password=hunter2",
            "rediss+sentinel://127.0.0.1,127.0.0.2/flags?service=checkout&sentinel_username=me",
            "redis+cluster://127.0.0.1:1,[::1]:2,c?service={checkout}&lock_ttl=5s",
            // The Redis client has no Unix sockets on Windows.
            #[cfg(unix)]
            "redis+unix:///run/redis.sock?service=checkout",
            #[cfg(unix)]
            "unix:///run/a%20b,c.sock?service=checkout&db=2&user=me&pass=hunter2&protocol=resp2&data_ttl=none",
        ] {
            assert!(registry().open(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_redis_url_that_cannot_be_used_says_why() {
        assert!(refused("redis://:hunter2@127.0.0.1").contains("require the option `service`"));
        assert!(
            refused("redis://:hunter2@127.0.0.1?service=a&ttl=5s")
                .contains("their options: service, lock_ttl")
        );
        assert!(refused("redis://:hunter2@127.0.0.1?service=a&lock_ttl=1ms").contains("too short"));
        assert!(
            refused("redis://:hunter2@127.0.0.1?service=a&data_ttl=ever")
                .contains("whole number with a unit")
        );
        assert!(refused("redis://:hunter2@127.0.0.1/db?service=a").contains("cannot be set up"));
        assert!(refused("redis://:hunter2@a:1,b:2?service=a").contains("cannot be set up"));
        assert!(refused("redis+cluster://:hunter2@a:1,b:2?service=a").contains("cannot be set up"));
        assert!(
            refused("rediss://:hunter2@a?service=a&ca=/no/hunter2")
                .contains("the path of a readable file")
        );
        let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(
            refused(&format!("rediss://a?service=a&key={pem}"))
                .contains("give it together with `cert`")
        );
        assert!(
            refused(&format!("rediss://a?service=a&cert={pem}&key={pem}"))
                .contains("cannot be set up")
        );
    }

    #[test]
    fn a_socket_is_an_absolute_path() {
        for url in [
            "redis+unix://run/hunter2.sock?service=a",
            "redis+unix:/hunter2.sock?service=a",
            "unix:///?service=a",
        ] {
            assert!(
                refused(url)
                    .contains("write redis+unix:///path/to.sock?service=name, with three slashes"),
                "{url}"
            );
        }
        assert!(refused("redis+unix:///hunter2.sock").contains("require the option `service`"));
        assert!(refused("unix:///a.sock?service=a&db=hunter2").contains("cannot be set up"));
    }

    #[test]
    fn a_url_has_the_options_of_its_shape_alone() {
        for (url, option) in [
            ("redis://a?service=a&db=2", "db"),
            ("redis://a?service=a&ca=hunter2", "ca"),
            (
                "rediss://a?service=a&sentinel_password=hunter2",
                "sentinel_password",
            ),
            ("redis+cluster://a?service={a}&pass=hunter2", "pass"),
            ("redis+sentinel://a/flags?service=a&key=hunter2", "key"),
            ("unix:///a.sock?service=a&cert=hunter2", "cert"),
        ] {
            assert!(
                refused(url).contains(&format!(
                    "have no option `{option}`; their options: service, lock_ttl"
                )),
                "{url}"
            );
        }
        assert!(
            refused("unix:///a.sock?service=a&password=hunter2")
                .ends_with("protocol, password_file, db, user, pass")
        );
    }

    #[tokio::test]
    async fn every_server_of_a_url_reaches_the_store() {
        let url =
            StoreUrl::parse("redis+cluster://u:p@a:1,[::1]:2,c?service=x&protocol=resp2").unwrap();
        assert_eq!(url.servers().collect::<Vec<_>>(), ["a:1", "[::1]:2", "c"]);
        assert_eq!(
            url.expose_with_options(&["protocol"]),
            "redis+cluster://u:p@a:1,[::1]:2,c?protocol=resp2"
        );
        let url = StoreUrl::parse("redis://a/1?x=b,c").unwrap();
        assert_eq!(
            (
                url.servers().count(),
                url.expose_with_options(&["x"]).as_str()
            ),
            (1, "redis://a/1?x=b%2Cc")
        );
    }
}

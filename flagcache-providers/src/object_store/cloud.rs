//! [`Cloud`]: a bucket opened by its URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, Error, ObjectStore, RetryConfig};
use url::Url;

use super::BucketConfigError;
use super::http::Connector;

/// A bucket, and the part of its URL that contains no secrets.
pub(super) struct Cloud {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    pub(super) endpoint: String,
}

/// Opens `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. Credentials come from the environment,
/// and each option is a configuration key of object_store's builder. Does not connect.
pub(super) fn open(
    text: &str,
    connector: Connector,
    response_timeout: Duration,
) -> Result<Cloud, BucketConfigError> {
    let url = Url::parse(text).map_err(BucketConfigError::Url)?;
    let (Some(host), true) = (url.host_str(), is_plain(&url)) else {
        return Err(BucketConfigError::Form);
    };
    let bucket = format!("{}://{host}", url.scheme());
    let prefix = Path::from_url_path(url.path()).map_err(|_| BucketConfigError::Form)?;
    let endpoint = format!("{bucket}/{prefix}");
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    let retry = retry_within(response_timeout);
    let refused = |source| BucketConfigError::Open {
        endpoint: endpoint.clone(),
        source,
    };
    // The three builders have the same methods and no trait in common.
    macro_rules! build {
        ($builder:ty) => {{
            let builder = <$builder>::from_env()
                .with_url(bucket)
                .with_retry(retry)
                .with_http_connector(connector);
            let builder = configure(&url, builder, <$builder>::with_config)?;
            check_endpoint(|key| builder.get_config_value(key))?;
            check_lines(|key| builder.get_config_value(key))?;
            Arc::new(builder.build().map_err(refused)?) as Arc<dyn ObjectStore>
        }};
    }
    let store = match url.scheme() {
        "s3" => build!(AmazonS3Builder),
        "gs" => build!(GoogleCloudStorageBuilder),
        "az" => build!(MicrosoftAzureBuilder),
        _ => return Err(BucketConfigError::Form),
    };
    Ok(Cloud {
        store,
        prefix,
        endpoint,
    })
}

/// Whether the URL has no credentials, port or fragment: its host is the name of a bucket.
fn is_plain(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && url.fragment().is_none()
}

fn configure<B, K: FromStr<Err = Error>>(
    url: &Url,
    mut builder: B,
    set: impl Fn(B, K, String) -> B,
) -> Result<B, BucketConfigError> {
    let key = |name: &str| {
        let known = name.to_ascii_lowercase().parse::<K>();
        known.map_err(|_| BucketConfigError::Setting(name.to_owned()))
    };
    for (name, value) in url.query_pairs() {
        if name == "endpoint" {
            // The URL explicitly asks for plain HTTP.
            if value.starts_with("http://") {
                builder = set(builder, key("allow_http")?, "true".to_owned());
            }
            let name = match url.scheme() {
                // Google's configuration key has another name.
                "gs" => "base_url",
                // An environment variable may set this key, and it takes precedence over `endpoint`.
                "s3" => S3_ENDPOINT,
                _ => "endpoint",
            };
            builder = set(builder, key(name)?, value.into_owned());
        } else {
            builder = set(builder, key(&name)?, value.into_owned());
        }
    }
    Ok(builder)
}

const S3_ENDPOINT: &str = "aws_endpoint_url_s3";

/// Rejects endpoints, from the URL or the environment, at which the client would panic or which its errors would show.
fn check_endpoint<K: FromStr>(get: impl Fn(&K) -> Option<String>) -> Result<(), BucketConfigError> {
    for name in [S3_ENDPOINT, "endpoint", "base_url"] {
        let key = name.parse::<K>();
        let Some(endpoint) = key.ok().and_then(|key| get(&key)) else {
            continue;
        };
        let url = Url::parse(&endpoint).map_err(|_| BucketConfigError::Endpoint)?;
        let is_usable = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_usable {
            return Err(BucketConfigError::Endpoint);
        }
    }
    Ok(())
}

/// Rejects what an HTTP header cannot contain, at which the client would panic: often the line break at the end of a
/// secret's file.
fn check_lines<K: FromStr>(get: impl Fn(&K) -> Option<String>) -> Result<(), BucketConfigError> {
    for name in [
        "access_key_id",
        "secret_access_key",
        "session_token",
        "region",
        "account_name",
        "account_key",
        "bearer_token",
    ] {
        let value = name.parse::<K>().ok().and_then(|key| get(&key));
        if value.is_some_and(|value| value.contains(char::is_control)) {
            return Err(BucketConfigError::ControlCharacter(name));
        }
    }
    Ok(())
}

/// Limits retries to the response timeout. By default the client retries for minutes.
fn retry_within(response_timeout: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: response_timeout / 20,
            max_backoff: response_timeout / 4,
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: response_timeout,
    }
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

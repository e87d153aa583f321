//! Opens a [`BucketStore`] by URL.

use super::StoreUrl;
use super::bundled::file_content;
use super::open::Opened;
use crate::BucketStore;

/// The schemes, each with its options.
pub(super) const OPTIONS: [(&str, &[&str]); 3] = [
    (
        "s3",
        &[
            "service",
            "lease_ttl",
            "response_timeout",
            "ca",
            "endpoint",
            "region",
        ],
    ),
    (
        "gs",
        &["service", "lease_ttl", "response_timeout", "ca", "endpoint"],
    ),
    (
        "az",
        &[
            "service",
            "lease_ttl",
            "response_timeout",
            "ca",
            "endpoint",
            "account_name",
        ],
    ),
];

pub(super) fn open(url: &StoreUrl) -> Opened {
    // Settings of the client's own. Secrets belong in the environment.
    let own = url.expose_with_options(&["endpoint", "region", "account_name"]);
    let mut builder = BucketStore::builder(own, url.required("service")?);
    if let Some(ttl) = url.duration("lease_ttl")? {
        builder = builder.lease_ttl(ttl);
    }
    if let Some(timeout) = url.duration("response_timeout")? {
        builder = builder.response_timeout(timeout);
    }
    if let Some(roots) = file_content(url, "ca")? {
        builder = builder.root_certificates(roots);
    }
    Ok(Box::new(builder.build()?.provider()))
}

//! Certificates: those that are accepted, and those that are not.

use flagcache_core::{FlagDefinitionSource, PostHogApi};
use flagcache_providers::testing::ApiStub;
use flagcache_test_support::{Certificates, openssl};
use tempfile::TempDir;

use crate::front::stub;
use crate::nginx::Nginx;

/// The certificate of a server at this address, trusted by itself.
pub(crate) struct Named(TempDir);

impl Named {
    pub(crate) fn make(address: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let script = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=named \
             -addext subjectAltName=IP:{address} -addext basicConstraints=critical,CA:FALSE -keyout named.key -out named.crt"
        );
        openssl(folder.path(), &script);
        Self(folder)
    }

    /// The file of the certificate (`crt`) or of its key (`key`).
    pub(crate) fn path(&self, kind: &str) -> String {
        self.0
            .path()
            .join(format!("named.{kind}"))
            .display()
            .to_string()
    }
}

/// The first line of the error of a fetch, or nothing if it went well.
async fn fault(host: &str, roots: Option<Vec<u8>>) -> Option<String> {
    let api = PostHogApi::builder()
        .host(host)
        .project_key(ApiStub::PROJECT_KEY)
        .secret_key(ApiStub::SECRET_KEY);
    let api = match roots {
        Some(roots) => api.root_certificates(roots),
        None => api,
    };
    api.build()
        .unwrap()
        .fetch(None)
        .await
        .err()
        .map(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_71_certificate_faults_are_named_with_what_to_do() {
    let stub = stub(1).await;
    let certificates = Certificates::make();
    let root = certificates.pem("root.crt");
    let front = Nginx::tls(&certificates, "server", true, &stub.url());
    assert_eq!(fault(&front.url(), Some(root.clone())).await, None);

    let unknown = fault(&front.url(), None).await.unwrap();
    assert!(
        unknown.contains("its issuer is unknown; give the issuer's root certificate"),
        "{unknown}"
    );
    // The advice that was followed already is not repeated.
    let other = fault(&front.url(), Some(certificates.pem("other.crt")))
        .await
        .unwrap();
    assert!(
        other.contains("neither the root certificates that were given"),
        "{other}"
    );

    let elsewhere = Nginx::tls(&certificates, "elsewhere", true, &stub.url());
    let name = fault(&elsewhere.url(), Some(root)).await.unwrap();
    assert!(name.contains("it is for other names"), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_69_tls_1_2_and_1_3_work_over_ipv6() {
    let stub = stub(1).await;
    let named = Named::make("::1");
    let root = std::fs::read(named.path("crt")).unwrap();
    for (version, fails) in [("TLSv1.2", false), ("TLSv1.3", false), ("TLSv1.1", true)] {
        let front =
            Nginx::tls_of_version(&named.path("crt"), &named.path("key"), version, &stub.url());
        let fault = fault(
            &format!("https://[::1]:{}", front.port()),
            Some(root.clone()),
        )
        .await;
        assert_eq!(fault.is_some(), fails, "{version}: {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_71_self_signed_and_expired_certificates_are_named() {
    let stub = stub(1).await;
    let folder = TempDir::new().unwrap();
    let script = r"
        key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        name='-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1'
        openssl req -x509 $key $name -days 2 -keyout ca.key -out ca.crt
        openssl req -x509 $key $name -addext basicConstraints=critical,CA:FALSE -days 2 -keyout leaf.key -out leaf.crt
        openssl req $key -subj /CN=localhost -keyout old.key -out old.csr
        touch index
        echo 01 > serial
        printf '%s\n' '[ca]' default_ca=own '[own]' database=index serial=serial new_certs_dir=. default_md=sha256 \
            policy=any '[any]' commonName=supplied > ca.conf
        printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n' > old.ext
        openssl ca -batch -selfsign -config ca.conf -keyfile old.key -in old.csr -extfile old.ext -notext -out old.crt \
            -startdate 20200101000000Z -enddate 20200102000000Z";
    openssl(folder.path(), script);

    for (name, expected) in [
        ("ca", Some("it is a CA certificate (`CaUsedAsEndEntity`)")),
        ("leaf", None),
        ("old", Some("it has expired")),
    ] {
        let path = |kind: &str| {
            folder
                .path()
                .join(format!("{name}.{kind}"))
                .display()
                .to_string()
        };
        let front = Nginx::tls_from_files(&path("crt"), &path("key"), true, &stub.url());
        let fault = fault(&front.url(), Some(std::fs::read(path("crt")).unwrap())).await;
        match expected {
            Some(expected) => {
                assert!(
                    fault.as_ref().is_some_and(|fault| fault.contains(expected)),
                    "{name}: {fault:?}"
                )
            }
            None => assert_eq!(fault, None, "{name}"),
        }
    }
}

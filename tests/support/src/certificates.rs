//! [`Certificates`]: certificates for the servers and clients of a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Certificates and their keys, in PEM files that are removed when this is dropped.
///
/// | name | certificate |
/// |---|---|
/// | `root` | a root certificate |
/// | `server` | of a server, for `localhost` and 127.0.0.1 |
/// | `named` | of a server, only for `localhost` |
/// | `elsewhere` | of a server, for another host |
/// | `client` | of a client |
/// | `other`, `unrelated` | another root certificate, and a client's certificate signed by it |
///
/// Each certificate is in `<name>.crt`, and its key in `<name>.key`.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

/// The TLS settings of a Redis server: its certificate, and whether it requires client certificates.
#[derive(Clone, Debug)]
pub struct ServerTls {
    settings: Vec<(&'static str, String)>,
}

impl Certificates {
    /// Makes them with `openssl`.
    ///
    /// # Panics
    ///
    /// If `openssl` is not installed.
    pub fn make() -> Self {
        let script = r#"
            key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
            sign() { # name root extensions
                openssl req $key -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
                printf '%b' "$3" > "$1.ext"
                openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 \
                    -extfile "$1.ext" -out "$1.crt"
            }
            for root in root other; do
                openssl req -x509 $key -days 2 -subj "/CN=$root" -keyout $root.key -out $root.crt
            done
            sign server root 'subjectAltName=DNS:localhost,IP:127.0.0.1'
            sign named root 'subjectAltName=DNS:localhost'
            sign elsewhere root 'subjectAltName=DNS:elsewhere.test'
            sign client root 'extendedKeyUsage=clientAuth'
            sign unrelated other 'extendedKeyUsage=clientAuth'
        "#;
        let folder = tempfile::tempdir().unwrap();
        openssl(folder.path(), script);
        Self { folder }
    }

    /// The path of a file.
    pub fn path(&self, file: &str) -> String {
        self.file(file).display().to_string()
    }

    /// The content of a file.
    pub fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.file(file)).unwrap()
    }

    /// The TLS settings of a server with the certificate `name` that accepts every client.
    pub fn server(&self, name: &str) -> ServerTls {
        let settings = vec![
            ("tls-cert-file", self.path(&format!("{name}.crt"))),
            ("tls-key-file", self.path(&format!("{name}.key"))),
            ("tls-ca-cert-file", self.path("root.crt")),
            ("tls-auth-clients", "no".to_owned()),
        ];
        ServerTls { settings }
    }

    fn file(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

impl ServerTls {
    /// Like [`server`](Certificates::server), but accepts only clients with a certificate signed by `root`.
    #[must_use]
    pub fn for_known_clients(mut self) -> Self {
        for (name, value) in &mut self.settings {
            if *name == "tls-auth-clients" {
                *value = "yes".to_owned();
            }
        }
        self
    }

    /// The settings as arguments of `redis-server`.
    #[cfg(all(unix, feature = "redis"))]
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        self.settings
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), value.clone()])
    }

    /// The settings as lines of a configuration file.
    #[cfg(all(unix, feature = "redis"))]
    pub(crate) fn lines(&self) -> String {
        self.settings
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect()
    }
}

/// Runs a script of `openssl` commands in a folder.
///
/// # Panics
///
/// If a command fails, or is not installed.
pub fn openssl(folder: &Path, script: &str) {
    let output = Command::new("bash")
        .args(["-ec", script])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("cannot run bash: {error}"));
    assert!(
        output.status.success(),
        "openssl is needed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

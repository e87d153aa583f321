//! Certificates made for a test.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A root certificate, a server's and a client's that it signed, a root that signed neither, and a client's of that.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn make() -> Self {
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
            sign elsewhere root 'subjectAltName=DNS:elsewhere.test'
            sign client root 'extendedKeyUsage=clientAuth'
            sign stranger other 'extendedKeyUsage=clientAuth'
        "#;
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("bash").args(["-ec", script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "openssl is needed: {}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.file(file).display().to_string()
    }

    pub(crate) fn pem(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.file(file)).unwrap()
    }

    fn file(&self, file: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(file)
    }
}

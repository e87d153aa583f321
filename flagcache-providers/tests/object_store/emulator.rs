//! Emulators of the test's own, each with a bucket `flags`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use flagcache_providers::{BucketStore, BucketStoreBuilder};
use flagcache_test_support::{Certificates, FreePort};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use tempfile::TempDir;

use crate::worker::SERVICE;

/// Azurite's account, which its documentation shows.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// moto looks at the condition and then writes. S3 does both in one step, and so does moto if requests come one by one.
const MOTO: &str = "
import io, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
one_by_one = threading.Lock()

def application(environ, start_response):
    length = int(environ.get('CONTENT_LENGTH') or 0)
    environ['wsgi.input'] = io.BytesIO(environ['wsgi.input'].read(length))
    with one_by_one:
        return list(moto(environ, start_response))

run_simple('127.0.0.1', int(sys.argv[1]), application, threaded=True)
";

/// Creates a container, with a signature as of the protocol.
const CREATE_CONTAINER: &str = "
const crypto = require('crypto');
const [port, account, key] = process.argv.slice(1);
const path = `/${account}/flags`;
const headers = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2021-12-02' };
const names = Object.keys(headers).sort().map((name) => `${name}:${headers[name]}\\n`).join('');
const text = `PUT${'\\n'.repeat(12)}${names}/${account}${path}\\nrestype:container`;
const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
headers.Authorization = `SharedKey ${account}:${signature}`;
fetch(`http://127.0.0.1:${port}${path}?restype=container`, { method: 'PUT', headers })
  .then(async (answer) => {
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  })
  .catch((error) => { console.error(error); process.exit(1); });
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// S3.
    Moto,
    /// Azure.
    Azurite,
}

pub(crate) struct Emulator {
    pub(crate) kind: Kind,
    child: Child,
    port: FreePort,
    /// For what it leaves behind.
    folder: TempDir,
    options: Vec<String>,
}

impl Emulator {
    pub(crate) fn start(kind: Kind) -> Self {
        let emulator = Self::start_empty(kind);
        emulator.create_bucket();
        emulator
    }

    pub(crate) fn start_empty(kind: Kind) -> Self {
        Self::start_with(kind, Vec::new())
    }

    /// With this certificate, and without a bucket.
    pub(crate) fn azurite_with_tls(certificates: &Certificates, name: &str) -> Self {
        let path = |kind: &str| certificates.path(&format!("{name}.{kind}"));
        let options = ["--cert".into(), path("crt"), "--key".into(), path("key")];
        Self::start_with(Kind::Azurite, options.into())
    }

    fn start_with(kind: Kind, options: Vec<String>) -> Self {
        let (port, folder) = (FreePort::find(), tempfile::tempdir().unwrap());
        let child = launch(kind, port.number(), &folder, &options);
        let mut emulator = Self {
            kind,
            child,
            port,
            folder,
            options,
        };
        emulator.wait();
        emulator
    }

    /// The one that the tests of the kit share, each with a prefix of its own. It ends with the last test that uses it.
    pub(crate) fn shared(kind: Kind) -> Arc<Self> {
        static SHARED: Mutex<[Weak<Emulator>; 2]> = Mutex::new([Weak::new(), Weak::new()]);
        let mut shared = SHARED.lock().unwrap();
        let slot = &mut shared[kind as usize];
        slot.upgrade().unwrap_or_else(|| {
            let emulator = Arc::new(Self::start(kind));
            *slot = Arc::downgrade(&emulator);
            emulator
        })
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(("127.0.0.1", self.port())).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{:?} has ended", self.kind);
            assert!(Instant::now() < deadline, "{:?} does not answer", self.kind);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn create_bucket(&self) {
        match self.kind {
            Kind::Moto => {
                let mut connection = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
                let request = "PUT /flags HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                connection.write_all(request.as_bytes()).unwrap();
                let mut answer = String::new();
                connection.read_to_string(&mut answer).unwrap();
                assert!(answer.contains(" 200 "), "{answer}");
            }
            Kind::Azurite => {
                let created = Command::new("node")
                    .args(["-e", CREATE_CONTAINER])
                    .args([&self.port().to_string(), ACCOUNT, ACCOUNT_KEY])
                    .output()
                    .unwrap();
                let error = String::from_utf8_lossy(&created.stderr);
                assert!(created.status.success(), "{error}");
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL by way of `port`, without credentials and options of the store.
    pub(crate) fn url(&self, prefix: &str, port: u16) -> String {
        match self.kind {
            Kind::Moto => format!("s3://flags/{prefix}?endpoint=http://127.0.0.1:{port}"),
            Kind::Azurite => format!(
                "az://flags/{prefix}?account_name={ACCOUNT}&endpoint=http://127.0.0.1:{port}/{ACCOUNT}"
            ),
        }
    }

    /// The same with credentials.
    pub(crate) fn url_with_secret(&self, prefix: &str, port: u16) -> String {
        let credentials = match self.kind {
            Kind::Moto => "access_key_id=app&secret_access_key=hunter2".to_owned(),
            Kind::Azurite => {
                let key = ACCOUNT_KEY.replace('+', "%2B").replace('=', "%3D");
                format!("account_key={key}")
            }
        };
        format!("{}&{credentials}", self.url(prefix, port))
    }

    /// By way of `port`.
    pub(crate) fn store_through(&self, prefix: &str, port: u16) -> BucketStoreBuilder {
        BucketStore::builder(self.url_with_secret(prefix, port), SERVICE)
    }

    pub(crate) fn store(&self) -> BucketStoreBuilder {
        self.store_through("", self.port())
    }

    /// A client of the test's own.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        let endpoint = format!("http://127.0.0.1:{}", self.port());
        // A store of ours has chosen one, but for itself alone.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match self.kind {
            Kind::Moto => Arc::new(
                AmazonS3Builder::new()
                    .with_bucket_name("flags")
                    .with_endpoint(endpoint)
                    .with_allow_http(true)
                    .with_access_key_id("app")
                    .with_secret_access_key("hunter2")
                    .build()
                    .unwrap(),
            ),
            Kind::Azurite => Arc::new(
                MicrosoftAzureBuilder::new()
                    .with_container_name("flags")
                    .with_account(ACCOUNT)
                    .with_access_key(ACCOUNT_KEY)
                    .with_endpoint(format!("{endpoint}/{ACCOUNT}"))
                    .with_allow_http(true)
                    .build()
                    .unwrap(),
            ),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// With a bucket, and without what was in it.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.kind, self.port(), &self.folder, &self.options);
        self.wait();
        self.create_bucket();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(kind: Kind, port: u16, folder: &TempDir, options: &[String]) -> Child {
    let port = port.to_string();
    let mut command = match kind {
        Kind::Moto => {
            let mut command = Command::new(program("python/bin/python"));
            command.args(["-c", MOTO, &port]);
            command
        }
        Kind::Azurite => {
            let mut command = Command::new("node");
            command
                .arg(program("node/node_modules/azurite/dist/src/blob/main.js"))
                .args(["--blobPort", &port, "--silent", "--disableTelemetry"])
                .args(["--skipApiVersionCheck", "--inMemoryPersistence"]);
            command
        }
    };
    command
        .args(options)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn program(path: &str) -> PathBuf {
    // target/debug/deps/<this test>
    let target = std::env::current_exe().unwrap();
    let target = target.ancestors().nth(3).unwrap();
    let program = target.join("emulators").join(path);
    assert!(
        program.exists(),
        "there is no {}; run scripts/emulators",
        program.display()
    );
    program
}

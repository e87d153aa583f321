//! An nginx of the test's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use flagcache_test_support::{Certificates, FreePort, Process, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) const AMPLE: Duration = Duration::from_secs(20);

pub(crate) struct Nginx {
    process: Process,
    folder: TempDir,
    port: FreePort,
}

impl Nginx {
    /// TLS with the certificate of that name, in front of `upstream`. `http2` is `on` or `off`.
    pub(crate) fn tls(
        certificates: &Certificates,
        name: &str,
        http2: bool,
        upstream: &str,
    ) -> Self {
        let [certificate, key] =
            ["crt", "key"].map(|kind| certificates.path(&format!("{name}.{kind}")));
        Self::tls_from_files(&certificate, &key, http2, upstream)
    }

    pub(crate) fn tls_from_files(
        certificate: &str,
        key: &str,
        http2: bool,
        upstream: &str,
    ) -> Self {
        let port = FreePort::find();
        let http2 = if http2 { "http2" } else { "" };
        let server = format!(
            "gzip on; gzip_types application/json; gzip_proxied any; gzip_min_length 1; keepalive_timeout 1s;
             server {{
               listen 0.0.0.0:{} ssl {http2};
               ssl_certificate {certificate};
               ssl_certificate_key {key};
               location / {{ proxy_pass {upstream}; proxy_http_version 1.1; }}
             }}",
            port.number()
        );
        Self::start(&[], port, &server)
    }

    /// TLS of one version alone, on the loopback address of IPv6.
    pub(crate) fn tls_of_version(
        certificate: &str,
        key: &str,
        version: &str,
        upstream: &str,
    ) -> Self {
        let port = FreePort::find();
        let server = format!(
            "server {{
               listen [::1]:{} ssl http2;
               ssl_certificate {certificate};
               ssl_certificate_key {key};
               ssl_protocols {version};
               location / {{ proxy_pass {upstream}; proxy_http_version 1.1; }}
             }}",
            port.number()
        );
        Self::start_on(IpAddr::V6(Ipv6Addr::LOCALHOST), &[], port, &server)
    }

    /// A fixed set without flags over TLS with HTTP/2, below another command.
    pub(crate) fn fixed_tls(below: &[&str], port: FreePort, certificate: &str, key: &str) -> Self {
        let server = format!(
            "server {{
               listen 0.0.0.0:{} ssl http2;
               ssl_certificate {certificate};
               ssl_certificate_key {key};
               location / {{
                 default_type application/json;
                 return 200 '{{\"flags\":[],\"group_type_mapping\":{{}},\"cohorts\":{{}}}}';
               }}
             }}",
            port.number()
        );
        Self::start(below, port, &server)
    }

    /// Plain HTTP with a fixed set without flags, below another command.
    pub(crate) fn fixed(below: &[&str], port: FreePort) -> Self {
        let server = format!(
            "server {{
               listen 0.0.0.0:{};
               location / {{
                 default_type application/json;
                 return 200 '{{\"flags\":[],\"group_type_mapping\":{{}},\"cohorts\":{{}}}}';
               }}
             }}",
            port.number()
        );
        Self::start(below, port, &server)
    }

    fn start(below: &[&str], port: FreePort, server: &str) -> Self {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST), below, port, server)
    }

    fn start_on(address: IpAddr, below: &[&str], port: FreePort, server: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .collect();
        let configuration = format!(
            "daemon off; pid {path}/pid; error_log {path}/error.log; worker_processes 1;
             events {{}}
             http {{
               {temporary}
               log_format seen '$server_protocol $status $connection $remote_port $http_accept_encoding';
               access_log {path}/access.log seen;
               {server}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut arguments = below.to_vec();
        arguments.push("nginx");
        let mut command = Command::new(arguments[0]);
        command
            .args(&arguments[1..])
            .arg("-c")
            .arg(&file)
            .args(["-e", &format!("{path}/error.log")])
            .stdout(Stdio::null());
        let process =
            Process::start(&mut command).unwrap_or_else(|error| panic!("nginx is needed: {error}"));
        let nginx = Self {
            process,
            folder,
            port,
        };
        if below.is_empty() {
            wait_until("nginx listens", AMPLE, || {
                TcpStream::connect((address, nginx.port())).is_ok()
            });
        } else {
            wait_until("nginx runs", AMPLE, || nginx.path("pid").exists());
        }
        nginx
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The lines of its log: protocol, status, connection, the client's port, accepted encodings.
    pub(crate) fn log(&self) -> Vec<String> {
        std::fs::read_to_string(self.path("access.log"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Lets new processes take over, as after a change of the configuration.
    pub(crate) fn reload(&self) {
        self.process.signal(Signal::HUP).unwrap();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers; killed, it would leave them.
        let _ = self.process.terminate();
        let _ = self.process.wait(AMPLE);
    }
}

//! The processor time of Redis for each step of a load, from which `scripts/simulate` takes its constants.

use std::io::{Read, Write};
use std::net::TcpStream;

use flagcache_benches::{Section, Table, is_quick};
use flagcache_test_support::RedisServer;

use crate::server::Info;

const TICK: &str = include_str!("../../../../flagcache-providers/src/redis/scripts/tick.lua");
const COPY: usize = 40_000;
const SMALL: usize = 4_096;
const LARGE_COPY: usize = 770_000;
/// A publish sends pieces of this length.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 30;

pub(crate) fn run() -> Section {
    let (connections, rounds) = if is_quick() { (100, 2) } else { (1_000, 20) };
    let mut section = Section::new("Steps of Redis");
    section.say(format!(
        "The processor time of one Redis for the steps of a load, with {connections} connections; `scripts/simulate` takes its \
         constants from here. “One by one”: the next call is sent after the reply, so Redis is idle before it; in the other rows all clients send at once."
    ));
    let measured = Measured::with(connections, rounds);
    let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
    let nanos = |seconds: f64| format!("{:.2} ns", seconds * 1e9);
    let mut table = Table::new("processor time of Redis", &["step", "each"]);
    table.row(["the tick script".to_owned(), micros(measured.tick)]);
    table.row([
        "the tick script, one by one".to_owned(),
        micros(measured.tick_one_by_one),
    ]);
    table.row(["a GET of 4 KB".to_owned(), micros(measured.read)]);
    table.row(["a byte of a GET of 770 KB".to_owned(), nanos(measured.byte)]);
    table.row([
        "a notification, for each subscriber".to_owned(),
        micros(measured.notification),
    ]);
    table.row([
        "a connection with HELLO and SUBSCRIBE".to_owned(),
        micros(measured.connect),
    ]);
    table.row([
        "a byte of a publish of 7.9 MB".to_owned(),
        nanos(measured.published_byte),
    ]);
    section.tables.push(table);
    section
}

/// In seconds.
struct Measured {
    tick: f64,
    tick_one_by_one: f64,
    read: f64,
    byte: f64,
    notification: f64,
    connect: f64,
    published_byte: f64,
}

impl Measured {
    fn with(connections: usize, rounds: usize) -> Self {
        let server = RedisServer::start();
        server.run_args::<()>(&["SET", "copy", &"x".repeat(COPY)]);
        server.run_args::<()>(&["SET", "small", &"x".repeat(SMALL)]);
        server.run_args::<()>(&["SET", "large", &"x".repeat(LARGE_COPY)]);
        // Without a TTL, so that each reply has the same length.
        server.run_args::<()>(&["SET", "lock", "flagcache:another:1"]);
        let script: String = server.run_args(&["SCRIPT", "LOAD", TICK]);
        let request = format!("EVALSHA {script} 3 copy lock meta worker 0 0 0 key\r\n");

        let mut clients = Clients::connect(&server, connections);
        let calls = connections * rounds;
        let concurrently = |clients: &mut Clients, request: &str| {
            let reply = clients.reply_len(request);
            let all = || (0..rounds).for_each(|_| clients.concurrently(request, reply));
            processor_time(&server, all) / calls as f64
        };
        let tick = concurrently(&mut clients, &request);
        let read = concurrently(&mut clients, "GET small\r\n");
        let reply = clients.reply_len(&request);
        let one_by_one = || (0..rounds).for_each(|_| clients.one_by_one(&request, reply));
        let tick_one_by_one = processor_time(&server, one_by_one) / calls as f64;

        let mut few = Clients::connect(&server, 8);
        let reply = few.reply_len("GET large\r\n");
        let all = || (0..rounds * 4).for_each(|_| few.concurrently("GET large\r\n", reply));
        let large = processor_time(&server, all) / (rounds * 4 * 8) as f64;

        let mut subscribed = None;
        let subscribe = || {
            let mut clients = Clients::connect(&server, connections);
            let hello = "HELLO 3\r\nSUBSCRIBE changes\r\n";
            let reply = clients.reply_len(hello);
            let rest = clients.0.iter_mut().skip(1);
            rest.for_each(|client| call(client, hello.as_bytes(), reply));
            subscribed = Some(clients);
        };
        let connect = processor_time(&server, subscribe) / connections as f64;
        let mut publisher = Clients::connect(&server, 1);
        let publisher = &mut publisher.0[0];
        let reply = format!(":{connections}\r\n").len();
        let notify = || {
            (0..rounds).for_each(|_| call(publisher, b"PUBLISH changes worker\r\n", reply));
        };
        let notification = processor_time(&server, notify) / calls as f64;
        drop(subscribed);

        let piece = "x".repeat(PIECE);
        let publish = || {
            for _ in 0..rounds {
                let set = command(&["SET", "staging", &piece, "EX", "60"]);
                call(publisher, &set, "+OK\r\n".len());
                for pieces in 2..=PIECES {
                    let reply = format!(":{}\r\n", pieces * PIECE).len();
                    call(publisher, &command(&["APPEND", "staging", &piece]), reply);
                }
                call(publisher, b"RENAME staging copy\r\n", "+OK\r\n".len());
            }
        };
        let published = processor_time(&server, publish);
        Self {
            tick,
            tick_one_by_one,
            read,
            byte: (large - read) / (LARGE_COPY - SMALL) as f64,
            notification,
            connect,
            published_byte: published / (rounds * PIECES * PIECE) as f64,
        }
    }
}

/// Redis's processor time for what `work` sends, in seconds.
fn processor_time(server: &RedisServer, work: impl FnOnce()) -> f64 {
    let before = Info::of(server).processor_time();
    work();
    Info::of(server).processor_time() - before
}

/// Connections that send inline commands.
struct Clients(Vec<TcpStream>);

impl Clients {
    fn connect(server: &RedisServer, count: usize) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        Self((0..count).map(connect).collect())
    }

    /// The length of the reply to a request whose replies have the same length. A marker after it shows its end.
    fn reply_len(&mut self, request: &str) -> usize {
        const MARKER: &[u8] = b"$6\r\nmarker\r\n";
        let client = &mut self.0[0];
        let marked = [request, "ECHO marker\r\n"].concat();
        client.write_all(marked.as_bytes()).unwrap();
        let (mut reply, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        while !reply.ends_with(MARKER) {
            let len = client.read(&mut buffer).unwrap();
            assert!(len > 0, "Redis closed a connection");
            reply.extend_from_slice(&buffer[..len]);
        }
        assert!(
            !reply.starts_with(b"-"),
            "{}",
            String::from_utf8_lossy(&reply)
        );
        reply.len() - MARKER.len()
    }

    fn concurrently(&mut self, request: &str, reply: usize) {
        for client in &mut self.0 {
            client.write_all(request.as_bytes()).unwrap();
        }
        for client in &mut self.0 {
            receive(client, reply);
        }
    }

    fn one_by_one(&mut self, request: &str, reply: usize) {
        for client in &mut self.0 {
            call(client, request.as_bytes(), reply);
        }
    }
}

fn call(client: &mut TcpStream, request: &[u8], reply: usize) {
    client.write_all(request).unwrap();
    receive(client, reply);
}

fn receive(client: &mut TcpStream, len: usize) {
    client.read_exact(&mut vec![0; len]).unwrap();
}

/// A command whose arguments may be too long for an inline command.
fn command(args: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", args.len());
    for arg in args {
        command += &format!("${}\r\n{arg}\r\n", arg.len());
    }
    command.into_bytes()
}

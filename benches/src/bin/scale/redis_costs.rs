//! The processor time of Redis for each step of a load, from which `scripts/simulate` takes its constants.

use std::io::{Read, Write};
use std::net::TcpStream;

use flagcache_benches::{Section, Table, is_quick};
use flagcache_test_support::RedisServer;

use crate::server::Info;

const TICK: &str = include_str!("../../../../flagcache-providers/src/redis/scripts/tick.lua");
const COPY: usize = 40_000;
const LARGE_COPY: usize = 770_000;
/// A publish sends pieces of this length.
const PIECE: usize = 512 * 1024;
const PIECES: usize = 15;

pub(crate) fn run() -> Section {
    let (connections, rounds) = if is_quick() { (100, 2) } else { (1_000, 20) };
    let mut section = Section::new("Steps of Redis");
    section.say(format!(
        "The processor time of one Redis for the steps of a load, with {connections} connections; `scripts/simulate` takes its \
         constants from here. “In turn” means that Redis is idle before each call, otherwise calls wait for it."
    ));
    let measured = Measured::new(connections, rounds);
    let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
    let nanos = |seconds: f64| format!("{:.2} ns", seconds * 1e9);
    let mut table = Table::new("processor time of Redis", &["step", "each"]);
    table.row(["the tick script".to_owned(), micros(measured.tick)]);
    table.row([
        "the tick script, in turn".to_owned(),
        micros(measured.tick_in_turn),
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
        "a byte of a publish of 7.7 MB".to_owned(),
        nanos(measured.published_byte),
    ]);
    section.tables.push(table);
    section
}

/// In seconds.
struct Measured {
    tick: f64,
    tick_in_turn: f64,
    read: f64,
    byte: f64,
    notification: f64,
    connect: f64,
    published_byte: f64,
}

impl Measured {
    fn new(connections: usize, rounds: usize) -> Self {
        let server = RedisServer::start();
        server.run_args::<()>(&["SET", "copy", &"x".repeat(COPY)]);
        server.run_args::<()>(&["SET", "small", &"x".repeat(4_096)]);
        server.run_args::<()>(&["SET", "large", &"x".repeat(LARGE_COPY)]);
        // Without a TTL, so that each reply has the same length.
        server.run_args::<()>(&["SET", "lock", "flagcache:another:1"]);
        let script: String = server.run_args(&["SCRIPT", "LOAD", TICK]);
        let tick = format!("EVALSHA {script} 3 copy lock meta worker 0 0 0 key\r\n");

        let mut clients = Clients::connect(&server, connections);
        let calls = connections * rounds;
        let at_once = |clients: &mut Clients, request: &str| {
            let reply = clients.reply_len(request);
            let all = || (0..rounds).for_each(|_| clients.at_once(request, reply));
            processor_time(&server, all) / calls as f64
        };
        let tick_at_once = at_once(&mut clients, &tick);
        let read = at_once(&mut clients, "GET small\r\n");
        let reply = clients.reply_len(&tick);
        let in_turn = || (0..rounds).for_each(|_| clients.in_turn(&tick, reply));
        let tick_in_turn = processor_time(&server, in_turn) / calls as f64;

        let mut few = Clients::connect(&server, 8);
        let reply = few.reply_len("GET large\r\n");
        let all = || (0..rounds * 4).for_each(|_| few.at_once("GET large\r\n", reply));
        let large = processor_time(&server, all) / (rounds * 4 * 8) as f64;

        let mut subscribed = None;
        let subscribe = || {
            let mut clients = Clients::connect(&server, connections);
            let hello = "HELLO 3\r\nSUBSCRIBE changes\r\n";
            let reply = clients.reply_len(hello);
            let len = clients.0.len();
            clients.0[1..len]
                .iter_mut()
                .for_each(|client| call(client, hello, reply));
            subscribed = Some(clients);
        };
        let connect = processor_time(&server, subscribe) / connections as f64;
        let publish = || (0..rounds).for_each(|_| _ = server.run::<u64>("PUBLISH changes worker"));
        let notification = processor_time(&server, publish) / calls as f64;
        drop(subscribed);

        let piece = "x".repeat(PIECE);
        let publish = || {
            for _ in 0..rounds {
                server.run_args::<()>(&["SET", "staging", &piece, "EX", "60"]);
                for _ in 1..PIECES {
                    server.run_args::<u64>(&["APPEND", "staging", &piece]);
                }
                server.run_args::<()>(&["RENAME", "staging", "copy"]);
            }
        };
        let published = processor_time(&server, publish);
        Self {
            tick: tick_at_once,
            tick_in_turn,
            read,
            byte: (large - read) / LARGE_COPY as f64,
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

    fn at_once(&mut self, request: &str, reply: usize) {
        for client in &mut self.0 {
            client.write_all(request.as_bytes()).unwrap();
        }
        for client in &mut self.0 {
            receive(client, reply);
        }
    }

    fn in_turn(&mut self, request: &str, reply: usize) {
        for client in &mut self.0 {
            call(client, request, reply);
        }
    }
}

fn call(client: &mut TcpStream, request: &str, reply: usize) {
    client.write_all(request.as_bytes()).unwrap();
    receive(client, reply);
}

fn receive(client: &mut TcpStream, len: usize) {
    client.read_exact(&mut vec![0; len]).unwrap();
}

//! The fleet over a real Redis server.

use flagcache_test_support::{FreePort, RedisServer};

use super::*;

fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = server.run("KEYS *");
    keys.sort();
    keys
}

#[test]
fn b8_58_to_60_what_a_fleet_costs_over_redis_is_measured_and_no_key_is_left() {
    let _alone = TIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let (temporary, server) = (TempDir::new().unwrap(), RedisServer::start());
    let _: () = server.run("SET somebody else's");
    let cache = format!("{}?lock_ttl=3s", server.url());
    let options = [
        "--json",
        "--workers",
        "4",
        "--changes",
        "20",
        "--poll-interval",
        "0.3",
        "--seconds",
        "1.5",
    ];
    let (output, story) = run(command(temporary.path())
        .args(options)
        .args(["--cache", &cache]));
    let printed = result(&output);
    assert_eq!(printed["error"], Value::Null, "{story}");
    for claim in printed["claims"].as_array().unwrap() {
        // No test asserts that a busy machine is fast enough.
        assert!(
            claim["held"] == true || claim["limit_seconds"].is_number(),
            "{claim}\n{story}"
        );
    }

    let shared = &printed["shared"];
    let number = |value: &Value| {
        value
            .as_f64()
            .unwrap_or_else(|| panic!("not a number: {value}\n{story}"))
    };
    assert_eq!(
        (
            shared["cold_start"]["requests"].as_u64(),
            shared["cold_start"]["units"].as_u64()
        ),
        (Some(1), Some(10)),
        "{story}"
    );
    let changes = &shared["changes"];
    assert_eq!(changes["count"], 20, "{story}");
    let [median, p99, max] = ["median_ms", "p99_ms", "max_ms"].map(|name| number(&changes[name]));
    assert!(0.0 < median && median <= p99 && p99 <= max, "{changes}");
    // The lock outlived the leader that was killed, and not the one that was asked to end.
    assert!(number(&shared["failover"]["seconds"]) > 1.0, "{story}");
    assert!(
        number(&shared["handover"]["seconds"]) < number(&shared["failover"]["seconds"]),
        "{story}"
    );
    assert_eq!(shared["failover"]["first_status"], 304, "{story}");

    let [small, large] = shared["unchanged_tick"].as_array().unwrap().as_slice() else {
        panic!("{story}")
    };
    assert!(
        (8e3..12e3).contains(&number(&small["definitions_bytes"])),
        "{small}"
    );
    assert!(
        (9e6..11e6).contains(&number(&large["definitions_bytes"])),
        "{large}"
    );
    for tick in [small, large] {
        assert!(
            number(&tick["bytes"]) > 100.0 && number(&tick["bytes"]) <= 700.0,
            "{tick}"
        );
        assert_eq!(
            (number(&tick["messages"]), number(&tick["scripts"])),
            (1.0, 1.0),
            "{tick}"
        );
    }
    assert!(
        (number(&small["bytes"]) - number(&large["bytes"])).abs() <= 8.0,
        "{small} {large}"
    );
    assert_eq!(small["commands"], large["commands"], "{small} {large}");

    assert_eq!(keys(&server), ["somebody"], "{story}");
    assert!(is_empty(temporary.path()), "{story}");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_leaves_no_key() {
    use rustix::process::{Pid, Signal, kill_process};
    let (temporary, server) = (TempDir::new().unwrap(), RedisServer::start());
    let options = [
        "--json",
        "--workers",
        "2",
        "--poll-interval",
        "0.2",
        "--seconds",
        "0.5",
        "--cache",
    ];
    let mut story = command(temporary.path())
        .args(options)
        .arg(server.url())
        .spawn()
        .unwrap();
    until_one_leads(&mut story);
    assert!(
        !keys(&server).is_empty(),
        "the shared copy is somewhere else"
    );
    kill_process(Pid::from_child(&story), Signal::INT).unwrap();
    assert_eq!(story.wait().unwrap().code(), Some(130));
    assert_eq!(keys(&server), Vec::<String>::new());
    assert_eq!(processes_of(temporary.path()), Vec::<String>::new());
}

#[test]
fn a_service_that_is_in_use_is_left_alone() {
    let (temporary, server) = (TempDir::new().unwrap(), RedisServer::start());
    for key in ["posthog:flags:shop", "posthog:flags:other-10-kb"] {
        let _: () = server.run_args(&["SET", key, "theirs"]);
    }
    // The second is beside the service, where the fleet would measure.
    for service in ["shop", "other"] {
        let cache = format!("{}?service={service}", server.url());
        let (output, said) = run(command(temporary.path()).args(["--cache", &cache]));
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("has keys on this server already") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert_eq!(
        keys(&server),
        ["posthog:flags:other-10-kb", "posthog:flags:shop"]
    );
    assert_eq!(server.run::<String>("GET posthog:flags:shop"), "theirs");
}

#[test]
fn an_unusable_server_is_reported_in_one_sentence() {
    let temporary = TempDir::new().unwrap();
    let (unused, locked) = (
        FreePort::find(),
        RedisServer::start_with(&["--requirepass", "right-password"]),
    );
    let cases = [
        (format!("redis://127.0.0.1:{}", unused.number()), "refused"),
        (
            format!("redis://:wrong-password@127.0.0.1:{}", locked.port()),
            "password",
        ),
        (format!("{}?lock_ttl=1s", locked.url()), "lock TTL"),
        (format!("{}?colour=red", locked.url()), "no option `colour`"),
    ];
    for (cache, expected) in cases {
        let (output, said) = run(command(temporary.path()).args(["--cache", &cache]));
        assert_eq!(output.status.code(), Some(2), "{cache}: {said}");
        assert!(
            said.contains(expected) && said.lines().count() == 1,
            "{cache}: {said}"
        );
        assert!(
            !said.contains("wrong-password") && output.stdout.is_empty(),
            "{cache}: {said}"
        );
    }
}

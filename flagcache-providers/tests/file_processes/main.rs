//! The file store between real processes: this test binary starts itself as their workers.
#![cfg(feature = "file")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod process;
mod worker;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use process::{Report, Worker};

/// From one decision of a `poller` to its next, without a notification.
const TICK: Duration = worker::TICK;
const DEADLINE: Duration = Duration::from_secs(30);
/// What a busy machine may add to a time that is measured from outside.
const SLACK: Duration = Duration::from_millis(150);

/// Times are measured here: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a kill leaves behind does not depend on the disk, so the many writes go to memory where there is such a folder.
fn fast_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}

#[test]
#[ignore = "the worker process of the other tests; does nothing by itself"]
fn worker() {
    worker::run();
}

fn pollers(folder: &Path, count: usize) -> Vec<Worker> {
    (0..count)
        .map(|_| Worker::start("poller", folder))
        .collect()
}

/// Waits until one of them reports that it leads, and removes it from the list.
fn take_leader(pollers: &mut Vec<Worker>) -> Worker {
    let deadline = Instant::now() + DEADLINE;
    loop {
        for index in 0..pollers.len() {
            if pollers[index]
                .new_reports()
                .iter()
                .any(|report| report.event == "leads")
            {
                return pollers.swap_remove(index);
            }
        }
        assert!(Instant::now() < deadline, "no worker leads");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn b8_58_of_16_processes_started_together_one_leads_and_all_have_its_copy() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut followers = pollers(folder.path(), 16);
    let mut leader = take_leader(&mut followers);
    leader.order("publish 1");
    for follower in &mut followers {
        follower.wait_for(DEADLINE, |report| report.is("reads", 1));
        assert!(
            follower
                .reports()
                .iter()
                .all(|report| report.event != "leads"),
            "two leaders"
        );
    }
}

#[test]
fn b8_60_a_killed_leader_is_replaced_within_300_ms() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut fleet = pollers(folder.path(), 4);
    let mut leader = take_leader(&mut fleet);
    leader.order("publish 1");
    for follower in &mut fleet {
        follower.wait_for(DEADLINE, |report| report.is("reads", 1));
    }
    let mut took = Vec::new();
    for _ in 0..9 {
        fleet.push(Worker::start("poller", folder.path()));
        for follower in &mut fleet {
            // Each has asked once and now waits for leadership.
            follower.wait_for(DEADLINE, |report| report.event == "follows");
        }
        let killed_at = leader.kill();
        leader = take_leader(&mut fleet);
        took.push(
            leader
                .reports()
                .iter()
                .find(|report| report.event == "leads")
                .unwrap()
                .at
                - killed_at,
        );
    }
    took.sort();
    println!("from SIGKILL to the next leader: {took:?}");
    assert!(
        took[took.len() / 2] < Duration::from_millis(300),
        "{took:?}"
    );
}

#[test]
#[cfg_attr(
    target_os = "macos",
    ignore = "FSEvents promises no time within which it notifies"
)]
fn a_change_reaches_16_processes_within_50_ms() {
    let _alone = alone();
    // Waiting for the disk is the publisher's part, and done before the copy appears.
    let folder = fast_folder();
    let mut fleet = pollers(folder.path(), 17);
    let mut leader = take_leader(&mut fleet);
    // The first one waits for processes to start.
    change(&mut leader, &mut fleet, 0);
    // A busy machine can spoil a round. It cannot make one good.
    for round in 0..3 {
        let mut took = Vec::new();
        for version in 1..=100 {
            // At any phase of the rounds in which a store looks by itself.
            sleep(Duration::from_millis(version * 13 % 100));
            took.extend(change(&mut leader, &mut fleet, round * 100 + version));
        }
        took.sort();
        let at = |share: usize| took[(took.len() - 1) * share / 100];
        println!(
            "from publish to read, {} reads: p50 {:?}, p99 {:?}, max {:?}",
            took.len(),
            at(50),
            at(99),
            at(100)
        );
        if at(99) < Duration::from_millis(50) {
            return;
        }
    }
    panic!("p99 was above 50 ms in each round");
}

/// Publishes a version and waits until all have read it. How long each took.
fn change(leader: &mut Worker, followers: &mut [Worker], version: u64) -> Vec<Duration> {
    leader.order(&format!("publish {version}"));
    let published = leader.wait_for(DEADLINE, |report| report.is("publishes", version));
    let saw = followers
        .iter_mut()
        .map(|follower| follower.wait_for(DEADLINE, |report| report.is("reads", version)));
    saw.map(|saw| saw.at.saturating_sub(published.at)).collect()
}

#[test]
fn b8_67_readers_never_see_half_a_file_through_10_000_writes_and_kills() {
    let _alone = alone();
    const WRITES: u64 = 10_000;
    let folder = fast_folder();
    let mut readers: Vec<Worker> = (0..2)
        .map(|_| Worker::start("reader", folder.path()))
        .collect();
    let (mut written, mut kills) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(240);
    while written < WRITES {
        let mut writer = Worker::start("writer", folder.path());
        let goal = WRITES.min(written + 100 + fastrand::u64(0..400));
        while written < goal {
            let report = writer.wait_for(DEADLINE, |report| report.event == "wrote");
            assert!(
                report.number > written,
                "version {} was written after {written}",
                report.number
            );
            written = report.number;
            assert!(Instant::now() < deadline, "only {written} writes in time");
        }
        // Anywhere in a write.
        sleep(Duration::from_micros(fastrand::u64(0..3000)));
        writer.kill();
        kills += 1;
        // The version after the last reported one may be complete, too.
        written = written.max(
            writer
                .new_reports()
                .iter()
                .filter(|report| report.event == "wrote")
                .map(|report| report.number)
                .max()
                .unwrap_or(0),
        );
    }
    for reader in &mut readers {
        reader.order("end");
        let read = reader.wait_for(DEADLINE, |report| report.event == "total");
        println!("{kills} kills; {} reads by one reader", read.number);
        assert!(read.number > 1000, "{} reads prove little", read.number);
    }
    // The next writer clears away what the killed ones left.
    let mut writer = Worker::start("writer", folder.path());
    writer.wait_for(DEADLINE, |report| report.event == "wrote");
    writer.wait_for(DEADLINE, |report| report.event == "wrote");
    let in_writing = fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.ends_with(".tmp"))
                && entry.metadata().is_ok_and(|metadata| metadata.len() > 0)
        });
    assert!(in_writing.count() <= 1);
}

#[test]
#[cfg_attr(
    windows,
    ignore = "Windows deletes no file that is open, such as a lock file"
)]
fn b8_67_a_deleted_lock_file_gives_no_second_leader_for_longer_than_a_tick() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut fleet = pollers(folder.path(), 4);
    for follower in &mut fleet {
        follower.wait_for(DEADLINE, |report| {
            report.event == "follows" || report.event == "leads"
        });
    }
    for _ in 0..8 {
        fs::remove_file(folder.path().join("shop.lock")).unwrap();
        sleep(TICK * 2 + TICK.mul_f64(fastrand::f64()));
    }
    let leads: Vec<Vec<(Duration, Duration)>> = fleet
        .iter_mut()
        .map(|poller| leading_times(poller.reports()))
        .collect();
    let mut longest = Duration::ZERO;
    for (index, one) in leads.iter().enumerate() {
        for other in &leads[index + 1..] {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                longest = longest.max(a.1.min(b.1).saturating_sub(a.0.max(b.0)));
            }
        }
    }
    println!("longest time with two leaders: {longest:?} at a tick of {TICK:?}");
    assert!(longest <= TICK + SLACK, "{longest:?}");
    assert!(leads.iter().flatten().count() > 0);
}

/// The times in which a worker believes that it leads: from its first decision that is `true` to the next that is `false`.
fn leading_times(reports: &[Report]) -> Vec<(Duration, Duration)> {
    let mut leading_times = Vec::new();
    let mut since = None;
    let mut last = Duration::ZERO;
    for report in reports {
        match (report.event.as_str(), since) {
            ("leads", None) => since = Some(report.at),
            ("follows", Some(start)) => {
                leading_times.push((start, report.at));
                since = None;
            }
            _ => {}
        }
        last = report.at;
    }
    leading_times.extend(since.map(|start| (start, last)));
    leading_times
}

#[test]
fn kills_give_no_second_leader_at_all() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let mut fleet = pollers(folder.path(), 3);
    let mut ended = Duration::ZERO;
    for _ in 0..6 {
        let mut leader = take_leader(&mut fleet);
        let began = leader
            .reports()
            .iter()
            .find(|report| report.event == "leads")
            .unwrap()
            .at;
        assert!(
            began >= ended,
            "led {:?} before the leader was killed",
            ended - began
        );
        sleep(TICK.mul_f64(fastrand::f64() * 2.0));
        ended = leader.kill();
        fleet.push(Worker::start("poller", folder.path()));
    }
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "only Linux lists the threads of a process in files"
)]
fn the_thread_of_a_store_ends_with_its_last_poller_and_starts_with_the_next() {
    let folder = TempDir::new().unwrap();
    let mut attacher = Worker::start("attacher", folder.path());
    for _ in 0..2 {
        assert_eq!(
            attacher
                .wait_for(DEADLINE, |report| report.event == "attached")
                .number,
            1
        );
        assert_eq!(
            attacher
                .wait_for(DEADLINE, |report| report.event == "detached")
                .number,
            0
        );
    }
}

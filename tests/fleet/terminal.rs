//! The fleet on a terminal: a live view, which leaves the terminal as it was.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::*;

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A terminal with a program on it.
struct Terminal {
    program: Child,
    /// The end at which a user sits.
    user: File,
    seen: String,
}

impl Terminal {
    fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap();
        let program_end =
            rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(
            &user,
            Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )
        .unwrap();
        let end = || -> OwnedFd { program_end.as_fd().try_clone_to_owned().unwrap() };
        command
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        let program = command.spawn().unwrap();
        // The program's end is to close with the program.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            program,
            user: File::from(user),
            seen: String::new(),
        }
    }

    /// Looks on until something can be seen.
    fn look_until(&mut self, wanted: impl Fn(&str) -> bool) {
        while !wanted(&self.seen) {
            assert!(self.look(), "the program ended early:\n{}", self.seen);
        }
    }

    /// Whether the program still shows something.
    fn look(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // An error, not an end of file, means that the other end is closed.
        let read = self.user.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        read > 0
    }

    /// All that was seen until the program ended, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        while self.look() {}
        (self.seen, self.program.wait().unwrap().code())
    }
}

/// The pictures that the view drew, one after another, each as its lines, without colours.
fn pictures(seen: &str) -> Vec<Vec<String>> {
    let view = seen
        .split_once(ENTER)
        .unwrap()
        .1
        .split(LEAVE)
        .next()
        .unwrap();
    view.split("\x1b[H")
        .skip(1)
        .map(|picture| picture.lines().map(without_escapes).collect())
        .collect()
}

/// What was seen after the view.
fn after(seen: &str) -> &str {
    seen.rsplit_once(LEAVE).unwrap().1
}

fn without_escapes(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    // The terminal adds a return of its own to each line.
    let line = parts.fold(first, |line, part| {
        line + part
            .split_once(|end: char| end.is_ascii_alphabetic())
            .unwrap_or_default()
            .1
    });
    line.trim_end_matches('\r').to_owned()
}

fn story(temporary: &Path) -> Command {
    let mut command = command(temporary);
    command.args([
        "--workers",
        "3",
        "--changes",
        "3",
        "--poll-interval",
        "0.2",
        "--seconds",
        "1",
    ]);
    command.env_remove("NO_COLOR");
    command
}

#[test]
fn the_view_shows_each_worker_what_was_asked_and_the_story() {
    let _alone = TIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = TempDir::new().unwrap();
    let (seen, _) = Terminal::start(&mut story(temporary.path()), 80, 24).end();
    let pictures = pictures(&seen);
    let of_both_fleets = |picture: &&Vec<String>| {
        let row = |begin: &str| {
            picture.iter().any(|line| {
                line.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .starts_with(begin)
            })
        };
        row("worker role origin version flags age")
            && row("worker-1 ")
            && row("worker-2 ")
            && row("worker-3 ")
            && picture.iter().any(|line| line.contains("follower   cache"))
            && picture.iter().any(|line| line.contains("leader     api"))
            && row("requests 200 304 failed units")
            && row("each for itself 6 ")
            && row("one shared copy 1 ")
            && picture
                .iter()
                .any(|line| line.contains("ok: a cold start costs one request"))
    };
    assert!(
        pictures.iter().any(|picture| of_both_fleets(&picture)),
        "{:#?}\n{}",
        pictures.last(),
        after(&seen)
    );
    assert!(
        pictures
            .iter()
            .flatten()
            .any(|line| line.starts_with("worker-") && line.contains("  ended  "))
    );
    for picture in &pictures {
        assert!(
            picture.len() <= 24 && picture.iter().all(|line| line.chars().count() <= 80),
            "{picture:#?}"
        );
    }
    assert!(seen.contains("\x1b[32m"), "no colours");

    // The terminal is restored, and shows the story and the table.
    let after = after(&seen);
    assert!(
        seen.contains("\x1b[?25h") && !after.contains('\x1b'),
        "{after}"
    );
    assert!(
        after.contains("ok: a cold start costs one request")
            && after.contains("cold start: units billed"),
        "{after}"
    );
    assert!(is_empty(temporary.path()));
}

#[test]
fn ctrl_c_gives_the_terminal_back_however_small_it_is() {
    for (columns, rows) in [(80, 24), (30, 4), (1, 1)] {
        let temporary = TempDir::new().unwrap();
        let mut terminal =
            Terminal::start(story(temporary.path()).env("NO_COLOR", "1"), columns, rows);
        terminal.look_until(|seen| seen.matches("\x1b[H").count() > 10);
        kill_process(Pid::from_child(&terminal.program), Signal::INT).unwrap();
        let (seen, code) = terminal.end();
        assert_eq!(code, Some(130), "{seen}");
        for picture in pictures(&seen) {
            let fits = |line: &String| line.chars().count() <= columns.into();
            assert!(
                picture.len() <= rows.into() && picture.iter().all(fits),
                "{columns} x {rows}: {picture:#?}"
            );
        }
        let colours = ["\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];
        assert!(
            !colours.iter().any(|colour| seen.contains(colour)),
            "{seen:?}"
        );
        let after = after(&seen);
        assert!(
            after.contains("interrupted; all workers are ended"),
            "{after}"
        );
        assert_eq!(processes_of(temporary.path()), Vec::<String>::new());
        assert!(is_empty(temporary.path()));
    }
}

#[test]
fn a_terminal_that_cannot_and_a_user_who_does_not_want_it_get_lines() {
    let temporary = TempDir::new().unwrap();
    let mut plain = story(temporary.path());
    plain.arg("--plain");
    let mut with_logs = story(temporary.path());
    with_logs.env("RUST_LOG", "flagcache=info");
    for command in [&mut plain, &mut with_logs] {
        let mut terminal = Terminal::start(command, 80, 24);
        terminal.look_until(|seen| seen.contains("all have flags"));
        kill_process(Pid::from_child(&terminal.program), Signal::TERM).unwrap();
        let (seen, code) = terminal.end();
        assert_eq!(code, Some(130), "{seen}");
        assert!(!seen.contains(ENTER), "{seen}");
    }
}

//! Runs cases that need a disk of their own: a small file system in memory, mounted where only the case sees it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tempfile::TempDir;

/// How much fits on the disk, in bytes.
pub(crate) const SIZE: usize = 256 * 1024;

/// A case is given the folder at which its disk is mounted.
pub(crate) type Case = fn(&Path);

/// What the names of the cases have in them that become another user.
const AS_USERS: &str = "another_user";

const CASE: &str = "FLAGCACHE_TEST_CASE";
const FOLDER: &str = "FLAGCACHE_TEST_FOLDER";

/// Remounts the disk of this case (`bind`: the mount, which a user in a namespace may do). Whether that was possible: it is not while a file is open for writing.
pub(crate) fn make_read_only(folder: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount
        .args(["-o", "remount,bind,ro"])
        .arg(folder)
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// Goes on as user `id`, with all threads that are started from here on.
pub(crate) fn become_user(id: u32) {
    use rustix::process::{Gid, Uid};
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_groups(&[]).unwrap();
    rustix::thread::set_thread_res_gid(group, group, group).unwrap();
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
}

/// Puts a file over the one at `path` that is a mount of its own.
pub(crate) fn mount_over(file: &Path, path: &Path) {
    assert!(
        Command::new("mount")
            .arg("--bind")
            .arg(file)
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

/// Runs the cases and reports them as the standard harness does.
pub(crate) fn run(cases: &[(&str, Case)]) -> ExitCode {
    if let (Ok(name), Some(folder)) = (env::var(CASE), env::var_os(FOLDER).map(PathBuf::from)) {
        let (_, case) = cases
            .iter()
            .find(|(case, _)| *case == name)
            .expect("no such case");
        case(&folder);
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let chosen = chosen
        .into_iter()
        .filter(|name| filters.is_empty() || filters.iter().any(|part| name.contains(*part)));
    let namespace = namespace();
    // In a namespace of its own a user is root, but cannot become another user.
    let is_root = namespace.is_some_and(|namespace| !namespace.contains(&"--map-root-user"));
    println!("\nrunning {} tests", chosen.clone().count());
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for name in chosen {
        match namespace {
            Some(_) if name.contains(AS_USERS) && !is_root => {
                println!("test {name} ... ignored, may not become another user");
                ignored += 1;
            }
            Some(namespace) if passes(name, namespace) => {
                println!("test {name} ... ok");
                passed += 1;
            }
            None if env::var_os("CI").is_none() => {
                println!("test {name} ... ignored, may not mount a disk");
                ignored += 1;
            }
            _ => {
                println!("test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed; {ignored} ignored\n");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The arguments of `unshare` with which this user may mount: root's, or those of a user who may be root in a namespace.
fn namespace() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let folder = TempDir::new().unwrap();
        let status = on_disk(way, folder.path(), Path::new("true"))
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}

fn passes(name: &str, namespace: &[&str]) -> bool {
    let folder = TempDir::new().unwrap();
    let mut case = on_disk(namespace, folder.path(), &env::current_exe().unwrap());
    case.env(CASE, name)
        .env(FOLDER, folder.path())
        .status()
        .unwrap()
        .success()
}

/// `program`, with a disk at `folder` that no other process sees and that is removed with it.
fn on_disk(namespace: &[&str], folder: &Path, program: &Path) -> Command {
    let script = format!(r#"mount -t tmpfs -o size={SIZE} flagcache "$1" && exec "$2""#);
    let mut command = Command::new("unshare");
    command
        .args(namespace)
        .args(["sh", "-c", &script, "sh"])
        .arg(folder)
        .arg(program);
    command
}

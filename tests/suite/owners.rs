//! One owner of a directory: handles, lock files that somebody deletes, forks.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ottla::{Broker, ErrorKind, Record, TopicConfig};

use crate::support::{TempDir, send_all, values};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A stopped Kafka broker deletes the file, and so may anybody: within a process the directory stays taken.
#[test]
fn a_second_handle_is_refused_though_the_lock_file_was_deleted() {
    let dir = TempDir::new("lock-file");
    let path = dir.path().join("data");
    let broker = Broker::open(&path).unwrap();
    send_all(&broker.create_topic("t", TopicConfig::new()).unwrap(), ["a"]).unwrap();
    for _ in 0..2 {
        let error = Broker::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
        _ = std::fs::remove_file(path.join(".lock"));
    }
    // Under another name it is the same directory.
    let other = dir.path().join("other");
    std::os::unix::fs::symlink(&path, &other).unwrap();
    assert_eq!(Broker::open(&other).unwrap_err().kind(), ErrorKind::DirectoryInUse);
    broker.close(TIMEOUT).unwrap();
    let again = Broker::open(&other).unwrap();
    assert_eq!(values(&again.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"a"]);
    assert_eq!(Broker::open(&path).unwrap_err().kind(), ErrorKind::DirectoryInUse);
}

/// The suite `hostile_directory` has found that the link was followed, and what it leads to was written to.
#[test]
fn a_link_in_the_place_of_a_partitions_directory_is_not_followed() {
    let dir = TempDir::new("linked-partition");
    let path = dir.path().join("data");
    let broker = Broker::open(&path).unwrap();
    send_all(&broker.create_topic("t", TopicConfig::new()).unwrap(), ["a"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    drop(broker);
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(path.join("t-0"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path.join("t-0")).unwrap();
    let before = dir.content();
    let error = Broker::open(&path).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("a link"), "{error}");
    assert_eq!((error.topic(), error.partition()), (Some("t"), Some(0)));
    assert_eq!(dir.content(), before, "nothing was touched");
}

/// The suite `hostile_directory` has found that verifying read all of it, and so did a recovery.
#[test]
fn a_log_that_somebody_has_extended_to_a_terabyte_is_not_read_to_its_end() {
    let dir = TempDir::new("terabyte");
    let path = dir.path().join("data");
    let broker = Broker::open(&path).unwrap();
    send_all(&broker.create_topic("t", TopicConfig::new()).unwrap(), ["a"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    drop(broker);
    std::fs::remove_file(path.join(".kafka_cleanshutdown")).unwrap();
    let log = path.join("t-0/00000000000000000000.log");
    std::fs::File::options().write(true).open(&log).unwrap().set_len(1 << 40).unwrap();
    let broker = Broker::open(&path).unwrap();
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"a"]);
    let [recovered] = broker.recovery_report().partitions() else { panic!() };
    assert!(recovered.cut_bytes() > 1 << 39);
    assert!(log.metadata().unwrap().len() < 1000);
}

/// What a forked child does with its parent's broker, each a way to change the directory or to hang.
type Deed = fn(&Broker) -> ottla::Result<()>;

const DEEDS: [Deed; 9] = [
    |broker| broker.topic("t")?.producer().send(Record::new("child")).map(|_| ()),
    |broker| broker.topic("t")?.producer().send_batch(&[Record::new("child")]).map(|_| ()),
    |broker| broker.topic("t")?.producer().flush(),
    |broker| broker.topic("t")?.partition(0)?.wait_for(1),
    |broker| values(&broker.topic("t")?.partition(0)?).map(|_| ()),
    |broker| broker.create_topic("child", TopicConfig::new()).map(|_| ()),
    |broker| broker.delete_topic("t"),
    |broker| broker.tick().map(|_| ()),
    |broker| broker.close(TIMEOUT),
];

/// Runs `child` in a forked process; returns its exit status.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    wait_for(start(child))
}

/// Begins to run `child` in a forked process.
#[expect(unsafe_code, reason = "there is no safe way to fork")]
fn start(child: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child runs nothing but `child` and ends without unwinding or exit handlers; the test that calls this
    // runs alone in its process, so that no other thread holds the allocator's lock.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(child()),
            pid => pid,
        }
    }
}

/// The exit status of a forked process.
#[expect(unsafe_code, reason = "the standard library waits for what it has started itself")]
fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is written to a place that lives.
    unsafe {
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
    }
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

/// In a process of its own, since a fork beside other tests' threads may inherit their locks.
#[test]
fn a_forked_child_cannot_use_its_parents_broker_and_leaves_it_alone() {
    if std::env::var_os("OTTLA_FORK").is_some() {
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["owners::forks", "--exact", "--nocapture", "--test-threads=1"])
        .env("OTTLA_FORK", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("forked 11 times"));
}

/// The child of the test above; alone it does nothing.
#[test]
fn forks() {
    if std::env::var_os("OTTLA_FORK").is_none() {
        return;
    }
    let dir = TempDir::new("fork");
    let path = dir.path().join("data");
    let broker = Broker::open(&path).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["parent"]).unwrap();
    let before = dir.content();
    for (number, deed) in DEEDS.iter().enumerate() {
        let status = fork(|| match deed(&broker) {
            Err(error) if error.kind() == ErrorKind::ForkedProcess => 0,
            _ => 1,
        });
        assert_eq!(status, 0, "deed {number}");
        assert_eq!(dir.content(), before, "deed {number}");
    }
    // The last handles of the child go, and nothing is closed.
    let mut handles = Some((broker, topic));
    let status = fork(|| {
        handles.take();
        0
    });
    assert_eq!((status, dir.content()), (0, before));
    let (broker, topic) = handles.unwrap();
    send_all(&topic, ["parent"]).unwrap();
    assert_eq!(Broker::open(&path).unwrap_err().kind(), ErrorKind::DirectoryInUse, "the lock is held");
    // A child that has only inherited the lock, as everything does between a fork and an exec, holds up nobody.
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let child = start(|| theirs.read(&mut [0]).map_or(1, |_| 0));
    broker.close(TIMEOUT).unwrap();
    drop((broker, topic));
    let again = Broker::open(&path).unwrap();
    assert_eq!(values(&again.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"parent"; 2]);
    assert!(again.recovery_report().is_clean());
    ours.write_all(b"!").unwrap();
    assert_eq!(wait_for(child), 0);
    println!("forked {} times", DEEDS.len() + 2);
}

//! What services do in the crash suites: a few steps each, and among them everything that a broker does to its files.

use ottla::Durability::{Os, Synced};
use ottla::internals::CrashProfile::{Adversarial, Ordered, Prefix, Strict};

use crate::step::Step::{
    Await, Commit, Create, Delete, Expect, FailSync, Flush, Look, Mend, Overdue, PassInterval, Reopen, Sync,
    Tick, Work,
};
use crate::step::{advance, alter, batch, leave, send};
use crate::workload::{Left, Workload};

/// All of them.
pub fn workloads() -> Vec<Workload> {
    [
        appending(),
        levels(),
        rolling(),
        topics(),
        altering(),
        failing(),
        lives(),
        recoveries(),
        takeovers(),
        groups(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn appending() -> Vec<Workload> {
    vec![
        Workload::new("appends", [send("a", &[10]), send("a", &[600, 20]), send("a", &[5])]),
        Workload::new(
            "batches",
            [batch("a", &[300, 200, 10]), batch("a", &[400, 400]), batch("a", &[700]), send("a", &[5])],
        ),
        Workload::new(
            "batches of several sectors",
            [batch("a", &[900]), batch("a", &[400, 450]), send("a", &[10]), batch("a", &[300, 300, 300])],
        ),
        Workload::new(
            "conditional",
            [Expect("a", 10), Expect("a", 300), send("a", &[20]), Expect("a", 700), Expect("b", 10), Look],
        ),
        Workload::new(
            "nobody waits",
            [
                send("a", &[100]),
                leave("a", &[200]),
                leave("a", &[900]),
                Flush("a"),
                leave("a", &[30, 40]),
                Reopen,
            ],
        ),
        Workload::new(
            "nobody waits, and closes",
            [
                leave("a", &[200, 300]),
                leave("b", &[10]),
                leave("a", &[600]),
                Reopen,
                leave("os", &[10]),
                Reopen,
            ],
        ),
        Workload::new(
            "awaited",
            [
                Await("a", 10, false),
                Await("a", 500, true),
                leave("a", &[30]),
                Await("os", 20, true),
                Tick,
                Look,
            ],
        )
        .ticked(),
        Workload::new(
            "gzip",
            [send("gzip", &[700, 80]), batch("gzip", &[450, 450]), send("gzip", &[10]), Reopen],
        ),
        Workload::new(
            "snappy and lz4",
            [
                send("snappy", &[300]),
                batch("lz4", &[450, 450]),
                send("snappy", &[900, 20]),
                send("lz4", &[4]),
            ],
        ),
        Workload::new(
            "zstd, not synced",
            [send("zstd", &[300, 20]), Sync("zstd"), batch("zstd", &[450, 450]), send("zstd", &[30]), Reopen],
        ),
    ]
}

fn levels() -> Vec<Workload> {
    vec![
        Workload::new(
            "os",
            [
                send("os", &[100]),
                send("os", &[600, 500]),
                Sync("os"),
                send("os", &[700]),
                // What follows a roll is synced behind it.
                advance(20),
                Tick,
                send("os", &[10]),
                Reopen,
                send("os", &[900]),
            ],
        ),
        Workload::new(
            "os, never synced",
            [send("os", &[300]), batch("os", &[200, 600]), send("os", &[500, 10])],
        ),
        Workload::new(
            "interval",
            [
                send("interval", &[100]),
                PassInterval("interval"),
                send("interval", &[800]),
                PassInterval("interval"),
                Overdue("interval"),
            ],
        ),
        Workload::new(
            "many sectors",
            [
                send("wide", &[600]),
                send("wide", &[700, 300]),
                batch("wide", &[900, 900]),
                send("wide", &[1200]),
            ],
        ),
        Workload::new(
            "many sectors of two topics",
            [
                send("wide", &[500]),
                leave("a", &[300]),
                send("wide", &[2000]),
                send("os", &[700]),
                batch("wide", &[400, 400]),
                leave("a", &[500]),
                Tick,
            ],
        ),
        Workload::new(
            "many sectors, synced in the midst",
            [send("wide", &[1500]), Sync("wide"), send("wide", &[800]), send("wide", &[10, 10, 900]), Reopen],
        ),
        Workload::new(
            "levels side by side",
            [send("a", &[300]), send("os", &[300]), send("interval", &[300]), send("a", &[700]), Sync("os")],
        ),
        Workload::new(
            "an interval and a roll",
            [
                send("interval", &[900]),
                send("interval", &[900]),
                advance(150),
                Tick,
                send("interval", &[10]),
                Tick,
            ],
        )
        .ticked(),
    ]
}

fn rolling() -> Vec<Workload> {
    vec![
        Workload::new("rolls", [send("a", &[700]), send("a", &[700, 700]), send("a", &[10])]),
        Workload::new(
            "rolls made ready",
            [
                send("a", &[700]),
                // The next log is made, the next segment is given it, and its end is as near.
                Tick,
                send("a", &[720]),
                Tick,
                send("a", &[10]),
                send("a", &[710, 10]),
                Reopen,
                send("a", &[700]),
            ],
        )
        .ticked(),
        Workload::new(
            "rolls made ready, not synced",
            [
                send("os", &[700]),
                Tick,
                send("os", &[720]),
                Tick,
                send("os", &[710, 10]),
                Reopen,
                send("os", &[700]),
            ],
        )
        .ticked(),
        Workload::new(
            "rolls and the clock",
            [
                send("a", &[900]),
                advance(1500),
                Tick,
                send("a", &[900]),
                advance(61_000),
                Tick,
                send("a", &[20]),
            ],
        ),
        Workload::new(
            "many small segments",
            [send("a", &[900, 900, 900]), send("os", &[900, 900]), send("a", &[900])],
        ),
        Workload::new(
            "a roll of two partitions",
            [
                send("a", &[900]),
                alter("a", "to 2", |config| config.partitions(2)),
                send("a/1", &[900]),
                send("a", &[900]),
                send("a/1", &[900]),
            ],
        ),
    ]
}

fn topics() -> Vec<Workload> {
    vec![
        Workload::new("topics", [send("a", &[10]), send("b", &[20]), Delete("a"), send("b", &[30])]),
        Workload::new("created", [Create("a"), Create("os"), Create("b")]),
        Workload::new(
            "deleted and made again",
            [
                send("a", &[10, 600]),
                Delete("a"),
                send("a", &[30]),
                Delete("a"),
                Create("a"),
                send("a", &[40]),
            ],
        ),
        Workload::new(
            "deleted with several segments",
            [send("os", &[900, 900]), Tick, leave("os", &[30]), Delete("os"), send("a", &[20]), Reopen],
        ),
        Workload::new(
            "deleted between lives",
            [send("a", &[10]), send("b", &[800]), Reopen, Delete("b"), Reopen, Create("b"), send("b", &[20])],
        ),
    ]
}

fn altering() -> Vec<Workload> {
    vec![
        Workload::new(
            "alter",
            [
                send("os", &[100]),
                send("os", &[600, 500]),
                alter("os", "synced", |config| config.durability(Synced).segment_bytes(4096)),
                send("os", &[700, 300]),
                alter("os", "os", |config| config.durability(Os).segment_bytes(1024)),
                send("os", &[900]),
                Reopen,
                alter("os", "synced again", |config| config.durability(Synced)),
                send("os", &[10]),
            ],
        ),
        Workload::new(
            "grow",
            [
                send("a", &[10]),
                alter("a", "to 2", |config| config.partitions(2)),
                send("a/1", &[30]),
                alter("a", "to 4, os", |config| config.partitions(4).durability(Os)),
                send("a/3", &[40]),
                send("a/1", &[40]),
                Reopen,
                alter("a", "to 5, synced", |config| config.partitions(5).durability(Synced)),
                send("a/4", &[50, 60]),
                send("a", &[10]),
            ],
        ),
        Workload::new(
            "grown and deleted",
            [
                send("a", &[300]),
                alter("a", "to 3", |config| config.partitions(3)),
                send("a/2", &[10]),
                Delete("a"),
                send("b", &[10]),
            ],
        ),
        Workload::new(
            "another segment size",
            [
                send("a", &[400]),
                alter("a", "2 KiB", |config| config.segment_bytes(2048)),
                send("a", &[900, 900]),
                alter("a", "1 KiB", |config| config.segment_bytes(1024)),
                send("a", &[500]),
            ],
        ),
    ]
}

/// Syncs that fail: what they were to sync is served by the page cache, and is not on the disk.
fn failing() -> Vec<Workload> {
    vec![
        Workload::new(
            "a failed sync",
            [send("a", &[300]), FailSync, send("a", &[200]), send("a", &[100]), Look],
        ),
        Workload::new(
            "a failed sync, and nobody mends",
            [send("a", &[300]), FailSync, leave("a", &[600, 200]), Reopen, send("a", &[100])],
        ),
        Workload::new(
            "a failed sync of what is visible",
            [send("os", &[300, 600]), FailSync, Sync("os"), Mend("os"), send("os", &[100]), Sync("os"), Look],
        ),
        Workload::new(
            "a failed sync at a roll",
            [send("a", &[900]), FailSync, send("a", &[900]), Mend("a"), send("a", &[20]), Reopen, Look],
        ),
        Workload::new(
            "a failed sync, then killed",
            [
                send("a", &[300]),
                send("os", &[400]),
                FailSync,
                leave("a", &[200, 500]),
                Flush("a"),
                send("os", &[10]),
            ],
        ),
    ]
}

fn lives() -> Vec<Workload> {
    vec![
        Workload::new("lives", [send("a", &[300]), Reopen, send("a", &[900]), Reopen]),
        Workload::new("closes", [send("os", &[300, 200, 250]), Reopen]),
        Workload::new("opened and closed", [Reopen, Reopen]),
        Workload::new("a life without a record", [Reopen, Create("b"), Reopen, Look])
            .after([send("a", &[300, 900])], Left::Closed),
        Workload::new("goes on after an orderly stop", [send("a", &[500]), send("os", &[500]), Look])
            .after([send("a", &[300, 900]), send("os", &[700])], Left::Closed),
        Workload::new("goes on after a kill", [send("a", &[500]), Sync("os"), send("os", &[10]), Reopen])
            .after([send("a", &[300, 900]), send("os", &[700, 600])], Left::Killed),
    ]
}

/// Groups that commit.
fn groups() -> Vec<Workload> {
    vec![
        Workload::new("commits", [send("a", &[300]), Commit("a"), send("a", &[200]), Commit("a"), Look]),
        Workload::new(
            "commits what was not synced",
            [send("os", &[300, 500]), Commit("os"), Reopen, Commit("os")],
        ),
        Workload::new(
            "commits to a topic of the same name",
            [send("a", &[90]), Commit("a"), Delete("a"), send("a", &[80]), Commit("a")],
        ),
        Workload::new("commits after a kill", [send("a", &[50]), Commit("a"), Reopen, Commit("a")])
            .after([send("a", &[300, 900]), Commit("a"), send("a", &[100])], Left::Killed),
        Workload::new(
            "acquires",
            [
                send("a", &[300, 20, 30]),
                Work("a"),
                send("a", &[40, 50]),
                Work("a"),
                send("a", &[60]),
                Work("a"),
                Look,
            ],
        )
        .failing_each(5),
        Workload::new(
            "acquires what was not synced",
            [send("os", &[300, 20, 500]), Work("os"), Reopen, Work("os"), Work("os")],
        )
        .failing_each(5),
        Workload::new("acquires after a kill", [Work("a"), send("a", &[10]), Work("a"), Reopen, Work("a")])
            .after([send("a", &[300, 20, 30, 40, 50]), Work("a"), send("a", &[100])], Left::Killed)
            .failing_each(5),
    ]
}

/// What a crash has left is recovered, and what was appended then is as safe.
fn recoveries() -> Vec<Workload> {
    let torn = || {
        [send("a", &[300]), send("os", &[600]), leave("a", &[900, 200]), Flush("a"), send("os", &[900, 300])]
    };
    let open = || [send("a", &[50]), send("os", &[50]), Reopen, send("a", &[900])];
    vec![
        Workload::new("recovers what was synced", open()).after(torn(), Left::PowerCut(Strict, 0)),
        Workload::new("recovers a prefix", open()).after(torn(), Left::PowerCut(Prefix, 4)),
        Workload::new("recovers any sectors", open()).after(torn(), Left::PowerCut(Ordered, 5)),
        Workload::new("recovers garbage", open()).after(torn(), Left::PowerCut(Adversarial, 7)),
        Workload::new("recovers a ghost", open()).after(
            [send("a", &[300]), send("os", &[600]), FailSync, leave("a", &[200]), send("a", &[400])],
            Left::Killed,
        ),
    ]
}

fn takeovers() -> Vec<Workload> {
    let goes_on = || [send("orders", &[300]), batch("orders/1", &[20, 900]), send("a", &[10]), Reopen, Look];
    vec![
        Workload::new("adopts what was stopped", goes_on()).after([], Left::Kafkas { stopped: true }),
        Workload::new("adopts what was killed", goes_on()).after([], Left::Kafkas { stopped: false }),
        Workload::new("adopted, then killed", goes_on())
            .after([send("orders", &[500]), leave("orders/1", &[10])], Left::Kafkas { stopped: true }),
    ]
}

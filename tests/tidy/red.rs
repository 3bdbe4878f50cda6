//! Each rule reports what it must, and nothing else.

use super::*;

/// The rule reports each line that ends with `// red`, and no other.
#[track_caller]
fn check(rule: Rule, file: &str, text: &str) {
    let expected: BTreeSet<_> =
        numbered(text).filter(|(_, line)| line.ends_with("// red")).map(|(number, _)| number).collect();
    let violations = rule(file, text);
    let reported: BTreeSet<_> = violations.iter().map(|violation| line_of(file, violation)).collect();
    assert_eq!(reported, expected, "{violations:#?}");
}

fn line_of(file: &str, violation: &str) -> usize {
    let (line, _) = violation.strip_prefix(file).unwrap()[1..].split_once(':').unwrap();
    line.parse().unwrap()
}

#[test]
fn a_higher_floor() {
    let text = r#"
        //! Not a use: crate::broker::Broker.
        use crate::model::{self as numbers, Offset};
        use crate::{error::Error, file_name as name, record_batch::{BatchHeader, RecordBatch}};
        use crate::segment::SegmentDir;
        use crate::broker::Broker; // red
        use crate::{
            error::{Error, Result},
            partition_log::PartitionLog, // red
            vfs::{self, Vfs},
        };
        use crate::Error; // red
        use crate::*; // red
        use crate as root; // red
        pub(crate) fn name() -> &'static str { "crate::broker" }
        fn inline() { let _ = ::std::mem::take(&mut crate::producer::deliveries::<u8>()); } // red
        macro_rules! reach { () => { $crate::consumer::Consumer } } // red
    "#;
    check(floors, "src/segment/active.rs", text);
    check(floors, "src/lib.rs", "use crate::broker::Broker;");
}

#[test]
fn a_neighbour() {
    check(floors, "src/vfs/os.rs", "use crate::vfs::Vfs;\nuse crate::record_batch::RecordBatch; // red");
    check(floors, "src/sync.rs", "use crate::error::Error; // red");
    check(floors, "src/internals.rs", "use crate::broker::Broker;\nuse crate::Topic; // red");
}

#[test]
fn super_that_leaves_the_module() {
    let single = r#"
        use super::error::Error; // red
        use self::super::error::Error; // red
        pub(super) fn ours() {}
        mod tests {
            use super::*;
            use super::super::error::Error; // red
        }
        fn behind() { super::error::raise() } // red
    "#;
    check(floors, "src/model.rs", single);
    check(floors, "src/vfs/mod.rs", single);
    let inside = r#"
        use super::{Vfs, map};
        use super::super::error::Error; // red
        use super::{super::error::Error}; // red
        use super as folder; // red
        fn inline() { super::map::map() }
    "#;
    check(floors, "src/vfs/os.rs", inside);
}

#[test]
fn a_module_without_a_floor_and_a_floor_without_its_module() {
    let paths = |names: &[&str]| -> Vec<_> { names.iter().map(|name| format!("src/{name}/")).collect() };
    let all = FLOORS.concat();
    assert_eq!(misplaced_modules(&paths(&all)), [""; 0]);
    assert_eq!(misplaced_modules(&paths(&all[1..])), ["tests/tidy.rs:1: there is no module error"]);
    let more = [&all[..], &["cellar"]].concat();
    assert_eq!(misplaced_modules(&paths(&more)), ["src:1: cellar stands on no floor"]);
}

#[test]
fn a_file_that_does_not_say_what_it_is() {
    check(introduction, "src/model.rs", "//! The nouns.\n");
    for text in ["", "\n", "//!\n", "use std::fmt;\n//! Too late.", "// A comment.\n//! Too late."] {
        let expected = "src/model.rs:1: does not begin with a `//!` line that says what it is";
        assert_eq!(introduction("src/model.rs", text), [expected], "{text:?}");
    }
}

#[test]
fn unsafe_elsewhere() {
    let text = r#"
        #![deny(unsafe_code)]
        #[expect(unsafe_code, reason = "speed")] // red
        fn read() { unsafe { peek() } } // red
        // unsafe is a word, and "unsafe" is a string.
        const WORD: &str = "unsafe";
        #![cfg_attr(test, allow(dead_code, unsafe_code))] // red
    "#;
    check(unsafe_code, "src/vfs/os.rs", text);
    assert_eq!(unsafe_code(MAP, text), [""; 0]);
}

#[test]
fn the_operating_system_elsewhere() {
    let text = r#"
        use std::fs::File; // red
        use std::{fs, io}; // red
        use std::io;
        fn lock() { nix::fcntl::flock() } // red
        fn map() -> memmap2::Mmap { fs() } // red
        #[cfg(test)]
        mod tests {
            use std::fs;
            use memmap2::Mmap; // red
        }
        fn behind() { std::fs::read("path") } // red
    "#;
    check(operating_system, "src/segment/active.rs", text);
    assert_eq!(operating_system(OS, text), [""; 0]);
    check(operating_system, "src/segment/tests.rs", "use std::fs;\nuse nix::libc; // red");
}

#[test]
fn the_time_elsewhere() {
    check(
        time,
        "src/broker/handle.rs",
        "use std::time::{Duration, Instant}; // red\nuse std::time::Duration;",
    );
    check(time, "src/broker/handle.rs", "let now = std::time::SystemTime::now(); // red");
    check(
        time,
        "src/sync/real.rs",
        "fn wait(until: Instant) {\nInstant::now(); // red\nSystemTime::now(); // red\n}",
    );
    assert_eq!(time(CLOCK, "Instant::now(); SystemTime::now();"), [""; 0]);
}

#[test]
fn a_lock_beside_the_door() {
    let text = r#"
        use std::sync::{Arc, Weak};
        use crate::sync::{Mutex, atomic};
        use parking_lot::Mutex; // red
        use shuttle::thread; // red
        use std::sync::{
            Arc,
            Mutex, // red
            atomic::{AtomicU64, Ordering}, // red
        };
        use std::sync::mpsc; // red
        use std::{sync, time::Duration}; // red
        static ONCE: std::sync::OnceLock<u8> = std::sync::OnceLock::new(); // red
        thread_local! { static SEEN: u8 = 0 } // red
        fn start() { std::thread::spawn(run); } // red
        fn named() { thread::Builder::new() } // red
        fn give_way() { std::thread::yield_now() }
    "#;
    check(synchronisation, "src/broker/shared.rs", text);
    assert_eq!(synchronisation("src/sync/real.rs", text), [""; 0]);
}

#[test]
fn a_panic_or_a_print_in_the_library() {
    let text = r#"
        #![warn(clippy::unwrap_used, clippy::panic)]
        fn a() { first.unwrap_or_default(); "never .unwrap()"; }
        fn b() { first.unwrap() } // red
        fn c() { first.expect("a first") } // red
        fn d() { firsts.map(Option::unwrap) } // red
        #[expect(clippy::module_inception, reason = "the folder is the layer")]
        fn e() { panic!("{first}") } // red
        fn f() { todo!() } // red
        fn g() { unimplemented!() } // red
        fn h() { unreachable!() } // red
        fn i() { dbg!(first) } // red
        fn j() { println!("{first}") } // red
        fn k() { eprintln!("{first}") } // red
        fn l() { print!("{first}") } // red
        fn m() { eprint!("{first}") } // red
        #[cfg(test)]
        mod tests {
            fn n() { if true { panic!() } first.unwrap() }
        }
        #[cfg(test)]
        mod more_tests;
        fn o(panic: bool) -> bool { first.unwrap_err(); panic != true } // red
    "#;
    check(panics_and_prints, "src/broker/shared.rs", text);
    assert_eq!(panics_and_prints("src/broker/tests.rs", text), [""; 0]);
    assert_eq!(panics_and_prints(CHECKED, text), [""; 0]);
}

#[test]
fn work_that_was_put_off() {
    check(unfinished, "tests/day_one.rs", "#[test]\nfn ignore() {}\n// Nothing to do.");
    check(unfinished, "tests/day_one.rs", "#[test]\n#[ignore = \"slow\"] // red\nfn slow() {}");
    check(unfinished, "tests/day_one.rs", "#[cfg_attr(miri, ignore)] // red");
    for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
        check(unfinished, "src/model.rs", &format!("/// Later: {mark} // red\nstruct Record;"));
    }
}

#[test]
fn a_sleep() {
    check(sleeps, "tests/day_one.rs", "std::thread::sleep(BRIEFLY); // red\n// thread::sleep\nsleep();");
    check(
        sleeps,
        "tests/day_one.rs",
        "use std::thread::{self, sleep}; // red\nthread::sleep(BRIEFLY); // red",
    );
}

#[test]
fn an_exception_without_a_reason() {
    let text = r#"
        #![allow(missing_docs)] // red
        #[expect(clippy::cast_sign_loss)] // red
        #[expect(
            clippy::cast_sign_loss,
            reason = "it is positive"
        )]
        #[cfg_attr(test, allow(dead_code))] // red
        #[warn(missing_docs)]
        fn expect(reason: u8) { expect(reason) }
    "#;
    check(reasons, "src/config.rs", text);
}

#[test]
fn a_file_of_many_nouns() {
    let lines = |count| "\n".repeat(count);
    assert_eq!(length("src/model.rs", &lines(MAX_LINES)), [""; 0]);
    assert_eq!(length("src/model.rs", &lines(MAX_LINES + 1)).len(), 1);
    assert_eq!(length("src/broker/tests.rs", &lines(MAX_LINES + 1)), [""; 0]);
}

#[test]
fn a_place_that_nobody_else_has() {
    for place in
        [concat!("https://index.", "crates.io"), concat!("/wo", "rk/main"), concat!("/ro", "ot/.bashrc")]
    {
        check(foreign_places, "README.md", &format!("The network\n{place} // red"));
    }
    check(foreign_places, "README.md", "crates.io, docs.rs, work/, root/");
}

#[test]
fn a_readme_that_states_another_tree() {
    let tree = "bytes v1.12.2\nnix v0.31.3\nlibc v0.2.191\nlibc v0.2.191 (*)\n";
    let readme = |names: &str| format!("# ottla\n\n<!-- dependency-tree -->\n```text\n{names}\n```\nMore.\n");
    assert_eq!(dependencies(&readme("bytes libc\nnix"), tree), [""; 0]);
    assert_eq!(
        dependencies(&readme("bytes nix tokio"), tree),
        [
            "README.md:3: does not state the dependency libc",
            "README.md:3: states tokio, which is no dependency",
        ]
    );
    let missing = "README.md:1: no line `<!-- dependency-tree -->` with a ```text block behind it";
    assert_eq!(dependencies("# ottla\n", tree), [missing]);
    assert_eq!(dependencies("<!-- dependency-tree -->\nbytes libc nix\n", tree), [missing]);
}

#[test]
fn a_map_of_another_house() {
    let modules = ["src/model.rs".to_owned(), "src/vfs/".to_owned()];
    let exists = |path: &str| ["src/", "src/model.rs", "src/vfs/", "src/vfs/os.rs"].contains(&path);
    let map = "Below `src/`: [`src/model.rs`](src/model.rs), then src/vfs/os.rs. Not ours: kafka/src/main.\n";
    assert_eq!(code_map(map, &modules, exists), [""; 0]);
    assert_eq!(
        code_map("# The house\n`src/vfs/`\n`src/vfs/cloud.rs`", &modules, exists),
        [
            "ARCHITECTURE.md:1: does not mention src/model.rs",
            "ARCHITECTURE.md:3: there is no src/vfs/cloud.rs"
        ]
    );
}

#[test]
fn prose_is_no_code() {
    for (text, code) in [
        ("a // b\nc", "a1 c2"),
        ("a /* b /* c */ \n d */ e", "a1 e2"),
        ("a /*/ b */ c", "a1 c1"),
        (r#"a "b \" c" d"#, "a1 d1"),
        ("a \"b\n\\\\\" c", "a1 c2"),
        (r##"a r#"b " c"# d"##, "a1 d1"),
        (r#"a r"b\" c"#, "a1 c1"),
        (r##"a br#"b"# b"c" c"d" e"##, "a1 e1"),
        (r"a '\'' b'x' '\u{1F600}' 'ж' b", "a1 b1"),
        ("<'a, 'b>", "<1 '1 a1 ,1 '1 b1 >1"),
        ("r#type::a / b", "r1 #1 type1 ::1 a1 /1 b1"),
        ("a \"unending", "a1"),
        ("a /* unending", "a1"),
    ] {
        let found: Vec<_> =
            tokens(text).iter().map(|token| format!("{}{}", token.text, token.line)).collect();
        assert_eq!(found.join(" "), code, "{text}");
    }
}

#[test]
fn paths_leave_their_groups() {
    let written_out = |text: &str| -> Vec<_> {
        let tokens = tokens(text);
        paths(&tokens).into_iter().map(|path| (path.line, path.segments.join("::"))).collect()
    };
    let expected = [(1, "use"), (1, "a::b"), (2, "a::c::d"), (2, "a::c::*"), (2, "a::f"), (3, "g")];
    let expected: Vec<_> = expected.into_iter().map(|(line, path)| (line, path.to_owned())).collect();
    assert_eq!(written_out("use a::{b,\nc::{d as e, *}, {f}};\ng"), expected);
    let generic: Vec<_> = written_out("::a::b::<c>::d { e }").into_iter().map(|(_, path)| path).collect();
    assert_eq!(generic, ["a::b", "c", "d", "e"]);
}

//! Arbitrary bytes as each of the text files: a decoder refuses them, or what it read is written and read again
//! as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla::internals;

fuzz_target!(|input: &[u8]| {
    check_manifest(input);
    // No random checksum is ever right, so this is what reaches the lines before it.
    check_manifest(&with_checksum(input));
    check_leader_epochs(input);
    check_partition_metadata(input);
});

fn check_manifest(bytes: &[u8]) {
    if let Ok(text) = internals::decode_manifest(bytes) {
        assert_eq!(internals::decode_manifest(text.as_bytes()).expect("it was decoded before"), text);
    }
}

/// The input with a right last line; one is added where there is none.
fn with_checksum(input: &[u8]) -> Vec<u8> {
    let whole = input.strip_suffix(b"\n").unwrap_or(input);
    let last_line = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut text = match whole[last_line..].starts_with(b"crc32 ") {
        true => whole[..last_line].to_vec(),
        false => [whole, b"\n"].concat(),
    };
    let crc = crc32fast::hash(&text);
    text.extend_from_slice(format!("crc32 {crc:08x}\n").as_bytes());
    text
}

fn check_leader_epochs(bytes: &[u8]) {
    if let Ok(text) = internals::decode_leader_epochs(bytes) {
        assert_eq!(internals::decode_leader_epochs(text.as_bytes()).expect("it was just written"), text);
    }
}

fn check_partition_metadata(bytes: &[u8]) {
    if let Ok(id) = internals::decode_partition_metadata(bytes) {
        let text = format!("version: 0\ntopic_id: {id}");
        let again = internals::decode_partition_metadata(text.as_bytes()).expect("it was just written");
        assert_eq!(again, id);
    }
}

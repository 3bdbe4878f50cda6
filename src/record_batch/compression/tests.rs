//! Each codec that this build has: what it writes, what it reads, and what it refuses.

use super::*;
use crate::model::Compression::{Gzip, Lz4, Snappy, Zstd};

/// Those that this build has.
fn available() -> impl Iterator<Item = Compression> {
    [Gzip, Snappy, Lz4, Zstd].into_iter().filter(|codec| codec.is_available())
}

fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    make(compression)
        .unwrap()
        .compress(level(CompressionLevels::default(), compression), plain, &mut out)
        .unwrap();
    out
}

fn decompress(compression: Compression, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    make(compression).unwrap().decompress(bytes, limit)
}

/// Some sizes around those of the codecs' blocks; what shrinks, and what does not.
fn samples() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut samples = Vec::new();
    for size in [0, 1, 10, 1000, 32 * 1024 - 1, 32 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 300_000] {
        samples.push(vec![b'.'; size]);
        samples.push((0..size).map(|at| b"some words that come again "[at % 27]).collect());
        samples.push(std::iter::repeat_with(|| random.u8(..)).take(size).collect());
    }
    samples
}

#[test]
fn a_codec_is_made_where_it_is_said_to_be_there() {
    for compression in [Compression::None, Gzip, Snappy, Lz4, Zstd] {
        let is_made = make(compression).is_some();
        assert_eq!(is_made, compression.is_available() && compression != Compression::None, "{compression}");
    }
    let missing = [Gzip, Snappy, Lz4, Zstd].into_iter().find(|codec| !codec.is_available());
    if let Some(missing) = missing {
        let error = Codecs::new(100).unpack(missing, b"bytes").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType);
        let error = Codecs::new(100)
            .pack(missing, CompressionLevels::default(), &[0; 100], &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType);
    }
}

#[test]
fn what_was_compressed_comes_back_up_to_the_limit() {
    for compression in available() {
        let codecs = Codecs::new(usize::MAX);
        for plain in samples() {
            let bytes = compress(compression, &plain);
            assert_eq!(codecs.unpack(compression, &bytes).unwrap(), plain, "{compression}");
            assert_eq!(decompress(compression, &bytes, plain.len()).unwrap(), plain, "{compression}");
            if let Some(less) = plain.len().checked_sub(1) {
                let refused = decompress(compression, &bytes, less);
                assert!(matches!(refused, Err(Failure::TooLarge)), "{compression} of {}", plain.len());
            }
        }
        assert_eq!(codecs.idle.lock().len(), 1, "the workspace was used again");
    }
}

#[test]
fn a_batch_that_would_grow_is_left_as_it_is() {
    for compression in available() {
        let codecs = Codecs::new(usize::MAX);
        for records in samples() {
            let batch = [&[1; HEADER_LEN][..], &records].concat();
            let mut packed = b"before".to_vec();
            let is_packed =
                codecs.pack(compression, CompressionLevels::default(), &batch, &mut packed).unwrap();
            let compressed = compress(compression, &records);
            assert_eq!(is_packed, compressed.len() < records.len(), "{compression} of {}", records.len());
            let expected = if is_packed { [&[1; HEADER_LEN][..], &compressed].concat() } else { Vec::new() };
            assert_eq!(packed, [b"before", &expected[..]].concat());
        }
    }
    let mut packed = Vec::new();
    let none = Codecs::new(1).pack(Compression::None, CompressionLevels::default(), &[0; 1000], &mut packed);
    assert!(!none.unwrap() && packed.is_empty());
}

/// One workspace serves every level, each time as a new one would.
#[test]
fn a_codec_works_as_hard_as_its_level_says() {
    let plain: Vec<u8> =
        (0..100_000_u64).flat_map(|number| (number * number % 9973).to_string().into_bytes()).collect();
    for (compression, levels) in
        [(Compression::Gzip, &[1, 9, -1, 6, 1][..]), (Compression::Zstd, &[-131_072, 22, 3, 1])]
    {
        let Some(mut shared) = make(compression) else { continue };
        let mut sizes = Vec::new();
        for level in levels {
            let (mut bytes, mut anew) = (Vec::new(), Vec::new());
            shared.compress(*level, &plain, &mut bytes).unwrap();
            make(compression).unwrap().compress(*level, &plain, &mut anew).unwrap();
            assert_eq!(bytes, anew, "{compression} at {level}");
            assert_eq!(
                decompress(compression, &bytes, plain.len()).unwrap(),
                plain,
                "{compression} at {level}"
            );
            sizes.push(bytes.len());
        }
        assert!(sizes[0] > sizes[1] && sizes[0] > sizes[2], "{compression}: {sizes:?}");
        assert!(compression != Compression::Gzip || sizes[2] == sizes[3], "-1 is 6: {sizes:?}");
    }
}

#[test]
fn the_limit_is_an_error_of_its_own() {
    for compression in available() {
        let bomb = compress(compression, &vec![0; 1_000_000]);
        let error = Codecs::new(999_999).unpack(compression, &bomb).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        assert!(error.to_string().contains("999999") && error.to_string().contains("decompressed here"));
    }
}

#[test]
fn every_truncation_and_what_stands_behind_the_end_is_refused() {
    let plain: Vec<u8> = (0..2000).map(|at| b"some words that come again "[at % 27]).collect();
    for compression in available() {
        let bytes = compress(compression, &plain);
        for length in 0..bytes.len() {
            match decompress(compression, &bytes[..length], usize::MAX) {
                Err(Failure::Malformed(_)) => {}
                // What is whole up to there has less in it, and the records do not end.
                Ok(less) => assert!(less.len() < plain.len() && plain.starts_with(&less), "{compression}"),
                Err(Failure::TooLarge) => panic!("{compression} of {length} bytes"),
            }
        }
        for behind in [&[0][..], &[0; 20], &[0xff; 20], b"some words"] {
            let refused = decompress(compression, &[&bytes, behind].concat(), usize::MAX);
            assert!(matches!(refused, Err(Failure::Malformed(_))), "{compression}: {refused:?}");
        }
    }
}

#[test]
fn flipped_bits_are_errors_or_other_bytes_and_no_panic() {
    let plain: Vec<u8> = (0..500).map(|at| b"some words that come again "[at % 27]).collect();
    for compression in available() {
        let good = compress(compression, &plain);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(bytes) = decompress(compression, &bad, 10_000) {
                assert!(bytes.len() <= 10_000);
            }
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_has_the_header_of_java_and_members_follow_one_another() {
    let bytes = compress(Gzip, b"one");
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let members = [bytes, compress(Gzip, b""), compress(Gzip, b" and two")].concat();
    assert_eq!(decompress(Gzip, &members, 11).unwrap(), b"one and two");
    assert!(matches!(decompress(Gzip, &members, 10), Err(Failure::TooLarge)));

    // With a name, a comment and extra bytes, as a header may have them; "v", stored.
    let mut named = vec![0x1f, 0x8b, 8, 0b1_1100, 1, 2, 3, 4, 0, 3, 2, 0, 9, 9, b'n', 0, b'c', 0];
    named.extend([1, 1, 0, 0xfe, 0xff, b'v']);
    named.extend(crc32fast::hash(b"v").to_be_bytes().iter().rev());
    named.extend([1, 0, 0, 0]);
    assert_eq!(decompress(Gzip, &named, 10).unwrap(), b"v");
    let at = named.len() - 8;
    named[at] ^= 1;
    assert!(matches!(decompress(Gzip, &named, 10), Err(Failure::Malformed(_))), "the checksum is wrong");
}

#[cfg(feature = "snappy")]
mod snappy {
    use super::*;

    const MAGIC: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    /// "v", as a block of its own.
    const BLOCK: &[u8] = &[1, 0, b'v'];

    fn refusal(bytes: &[u8]) -> String {
        match decompress(Snappy, bytes, usize::MAX) {
            Err(Failure::Malformed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_written_in_the_framing_of_java() {
        assert_eq!(compress(Snappy, b""), MAGIC);
        assert_eq!(compress(Snappy, b"v"), [MAGIC, &[0, 0, 0, 3], BLOCK].concat());
        let long = compress(Snappy, &[7; 70_000]);
        let mut rest = &long[16..];
        let mut lengths = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (block, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            lengths.push(snap::raw::decompress_len(block).unwrap());
            rest = behind;
        }
        assert_eq!(lengths, [32_768, 32_768, 4464]);
    }

    #[test]
    fn framings_follow_one_another_and_one_raw_block_stands_alone() {
        let framed = [MAGIC, &[0, 0, 0, 3], BLOCK].concat();
        assert_eq!(decompress(Snappy, &[&framed[..], &framed].concat(), 2).unwrap(), b"vv");
        assert_eq!(decompress(Snappy, BLOCK, 1).unwrap(), b"v");
        assert!(matches!(decompress(Snappy, &[BLOCK, BLOCK].concat(), 9), Err(Failure::Malformed(_))));
    }

    #[test]
    fn lengths_that_lie_make_no_room() {
        // 2^32 − 1 bytes in a block of six.
        let lies = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(refusal(&lies).contains("4294967295 bytes cannot come of a block of 6"));
        assert!(refusal(&[MAGIC, &[0, 0, 0, 6], &lies].concat()).contains("cannot come"));
        for length in [&[0, 0, 0, 4][..], &[0xff; 4], &[0, 0, 0]] {
            refusal(&[MAGIC, length, BLOCK].concat());
        }
        assert!(refusal(b"\x82SNAPPY\0\0\0\0\0\0\0\0\x01").contains("version 0"));
        assert!(refusal(&MAGIC[..12]).contains("ends in its header"));
    }

    #[test]
    fn nothing_expands_more_than_what_is_made_room_for() {
        // Copies of 64 bytes, three bytes each.
        for copies in [1usize, 10, 1000] {
            let mut block = vec![0u8; 10];
            let length = 1 + 64 * copies;
            let varint = [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14];
            block.splice(.., varint.map(|byte| u8::try_from(byte).unwrap()));
            block.extend([0, b'v']);
            block.extend([0xfe, 1, 0].repeat(copies));
            assert_eq!(decompress(Snappy, &block, usize::MAX).unwrap(), vec![b'v'; length]);
        }
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::*;

    /// A frame with these flags and sizes, whose header checksum is right.
    fn frame(flags: u8, sizes: u8, content_size: &[u8], rest: &[&[u8]]) -> Vec<u8> {
        let descriptor = [&[flags, sizes], content_size].concat();
        let checksum = (twox_hash::XxHash32::oneshot(0, &descriptor) >> 8 & 0xff) as u8;
        [&[0x04, 0x22, 0x4d, 0x18], &descriptor[..], &[checksum], &rest.concat()].concat()
    }

    fn refusal(bytes: &[u8]) -> String {
        match decompress(Lz4, bytes, usize::MAX) {
            Err(Failure::Malformed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// "v", not compressed, and the end.
    const STORED: [&[u8]; 2] = [&[1, 0, 0, 0x80, b'v'], &[0; 4]];

    #[test]
    fn is_written_as_kafka_does() {
        let header = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
        assert_eq!(compress(Lz4, b""), [&header[..], &[0; 4]].concat());
        assert_eq!(compress(Lz4, b"v"), frame(0x60, 0x40, &[], &STORED));
        let long = compress(Lz4, &[7; 70_000]);
        assert!(long.starts_with(&header) && long.ends_with(&[0; 4]) && long.len() < 400);
    }

    #[test]
    fn every_flag_that_kafka_knows_is_read() {
        let hash = |bytes: &[u8]| {
            let mut bytes = twox_hash::XxHash32::oneshot(0, bytes).to_be_bytes();
            bytes.reverse();
            bytes
        };
        for sizes in [0x40, 0x50, 0x60, 0x70] {
            assert_eq!(decompress(Lz4, &frame(0x60, sizes, &[], &STORED), 9).unwrap(), b"v");
        }
        // The size of the content is passed over, and so is its checksum, as Kafka does.
        assert_eq!(decompress(Lz4, &frame(0x68, 0x40, &[9; 8], &STORED), 9).unwrap(), b"v");
        let with_checksum = frame(0x64, 0x40, &[], &[STORED[0], STORED[1], &[1, 2, 3, 4]]);
        assert_eq!(decompress(Lz4, &with_checksum, 9).unwrap(), b"v");
        assert!(refusal(&with_checksum[..with_checksum.len() - 1]).contains("content is missing"));
        // Those of the blocks are not.
        let checked = frame(0x70, 0x40, &[], &[STORED[0], &hash(b"v"), STORED[1]]);
        assert_eq!(decompress(Lz4, &checked, 9).unwrap(), b"v");
        let wrong = frame(0x70, 0x40, &[], &[STORED[0], &hash(b"w"), STORED[1]]);
        assert!(refusal(&wrong).contains("checksum of a block is wrong"));
    }

    #[test]
    fn what_kafka_does_not_read_is_named() {
        let mut wrong_checksum = frame(0x60, 0x40, &[], &STORED);
        wrong_checksum[6] ^= 1;
        let linked = [&[1, 0, 0, 0x80, b'v'][..], &[4, 0, 0, 0, 0, 1, 0, 0], &[0; 4]];
        let too_long = [&[1, 0, 1, 0x80][..], &[0; 65_537], &[0; 4]];
        for (bytes, why) in [
            (wrong_checksum, "header is wrong"),
            (frame(0x40, 0x40, &[], &STORED), "depend on one another"),
            (frame(0xa0, 0x40, &[], &STORED), "version 2"),
            (frame(0x61, 0x40, &[], &STORED), "flags that Kafka does not know"),
            (frame(0x60, 0xc0, &[], &STORED), "flags that Kafka does not know"),
            (frame(0x60, 0x41, &[], &STORED), "flags that Kafka does not know"),
            (frame(0x60, 0x30, &[], &STORED), "size 3"),
            (frame(0x60, 0x40, &[], &[STORED[0]]), "does not end"),
            (frame(0x60, 0x40, &[], &linked), "offset"),
            (frame(0x60, 0x40, &[], &too_long), "65537 bytes"),
            (frame(0x60, 0x40, &[], &[&[9, 0, 0, 0x80, b'v']]), "longer than what is there"),
            (b"\x05\x22\x4d\x18\x60\x40\x82\0\0\0\0".to_vec(), "magic"),
        ] {
            let refusal = refusal(&bytes);
            assert!(refusal.contains(why), "{refusal}, not {why}");
        }
    }

    #[test]
    fn nothing_expands_more_than_what_is_made_room_for() {
        // A literal, and a match with itself of 19 bytes and 255 for each further byte; five literals at the end.
        for more in [0usize, 1, 10, 200] {
            let mut block = vec![0x1f, b'v', 1, 0];
            block.extend(vec![255; more]);
            block.extend([0, 0x50]);
            block.extend(*b"vvvvv");
            let length = u32::try_from(block.len()).unwrap().to_be_bytes();
            let length: Vec<u8> = length.iter().rev().copied().collect();
            let bytes = frame(0x60, 0x40, &[], &[&length, &block, &[0; 4]]);
            assert_eq!(decompress(Lz4, &bytes, usize::MAX).unwrap(), vec![b'v'; 1 + 19 + 255 * more + 5]);
        }
    }
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_frames_follow_one_another_whatever_they_say_of_their_size() {
    let two = [compress(Zstd, &[b'a'; 10_000]), compress(Zstd, &[b'b'; 100_000])].concat();
    let plain = [vec![b'a'; 10_000], vec![b'b'; 100_000]].concat();
    assert_eq!(decompress(Zstd, &two, 110_000).unwrap(), plain);
    assert!(matches!(decompress(Zstd, &two, 109_999), Err(Failure::TooLarge)));
    // What is to be passed over.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &two].concat();
    assert_eq!(decompress(Zstd, &skipped, 110_000).unwrap(), plain);

    // A frame without a size, as Java writes it: a window of 1 MiB; a block of 100,000 times "v".
    let header = (100_000u32 << 3 | 0b11).to_be_bytes();
    let block: Vec<u8> = [header[3], header[2], header[1], b'v'].to_vec();
    let silent = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 80][..], &block].concat();
    assert_eq!(decompress(Zstd, &silent, 100_000).unwrap(), vec![b'v'; 100_000]);
    // One that says 2^40 bytes, and has these.
    let size = [0, 0, 0, 0, 0, 1, 0, 0];
    let lying = [&[0x28, 0xb5, 0x2f, 0xfd, 0xc0, 80][..], &size, &block].concat();
    assert!(matches!(decompress(Zstd, &lying, 1 << 30), Err(Failure::Malformed(_))));
}

//! What is kept in the metadata of a commit reads back, and what somebody else has put there does no harm.

use ottla::Position;
use ottla::internals::{DeliveryCounts, InFlight};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn the_worked_example_reads_as_it_says() {
    let counts = DeliveryCounts::decode("ottla-deliveries/1 0-2x1 5x3", 40);
    let of: Vec<_> = (39..47).map(|offset| counts.of(offset)).collect();
    assert_eq!(of, [0, 1, 1, 1, 0, 0, 3, 0]);
    assert_eq!(counts.encode(40, 4096), "ottla-deliveries/1 0-2x1 5x3");
}

#[test]
fn somebodys_own_words_count_nothing() {
    let words = [
        "",
        "host-7",
        "ottla-deliveries/1",
        "ottla-deliveries/1 ",
        "ottla-deliveries/2 0x1",
        "ottla-deliveries/1 0x0",
        "ottla-deliveries/1 +1x1",
        "ottla-deliveries/1 1-0x1",
        "ottla-deliveries/1 0-3x1 3x2",
        "ottla-deliveries/1 0x1 ",
        "ottla-deliveries/1 18446744073709551615x1",
        "ottla-deliveries/1 0x4294967296",
    ];
    for words in words {
        assert_eq!(DeliveryCounts::decode(words, 1), DeliveryCounts::default(), "{words:?}");
    }
}

proptest! {
    #[test]
    fn counts_read_back_and_what_does_not_fit_is_the_last(
        commit in 0..1000_u64,
        steps in vec((0..5_u64, 0..4_u32), 0..60),
        most in 0..200_usize,
    ) {
        let (mut counts, mut offset, mut all) = (DeliveryCounts::default(), commit, Vec::new());
        for (gap, count) in steps {
            offset += gap;
            counts.push(offset, count);
            all.push((offset, count));
            offset += 1;
        }
        let whole = DeliveryCounts::decode(&counts.encode(commit, 4096), commit);
        prop_assert_eq!(&whole, &counts);
        for (offset, count) in &all {
            prop_assert_eq!(whole.of(*offset), *count);
        }
        let metadata = counts.encode(commit, most);
        prop_assert!(metadata.len() <= most);
        let part = DeliveryCounts::decode(&metadata, commit);
        let kept = all.iter().take_while(|(offset, count)| part.of(*offset) == *count).count();
        prop_assert!(all[kept..].iter().all(|(offset, _)| part.of(*offset) == 0));
        let mut behind = DeliveryCounts::default();
        behind.extend_from(&counts, commit + 20);
        for (offset, count) in all {
            prop_assert_eq!(behind.of(offset), if offset < commit + 20 { 0 } else { count });
        }
    }
    #[test]
    fn whatever_the_metadata_says_every_record_is_handed_out_or_rejected(
        text in prop_oneof![
            3 => "ottla-deliveries/1( [0-9]{1,2}(-[0-9]{1,2})?x[0-9]{1,2}){1,4}",
            2 => "ottla-deliveries/1( [0-9]{1,20}(-[0-9]{1,20})?x[0-9]{1,11}){0,4}",
            1 => ".{0,40}",
        ],
        commit in prop_oneof![0..100_u64, u64::MAX - 200..u64::MAX - 100],
    ) {
        const LIMIT: u32 = 5;
        let counts = DeliveryCounts::decode(&text, commit);
        prop_assert_eq!(&DeliveryCounts::decode(&counts.encode(commit, usize::MAX), commit), &counts);
        let mut in_flight = InFlight::new(Position::new(commit, None), counts.clone(), LIMIT);
        for offset in commit..commit + 20 {
            prop_assert!(in_flight.push(offset, Position::new(offset + 1, None), ()));
        }
        for _ in 0..20 {
            for acquired in in_flight.acquire(1) {
                prop_assert_eq!(acquired.delivery_count, counts.of(acquired.offset) + 1);
                prop_assert!(acquired.delivery_count <= LIMIT);
                prop_assert!(in_flight.accept(acquired.offset));
            }
            while let Some(rejection) = in_flight.rejection() {
                prop_assert!(rejection.delivery_count >= LIMIT);
                prop_assert!(in_flight.bury(rejection.offset));
            }
        }
        prop_assert_eq!(in_flight.commit_point().offset(), commit + 20);
        prop_assert!(in_flight.delivery_counts().encode(commit + 20, 4096).len() <= 4096);
    }
}

//! What is kept in the metadata of a commit reads back.

use ottla::internals::DeliveryCounts;
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
}

//! What is in flight, held against a list of records of which everything is known.

use ottla::internals::{DeliveryCounts, InFlight};
use ottla::{Offset, Position};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u32 = 3;

/// What may be done; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    /// A record comes, behind a gap.
    Push(Offset),
    Acquire(usize),
    Accept(usize),
    Release(usize),
    Reject(usize),
    TakeBack(usize),
    Bury,
    /// The process is gone: what was committed is all that is left.
    Restart,
}

/// A record of which everything is known.
#[derive(Clone, Debug)]
struct Known {
    offset: Offset,
    deliveries: u32,
    is_acquired: bool,
    is_rejected: bool,
    is_settled: bool,
    /// Whether it was ever accepted or buried.
    is_done: bool,
}

#[derive(Debug)]
struct Model {
    records: Vec<Known>,
    /// How many of them were read by this process.
    read: usize,
    in_flight: InFlight<Offset>,
}

impl Model {
    fn new() -> Self {
        let in_flight = InFlight::new(Position::new(0, None), DeliveryCounts::default(), LIMIT);
        Self { records: Vec::new(), read: 0, in_flight }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Push(gap) => {
                let offset = self.records.last().map_or(0, |last| last.offset + 1) + gap;
                self.records.push(Known {
                    offset,
                    deliveries: 0,
                    is_acquired: false,
                    is_rejected: false,
                    is_settled: false,
                    is_done: false,
                });
            }
            Step::Acquire(most) => self.acquire(most),
            Step::Accept(which) => self.settle(which, InFlight::accept, |known| {
                (known.is_settled, known.is_done) = (true, true);
            }),
            Step::Release(which) => self.settle(which, InFlight::release, |known| {
                known.is_rejected = known.deliveries >= LIMIT;
            }),
            Step::Reject(which) => {
                let reject = |in_flight: &mut InFlight<_>, offset| in_flight.reject(offset, "no");
                self.settle(which, reject, |known| known.is_rejected = true);
            }
            Step::TakeBack(which) => self.settle(which, InFlight::take_back, |known| known.deliveries -= 1),
            Step::Bury => self.bury(),
            Step::Restart => self.restart(),
        }
        self.check();
    }

    /// Reads what there is, as the shell does, and holds what is handed out against the rules.
    fn acquire(&mut self, most: usize) {
        for known in &self.records[self.read..] {
            let position = Position::new(known.offset + 1, None);
            assert!(self.in_flight.push(known.offset, position, known.offset));
        }
        self.read = self.records.len();
        let mut expected = Vec::new();
        for at in 0..self.records.len() {
            let before = &self.records[..at];
            let is_held_up = before.iter().any(|known| {
                !known.is_settled
                    && (known.deliveries > 1
                        || (known.deliveries == 1 && !known.is_acquired)
                        || known.is_rejected)
            });
            let known = &mut self.records[at];
            if known.is_settled || known.is_acquired || known.is_rejected {
                continue;
            }
            if expected.len() == most || (is_held_up && known.deliveries == 0) {
                // Nothing passes it.
                break;
            }
            known.deliveries += 1;
            known.is_acquired = true;
            expected.push((known.offset, known.deliveries));
        }
        let acquired = self.in_flight.acquire(most);
        let acquired: Vec<_> = acquired.iter().map(|one| (one.offset, one.delivery_count)).collect();
        assert_eq!(acquired, expected);
    }

    fn settle(
        &mut self,
        which: usize,
        settle: impl FnOnce(&mut InFlight<Offset>, Offset) -> bool,
        learn: impl FnOnce(&mut Known),
    ) {
        if self.records.is_empty() {
            return;
        }
        let at = which % self.records.len();
        let known = &mut self.records[at];
        assert_eq!(settle(&mut self.in_flight, known.offset), known.is_acquired);
        if known.is_acquired {
            known.is_acquired = false;
            learn(known);
        }
    }

    fn bury(&mut self) {
        let known = self.records.iter_mut().find(|known| known.is_rejected);
        let rejection = self.in_flight.rejection();
        let (Some(known), Some(rejection)) = (known, &rejection) else {
            assert!(rejection.is_none());
            return;
        };
        assert_eq!((rejection.offset, rejection.delivery_count), (known.offset, known.deliveries));
        assert!(self.in_flight.bury(known.offset));
        assert!(!self.in_flight.bury(known.offset));
        (known.is_rejected, known.is_settled, known.is_done) = (false, true, true);
    }

    fn restart(&mut self) {
        let point = self.in_flight.commit_point();
        let metadata = self.in_flight.delivery_counts().encode(point.offset(), 4096);
        let counts = DeliveryCounts::decode(&metadata, point.offset());
        self.in_flight = InFlight::new(point, counts, LIMIT);
        self.read = self.records.partition_point(|known| known.offset < point.offset());
        for known in &mut self.records[self.read..] {
            // What was accepted behind a gap is forgotten, and comes again.
            if known.is_settled {
                known.deliveries = 0;
            }
            (known.is_acquired, known.is_settled) = (false, false);
            known.is_rejected = known.deliveries >= LIMIT;
        }
    }

    fn check(&self) {
        let point = self.in_flight.commit_point().offset();
        let unsettled = self.records.iter().find(|known| !known.is_settled);
        assert!(unsettled.is_none_or(|known| known.offset >= point), "{point} passes {unsettled:?}");
        let passed = self.records.iter().take_while(|known| known.is_settled);
        assert_eq!(passed.last().map_or(0, |known| known.offset + 1), point, "it stays behind");
        assert!(self.records.iter().all(|known| known.offset >= point || known.is_done));
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..20_usize;
    let step = prop_oneof![
        4 => (0..3_u64).prop_map(Step::Push),
        4 => (0..6_usize).prop_map(Step::Acquire),
        4 => which.clone().prop_map(Step::Accept),
        3 => which.clone().prop_map(Step::Release),
        1 => which.clone().prop_map(Step::Reject),
        1 => which.prop_map(Step::TakeBack),
        2 => Just(Step::Bury),
        1 => Just(Step::Restart),
    ];
    vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_list_says(steps in steps()) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.run(step));
    }
}

#[test]
fn a_released_record_comes_again_before_anything_new_and_holds_it_up() {
    let mut in_flight = InFlight::new(Position::new(0, None), DeliveryCounts::default(), LIMIT);
    for offset in 0..4 {
        in_flight.push(offset, Position::new(offset + 1, None), ());
    }
    let acquire = |in_flight: &mut InFlight<()>| {
        in_flight.acquire(10).iter().map(|one| (one.offset, one.delivery_count)).collect::<Vec<_>>()
    };
    assert_eq!(in_flight.acquire(2).len(), 2);
    assert!(in_flight.release(0));
    assert_eq!(acquire(&mut in_flight), [(0, 2)]);
    assert!(in_flight.accept(1));
    assert_eq!(acquire(&mut in_flight), []);
    assert!(in_flight.accept(0));
    assert_eq!(in_flight.commit_point().offset(), 2);
    assert_eq!(acquire(&mut in_flight), [(2, 1), (3, 1)]);
}

#[test]
fn a_record_behind_what_was_read_is_not_added_twice() {
    let mut in_flight = InFlight::new(Position::new(5, None), DeliveryCounts::default(), LIMIT);
    assert!(!in_flight.push(4, Position::new(5, None), ()));
    assert!(in_flight.push(7, Position::new(8, None), ()));
    assert!(!in_flight.push(7, Position::new(8, None), ()));
    assert_eq!(in_flight.records().len(), 1);
}

//! One group's coordinator under random calls of members that may do anything, and a clock that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla::internals::{
    Candidate, Effect, Generation, Group, GroupConfig, GroupError, GroupState, JoinAnswer, JoinRequest,
    MemberId, MemberProtocol, RemovalReason,
};
use proptest::collection::vec;
use proptest::prelude::*;

const MEMBERS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Joins: as a known member if it is one. What it says of itself is one of a few things.
    Join {
        member: u8,
        says: u8,
        session: u64,
        rebalance: u64,
    },
    /// Syncs, some generations behind.
    Sync {
        member: u8,
        behind: Generation,
    },
    Heartbeat {
        member: u8,
        behind: Generation,
    },
    Commit {
        member: u8,
        behind: Generation,
    },
    Leave {
        member: u8,
    },
    /// The oldest write that has not ended ends.
    Persisted {
        is_written: bool,
    },
    /// Time goes on, and the shell looks at it or is late.
    Pass {
        seconds: u64,
        ticks: bool,
    },
    /// The process is started anew.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    let behind = prop_oneof![9 => Just(0), 1 => Just(1)];
    let calls = (member.clone(), behind.clone());
    prop_oneof![
        8 => (member.clone(), 0..3u8, 6..60u64, 1..100u64)
            .prop_map(|(member, says, session, rebalance)| Step::Join { member, says, session, rebalance }),
        8 => calls.clone().prop_map(|(member, behind)| Step::Sync { member, behind }),
        3 => calls.clone().prop_map(|(member, behind)| Step::Heartbeat { member, behind }),
        3 => calls.prop_map(|(member, behind)| Step::Commit { member, behind }),
        1 => member.prop_map(|member| Step::Leave { member }),
        6 => prop::bool::weighted(0.8).prop_map(|is_written| Step::Persisted { is_written }),
        3 => (0..40u64, any::<bool>()).prop_map(|(seconds, ticks)| Step::Pass { seconds, ticks }),
        1 => Just(Step::Restart),
    ]
}

fn id(member: u8) -> MemberId {
    MemberId::from(format!("m{member}"))
}

/// What the leader assigns tells for whom it is, and when.
fn share(generation: Generation, member: &MemberId) -> Bytes {
    Bytes::from(format!("{generation} {member}"))
}

/// The shell, and what it has seen.
struct Shell {
    group: Group,
    config: GroupConfig,
    now: Duration,
    joining: BTreeSet<MemberId>,
    syncing: BTreeSet<MemberId>,
    /// Writes that have not ended.
    writing: Vec<Generation>,
    /// Generations that are on stable storage.
    durable: BTreeSet<Generation>,
    /// When each member has last shown a sign of life, or begun to wait.
    alive: BTreeMap<MemberId, Duration>,
    /// What was told of the current generation: protocol and leader.
    told: Option<JoinAnswer>,
    /// How many were told to be the leader of it.
    leaders: usize,
    joined: Generation,
}

impl Shell {
    fn new(delay: u64) -> Self {
        let config =
            GroupConfig { initial_rebalance_delay: Duration::from_secs(delay), ..GroupConfig::default() };
        Self {
            group: Group::new("g", config.clone()).unwrap(),
            config,
            now: Duration::ZERO,
            joining: BTreeSet::new(),
            syncing: BTreeSet::new(),
            writing: Vec::new(),
            durable: BTreeSet::new(),
            alive: BTreeMap::new(),
            told: None,
            leaders: 0,
            joined: 0,
        }
    }

    fn does(&mut self, step: &Step) {
        match step {
            Step::Join { member, says, session, rebalance } => {
                self.join(*member, *says, *session, *rebalance);
            }
            Step::Sync { member, behind } => self.sync(&id(*member), *behind),
            Step::Heartbeat { member, behind } => {
                let member = id(*member);
                let generation = self.group.generation().wrapping_sub(*behind);
                let answer = self.group.heartbeat(&member, generation, self.now);
                let is_alive = matches!(answer, Ok(()) | Err(GroupError::RebalanceInProgress));
                assert_eq!(is_alive, self.is_member(&member) && *behind == 0, "{answer:?}");
                assert_eq!(answer.is_ok(), is_alive && self.group.state() != GroupState::PreparingRebalance);
                self.shows_life(member, is_alive);
            }
            Step::Commit { member, behind } => {
                let member = id(*member);
                let generation = self.group.generation().wrapping_sub(*behind);
                let is_taken = self.group.commit_check(Some(&member), Some(generation), self.now).is_ok();
                let is_time = self.group.state() != GroupState::CompletingRebalance;
                assert_eq!(is_taken, self.is_member(&member) && *behind == 0 && is_time);
                self.shows_life(member, is_taken);
            }
            Step::Leave { member } => {
                let is_member = self.is_member(&id(*member));
                let left = self.group.leave(&id(*member), self.now);
                assert_eq!(left.is_ok(), is_member, "{left:?}");
                self.apply(left.unwrap_or_default());
                assert!(!self.is_member(&id(*member)));
            }
            Step::Persisted { is_written } if !self.writing.is_empty() => {
                let generation = self.writing.remove(0);
                if *is_written {
                    self.durable.insert(generation);
                }
                let effects = self.group.persisted(generation, *is_written, self.now);
                self.apply(effects);
            }
            Step::Persisted { .. } => {}
            Step::Pass { seconds, ticks } => {
                self.now += Duration::from_secs(*seconds);
                if *ticks {
                    self.tick();
                }
            }
            Step::Restart => self.restart(),
        }
    }

    fn is_member(&self, member: &MemberId) -> bool {
        self.group.members().any(|(id, _)| id == member)
    }

    fn shows_life(&mut self, member: MemberId, is_alive: bool) {
        if is_alive {
            self.alive.insert(member, self.now);
        }
    }

    fn join(&mut self, member: u8, says: u8, session: u64, rebalance: u64) {
        let member = id(member);
        let is_member = self.is_member(&member);
        let candidate = if is_member { Candidate::Known } else { Candidate::New };
        // All support `a` and `b`, so that nobody is refused, not even after a restart, which knows only what was chosen.
        let names = [&["a", "b"][..], &["a", "b", "c"], &["b", "a"]][usize::from(says)];
        let protocol = |name: &&str| MemberProtocol {
            name: (*name).into(),
            metadata: Bytes::from(format!("{name}{says}")),
        };
        let request = JoinRequest {
            candidate: candidate(member.clone()),
            client_id: "client".into(),
            client_host: "host".into(),
            session_timeout: Duration::from_secs(session),
            rebalance_timeout: Duration::from_secs(rebalance),
            protocol_type: "consumer".into(),
            protocols: names.iter().map(protocol).collect(),
        };
        let effects = self.group.join(request, self.now).unwrap();
        self.joining.insert(member.clone());
        self.shows_life(member, true);
        self.apply(effects);
    }

    fn sync(&mut self, member: &MemberId, behind: Generation) {
        let generation = self.group.generation().wrapping_sub(behind);
        let shares = self.group.members().map(|(id, _)| (id.clone(), share(generation, id))).collect();
        let answer = self.group.sync(member, generation, shares, self.now);
        let is_time = matches!(self.group.state(), GroupState::CompletingRebalance | GroupState::Stable);
        assert_eq!(answer.is_ok(), self.is_member(member) && behind == 0 && is_time, "{answer:?}");
        if let Ok(effects) = answer {
            self.syncing.insert(member.clone());
            self.shows_life(member.clone(), true);
            self.apply(effects);
        }
    }

    fn tick(&mut self) {
        let effects = self.group.tick(self.now);
        self.apply(effects);
        assert!(
            self.group.next_deadline().is_none_or(|deadline| deadline > self.now),
            "something is left to do"
        );
        for (id, member) in self.group.members() {
            let waits = self.joining.contains(id) || self.syncing.contains(id);
            let is_in_time = self.alive[id] + member.session_timeout() > self.now;
            assert!(waits || is_in_time, "{id} has shown no sign of life since {:?}", self.alive[id]);
        }
    }

    /// Who waits gets no answer from a process that is gone.
    fn restart(&mut self) {
        if !matches!(self.group.state(), GroupState::Stable | GroupState::Empty) {
            return;
        }
        let snapshot = self.group.snapshot();
        self.group = Group::restore("g", self.config.clone(), snapshot.clone(), self.now).unwrap();
        assert_eq!(self.group.snapshot(), snapshot);
        assert!(self.joining.is_empty() && self.syncing.is_empty());
        self.writing.clear();
        self.alive = self.group.members().map(|(id, _)| (id.clone(), self.now)).collect();
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Joined { member, answer } => self.has_joined(member, answer),
                Effect::Synced { member, answer } => {
                    assert!(self.syncing.remove(&member), "{member} has not asked: {answer:?}");
                    match answer {
                        Ok(given) => {
                            let generation = self.group.generation();
                            assert_eq!(given, share(generation, &member));
                            assert!(
                                self.durable.contains(&generation),
                                "{generation} is not on stable storage"
                            );
                        }
                        Err(GroupError::UnknownMemberId) => assert!(!self.is_member(&member)),
                        Err(error) => assert!(matches!(
                            error,
                            GroupError::RebalanceInProgress | GroupError::CoordinatorNotAvailable
                        )),
                    }
                    self.alive.insert(member, self.now);
                }
                Effect::RebalanceStarted => {}
                Effect::Removed { member, reason } => {
                    assert!(!self.is_member(&member), "{member} is out for {reason:?}");
                    if reason == RemovalReason::NotSynced {
                        assert!(!self.syncing.contains(&member));
                    }
                }
                Effect::Persist(snapshot) => {
                    assert_eq!(snapshot.generation, self.group.generation());
                    self.writing.push(snapshot.generation);
                }
            }
        }
        self.holds();
    }

    fn has_joined(&mut self, member: MemberId, answer: Result<JoinAnswer, GroupError>) {
        assert!(self.joining.remove(&member), "{member} has not asked: {answer:?}");
        let Ok(answer) = answer else {
            assert_eq!(answer.err(), Some(GroupError::UnknownMemberId));
            assert!(!self.is_member(&member));
            return;
        };
        assert_eq!(answer.generation, self.group.generation());
        if answer.generation != self.joined {
            assert!(answer.generation > self.joined, "the generation falls");
            (self.joined, self.told, self.leaders) = (answer.generation, None, 0);
        }
        let told = self.told.get_or_insert_with(|| answer.clone());
        assert_eq!((&told.leader, &told.protocol), (&answer.leader, &answer.protocol));
        if !answer.members.is_empty() {
            assert_eq!(answer.leader, member, "only the leader is told who is in");
            assert!(answer.members.iter().map(|(id, _)| id).eq(self.group.members().map(|(id, _)| id)));
        }
        self.leaders += usize::from(!answer.members.is_empty());
        self.alive.insert(member, self.now);
    }

    /// What holds between any two calls.
    fn holds(&self) {
        let (group, state) = (&self.group, self.group.state());
        assert_eq!(group.members().len() == 0, state == GroupState::Empty);
        assert!(self.joining.is_empty() || state == GroupState::PreparingRebalance, "{:?}", self.joining);
        assert!(self.syncing.is_empty() || state == GroupState::CompletingRebalance, "{:?}", self.syncing);
        assert!(self.joining.iter().chain(&self.syncing).all(|member| self.is_member(member)));
        if let GroupState::CompletingRebalance | GroupState::Stable = state {
            assert!(group.leader().is_some_and(|leader| self.is_member(leader)));
            assert!(group.protocol().is_some());
            let told = self.told.as_ref().unwrap();
            assert_eq!((Some(&told.leader), Some(&told.protocol)), (group.leader(), group.protocol()));
            assert!(self.leaders >= 1);
        }
        for (id, member) in group.members() {
            let assigned = member.assignment();
            let is_current = *assigned == share(group.generation(), id);
            match state {
                GroupState::Stable => assert!(is_current, "{id} has {assigned:?}"),
                GroupState::CompletingRebalance => {
                    assert!(assigned.is_empty(), "{id} has {assigned:?} already");
                }
                _ => assert!(is_current || assigned.is_empty(), "{id} has {assigned:?}"),
            }
        }
    }

    /// Nobody calls any more: what time and the disk do is enough to answer everybody.
    fn ends(&mut self) {
        for _ in 0..100 {
            while !self.writing.is_empty() {
                self.does(&Step::Persisted { is_written: true });
            }
            let Some(deadline) = self.group.next_deadline() else { break };
            self.now = self.now.max(deadline);
            self.tick();
        }
        assert!(self.joining.is_empty() && self.syncing.is_empty(), "{:?} {:?}", self.joining, self.syncing);
        assert_eq!(self.group.state(), GroupState::Empty);
        self.group.delete().unwrap();
    }
}

/// Whether a single call may bring a group from one state to another: as far as a rebalance goes without the members' help.
fn may_come(before: GroupState, after: GroupState) -> bool {
    use GroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    match after {
        Stable => matches!(before, Stable | CompletingRebalance),
        Empty | PreparingRebalance | CompletingRebalance => true,
        GroupState::Dead => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn whatever_members_do_the_group_holds_together(
        delay in prop_oneof![Just(0), 1..10u64],
        steps in vec(step(), 1..120),
    ) {
        let mut shell = Shell::new(delay);
        for step in steps {
            let (state, generation) = (shell.group.state(), shell.group.generation());
            shell.does(&step);
            prop_assert!(may_come(state, shell.group.state()), "{:?} brings {} to {}", step, state, shell.group.state());
            prop_assert!(shell.group.generation() >= generation);
        }
        shell.ends();
    }
}

/// The least that the random calls have to reach, so that they show something: a stable group of several members.
#[test]
fn members_that_do_what_they_should_become_stable() {
    let mut shell = Shell::new(0);
    for member in 0..MEMBERS {
        shell.does(&Step::Join { member, says: member % 3, session: 45, rebalance: 60 });
        for again in 0..member {
            shell.does(&Step::Join { member: again, says: again % 3, session: 45, rebalance: 60 });
        }
        for member in 0..=member {
            shell.does(&Step::Sync { member, behind: 0 });
        }
        shell.does(&Step::Persisted { is_written: true });
        assert_eq!(shell.group.state(), GroupState::Stable);
        assert_eq!(shell.group.members().len(), usize::from(member) + 1);
    }
    assert_eq!(shell.group.generation(), Generation::from(MEMBERS));
    shell.ends();
}

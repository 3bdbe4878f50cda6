//! Which call is refused in which state, and what the others do. Random sequences of calls are in the suite.

use std::time::Duration;

use bytes::Bytes;

use crate::group::{Generation, GroupError, MemberId};

use super::*;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(id: &str) -> MemberId {
    MemberId::from(id)
}

fn protocols(names: &str) -> Vec<MemberProtocol> {
    let protocol =
        |name: &str| MemberProtocol { name: name.into(), metadata: Bytes::from(format!("of {name}")) };
    names.split_whitespace().map(protocol).collect()
}

fn request(candidate: Candidate, names: &str) -> JoinRequest {
    JoinRequest {
        candidate,
        client_id: "client".into(),
        client_host: "here".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: protocols(names),
    }
}

fn new(member: &str) -> JoinRequest {
    request(Candidate::New(id(member)), "range")
}

fn known(member: &str) -> JoinRequest {
    request(Candidate::Known(id(member)), "range")
}

fn group() -> Group {
    Group::new("g", GroupConfig::default()).unwrap()
}

/// What effects tell, one word each.
fn words(effects: &[Effect]) -> String {
    let word = |effect: &Effect| match effect {
        Effect::Joined { member, answer: Ok(answer) } => {
            format!("{member}:joined-{}-of-{}", answer.generation, answer.leader)
        }
        Effect::Joined { member, answer: Err(error) } => format!("{member}:join-{error:?}"),
        Effect::Synced { member, answer: Ok(bytes) } => {
            format!("{member}:synced-{}", String::from_utf8_lossy(bytes))
        }
        Effect::Synced { member, answer: Err(error) } => format!("{member}:sync-{error:?}"),
        Effect::RebalanceStarted => "rebalance".into(),
        Effect::Removed { member, reason } => format!("{member}:{reason:?}"),
        Effect::Persist(snapshot) => format!("persist-{}", snapshot.generation),
    };
    effects.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn assigned(assignments: &[(&str, &'static str)]) -> Vec<(MemberId, Bytes)> {
    assignments.iter().map(|(member, bytes)| (id(member), Bytes::from_static(bytes.as_bytes()))).collect()
}

/// `a`, the leader, has joined and not synced; generation 1.
fn completing() -> Group {
    let mut group = group();
    let effects = group.join(new("a"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "rebalance a:joined-1-of-a");
    group
}

/// `a` and `b`; generation 2.
fn completing_two() -> Group {
    let mut group = stable();
    assert_eq!(words(&group.join(new("b"), seconds(0)).unwrap()), "rebalance");
    let effects = group.join(known("a"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "a:joined-2-of-a b:joined-2-of-a");
    group
}

/// `a` alone; generation 1.
fn stable() -> Group {
    let mut group = completing();
    assert_eq!(words(&group.sync(&id("a"), 1, assigned(&[("a", "A")]), seconds(0)).unwrap()), "persist-1");
    assert_eq!(words(&group.persisted(1, true, seconds(0))), "a:synced-A");
    group
}

/// `a` and `b`; generation 2.
fn stable_two() -> Group {
    let mut group = completing_two();
    assert_eq!(words(&group.sync(&id("b"), 2, Vec::new(), seconds(0)).unwrap()), "");
    let given = assigned(&[("a", "A"), ("b", "B"), ("stranger", "S")]);
    assert_eq!(words(&group.sync(&id("a"), 2, given, seconds(0)).unwrap()), "persist-2");
    assert_eq!(words(&group.persisted(2, true, seconds(0))), "a:synced-A b:synced-B");
    group
}

/// `a` is to join again, `b` waits; generation 1.
fn preparing() -> Group {
    let mut group = stable();
    assert_eq!(words(&group.join(new("b"), seconds(0)).unwrap()), "rebalance");
    group
}

fn dead() -> Group {
    let mut group = group();
    group.delete().unwrap();
    group
}

/// Each state, with the generation that its member `a` would name.
fn in_each_state() -> [(Group, Generation); 5] {
    let groups = [(group(), 0), (preparing(), 1), (completing(), 1), (stable(), 1), (dead(), 0)];
    let states = groups.each_ref().map(|(group, _)| group.state());
    assert_eq!(
        states,
        [
            GroupState::Empty,
            GroupState::PreparingRebalance,
            GroupState::CompletingRebalance,
            GroupState::Stable,
            GroupState::Dead
        ]
    );
    groups
}

/// What a call is told in each state.
fn in_each<T>(call: impl Fn(&mut Group, Generation) -> Result<T, GroupError>) -> [Option<GroupError>; 5] {
    in_each_state().map(|(mut group, generation)| call(&mut group, generation).err())
}

use GroupError::{
    CoordinatorNotAvailable as Gone, GroupIdNotFound, GroupMaxSizeReached, IllegalGeneration,
    InconsistentGroupProtocol as Inconsistent, InvalidGroupId, InvalidSessionTimeout, NonEmptyGroup,
    RebalanceInProgress as Rebalancing, UnknownMemberId as Unknown,
};

const OK: Option<GroupError> = None;

#[test]
fn joins_are_refused_in_each_state_as_they_should_be() {
    let now = seconds(0);
    let join = |request: JoinRequest| in_each(|group, _| group.join(request.clone(), now));
    assert_eq!(join(new("n")), [OK, OK, OK, OK, Some(Gone)]);
    assert_eq!(join(known("a")), [Some(Unknown), OK, OK, OK, Some(Gone)]);
    assert_eq!(join(known("x")), [Some(Unknown), Some(Unknown), Some(Unknown), Some(Unknown), Some(Gone)]);
    assert_eq!(join(new("a")), [OK, Some(Unknown), Some(Unknown), Some(Unknown), Some(Gone)]);
    for session_timeout in [seconds(6) - Duration::from_millis(1), seconds(1800) + Duration::from_millis(1)] {
        let refused = Some(InvalidSessionTimeout);
        let told = join(JoinRequest { session_timeout, ..new("n") });
        assert_eq!(told, [refused, refused, refused, refused, Some(Gone)]);
    }
    for session_timeout in [seconds(6), seconds(1800)] {
        assert_eq!(join(JoinRequest { session_timeout, ..new("n") })[0], OK);
    }
    let refused = Some(Inconsistent);
    let other = request(Candidate::New(id("n")), "cooperative-sticky");
    assert_eq!(join(other), [OK, refused, refused, refused, Some(Gone)]);
    let other = JoinRequest { protocol_type: "connect".into(), ..new("n") };
    assert_eq!(join(other), [OK, refused, refused, refused, Some(Gone)]);
    let none = request(Candidate::New(id("n")), "");
    assert_eq!(join(none), [refused, refused, refused, refused, Some(Gone)]);
    let none = JoinRequest { protocol_type: "".into(), ..new("n") };
    assert_eq!(join(none), [refused, refused, refused, refused, Some(Gone)]);
}

#[test]
fn syncs_heartbeats_and_leaves_are_refused_in_each_state_as_they_should_be() {
    let now = seconds(0);
    let (a, x) = (id("a"), id("x"));
    let (unknown, illegal, gone) = (Some(Unknown), Some(IllegalGeneration), Some(Gone));
    let strange = [unknown, unknown, unknown, unknown, gone];
    let outdated = [unknown, illegal, illegal, illegal, gone];

    let sync = |member: &MemberId, off| in_each(|group, at| group.sync(member, at + off, Vec::new(), now));
    assert_eq!(sync(&a, 0), [unknown, Some(Rebalancing), OK, OK, gone]);
    assert_eq!(sync(&a, 1), outdated);
    assert_eq!(sync(&x, 0), strange);

    let heartbeat = |member: &MemberId, off| in_each(|group, at| group.heartbeat(member, at + off, now));
    assert_eq!(heartbeat(&a, 0), [unknown, Some(Rebalancing), OK, OK, gone]);
    assert_eq!(heartbeat(&a, 1), outdated);
    assert_eq!(heartbeat(&x, 0), strange);

    assert_eq!(in_each(|group, _| group.leave(&a, now)), [unknown, OK, OK, OK, gone]);
    assert_eq!(in_each(|group, _| group.leave(&x, now)), strange);
}

#[test]
fn commits_are_refused_in_each_state_as_they_should_be() {
    let now = seconds(0);
    let commit = |member: Option<&str>, off: Option<Generation>| {
        let member = member.map(id);
        in_each(|group, at| group.commit_check(member.as_ref(), off.map(|off| at + off), now))
    };
    let (unknown, illegal, gone) = (Some(Unknown), Some(IllegalGeneration), Some(Gone));
    assert_eq!(commit(None, None), [OK, unknown, unknown, unknown, gone]);
    assert_eq!(commit(Some("x"), None), [OK, unknown, unknown, unknown, gone]);
    assert_eq!(commit(None, Some(0)), [unknown, unknown, unknown, unknown, gone]);
    assert_eq!(commit(Some("x"), Some(0)), [unknown, unknown, unknown, unknown, gone]);
    assert_eq!(commit(Some("a"), Some(0)), [unknown, OK, Some(Rebalancing), OK, gone]);
    assert_eq!(commit(Some("a"), Some(1)), [unknown, illegal, illegal, illegal, gone]);
    assert_eq!(commit(Some("a"), None), [OK, illegal, illegal, illegal, gone]);
}

#[test]
fn only_an_empty_group_is_deleted_and_once() {
    let full = Some(NonEmptyGroup);
    assert_eq!(in_each(|group, _| group.delete()), [OK, full, full, full, Some(GroupIdNotFound)]);
    assert_eq!(in_each(|group, _| group.delete_check()), [OK, full, full, full, Some(GroupIdNotFound)]);
}

#[test]
fn a_group_has_a_name() {
    assert_eq!(Group::new("", GroupConfig::default()).err(), Some(InvalidGroupId));
}

#[test]
fn a_full_group_takes_nobody_but_its_members() {
    let mut group = Group::new("g", GroupConfig { max_size: 1, ..GroupConfig::default() }).unwrap();
    group.join(new("a"), seconds(0)).unwrap();
    assert_eq!(group.join(new("b"), seconds(0)), Err(GroupMaxSizeReached));
    assert_eq!(words(&group.join(known("a"), seconds(0)).unwrap()), "a:joined-1-of-a");
}

#[test]
fn the_leader_alone_is_told_who_is_in() {
    let mut group = stable();
    let stays = request(Candidate::New(id("b")), "sticky range");
    group.join(stays, seconds(0)).unwrap();
    let effects = group.join(known("a"), seconds(0)).unwrap();
    let told = |effect: &Effect| match effect {
        Effect::Joined { answer: Ok(answer), .. } => answer.members.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&effects[0]), assigned(&[("a", "of range"), ("b", "of range")]));
    assert_eq!(told(&effects[1]), []);
    assert_eq!(group.protocol().map(|name| &**name), Some("range"));
}

#[test]
fn the_protocol_that_most_prefer_of_those_that_all_support_is_taken() {
    let elect = |members: &[&str]| {
        let members: Vec<_> = members.iter().map(|names| protocols(names)).collect();
        protocol::elect(members.iter().map(Vec::as_slice)).map(|name| name.to_string())
    };
    assert_eq!(elect(&["x a b", "b a", "b a y"]).as_deref(), Some("b"));
    assert_eq!(elect(&["b a", "a b"]).as_deref(), Some("a"), "the first by name, of equals");
    assert_eq!(elect(&["a", "b"]), None);
    assert_eq!(elect(&[]), None);
}

#[test]
fn who_has_nothing_new_to_say_is_told_the_current_generation() {
    let mut group = completing_two();
    group.sync(&id("b"), 2, Vec::new(), seconds(0)).unwrap();
    assert_eq!(words(&group.join(known("b"), seconds(0)).unwrap()), "b:joined-2-of-a");
    assert_eq!(group.state(), GroupState::CompletingRebalance);

    let mut group = stable_two();
    assert_eq!(words(&group.join(known("b"), seconds(0)).unwrap()), "b:joined-2-of-a");
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(words(&group.join(known("a"), seconds(0)).unwrap()), "rebalance", "the leader asks for one");
}

#[test]
fn who_has_something_new_to_say_makes_the_others_join_again() {
    let changed = |member| request(Candidate::Known(id(member)), "range more");
    let mut group = completing_two();
    group.sync(&id("b"), 2, Vec::new(), seconds(0)).unwrap();
    let effects = group.join(changed("b"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "b:sync-RebalanceInProgress rebalance");
    let mut group = stable_two();
    assert_eq!(words(&group.join(changed("b"), seconds(0)).unwrap()), "rebalance");
    let effects = group.join(known("a"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "a:joined-3-of-a b:joined-3-of-a");
}

#[test]
fn an_assignment_is_given_out_once_it_is_persisted() {
    let mut group = completing_two();
    let effects = group.sync(&id("a"), 2, assigned(&[("b", "B")]), seconds(0)).unwrap();
    let Effect::Persist(snapshot) = &effects[0] else { panic!("{effects:?}") };
    let given: Vec<_> = snapshot.members.iter().map(|member| &member.assignment[..]).collect();
    assert_eq!(given, [&b""[..], b"B"]);
    assert_eq!((snapshot.generation, snapshot.leader.clone()), (2, Some(id("a"))));
    assert_eq!(group.state(), GroupState::CompletingRebalance);
    assert_eq!(words(&group.persisted(1, true, seconds(0))), "", "that was another one");
    let again = group.sync(&id("a"), 2, assigned(&[("b", "other")]), seconds(0)).unwrap();
    assert_eq!(words(&again), "", "it is being persisted already");
    assert_eq!(words(&group.persisted(2, true, seconds(0))), "a:synced-");
    assert_eq!(words(&group.sync(&id("b"), 2, Vec::new(), seconds(0)).unwrap()), "b:synced-B");
    assert_eq!(words(&group.persisted(2, false, seconds(0))), "", "it is told once");
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(&group.snapshot(), snapshot);
}

#[test]
fn an_assignment_that_could_not_be_persisted_is_given_to_nobody() {
    let mut group = completing_two();
    group.sync(&id("b"), 2, Vec::new(), seconds(0)).unwrap();
    group.sync(&id("a"), 2, assigned(&[("a", "A")]), seconds(0)).unwrap();
    let effects = group.persisted(2, false, seconds(0));
    assert_eq!(words(&effects), "a:sync-CoordinatorNotAvailable b:sync-CoordinatorNotAvailable rebalance");
    group.join(known("a"), seconds(0)).unwrap();
    let effects = group.join(known("b"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "a:joined-3-of-a b:joined-3-of-a");
    assert!(group.members().all(|(_, member)| member.assignment().is_empty()));
}

#[test]
fn a_rebalance_overtakes_what_is_being_persisted() {
    let mut group = completing_two();
    group.sync(&id("a"), 2, assigned(&[("a", "A")]), seconds(0)).unwrap();
    let effects = group.join(new("c"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "a:sync-RebalanceInProgress rebalance");
    assert_eq!(words(&group.persisted(2, true, seconds(0))), "");
    assert_eq!(group.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_others_go_on_without_a_member_that_leaves() {
    let mut group = stable_two();
    assert_eq!(words(&group.leave(&id("a"), seconds(0)).unwrap()), "rebalance");
    assert_eq!(words(&group.join(known("b"), seconds(0)).unwrap()), "b:joined-3-of-b");
    group.sync(&id("b"), 3, Vec::new(), seconds(0)).unwrap();
    let effects = group.leave(&id("b"), seconds(0)).unwrap();
    assert_eq!(words(&effects), "b:sync-UnknownMemberId rebalance persist-4");
    assert_eq!((group.state(), group.leader(), group.protocol()), (GroupState::Empty, None, None));

    // Who leaves was the last one that the others have waited for.
    assert_eq!(words(&preparing().leave(&id("a"), seconds(0)).unwrap()), "b:joined-2-of-b");
    let mut group = preparing();
    assert_eq!(words(&group.leave(&id("b"), seconds(0)).unwrap()), "b:join-UnknownMemberId");
    assert_eq!(group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_member_without_a_sign_of_life_is_out() {
    let mut group = stable_two();
    assert_eq!(group.next_deadline(), Some(SESSION));
    group.heartbeat(&id("a"), 2, seconds(30)).unwrap();
    group.commit_check(Some(&id("b")), Some(2), seconds(40)).unwrap();
    assert_eq!(group.next_deadline(), Some(seconds(75)));
    assert_eq!(words(&group.tick(seconds(74))), "");
    assert_eq!(words(&group.tick(seconds(75))), "a:SessionExpired rebalance");
    assert_eq!(group.heartbeat(&id("b"), 2, seconds(80)), Err(Rebalancing), "which is a sign of life");
    assert_eq!(group.next_deadline(), Some(seconds(125)));
    assert_eq!(words(&group.tick(seconds(125))), "b:SessionExpired persist-3");
    assert_eq!(group.next_deadline(), None);
}

#[test]
fn who_waits_needs_no_sign_of_life_and_has_a_whole_session_behind_it() {
    let mut group = preparing();
    group.heartbeat(&id("a"), 1, seconds(40)).unwrap_err();
    assert_eq!(group.next_deadline(), Some(seconds(85)), "b waits");
    assert_eq!(words(&group.tick(seconds(84))), "");
    group.join(known("a"), seconds(84)).unwrap();
    assert_eq!(group.next_deadline(), Some(seconds(84) + SESSION));
    group.sync(&id("a"), 2, Vec::new(), seconds(90)).unwrap();
    group.heartbeat(&id("b"), 2, seconds(110)).unwrap();
    assert_eq!(group.next_deadline(), Some(seconds(110) + SESSION), "a waits");
    group.persisted(2, true, seconds(120));
    group.heartbeat(&id("b"), 2, seconds(130)).unwrap();
    assert_eq!(group.next_deadline(), Some(seconds(120) + SESSION));
}

#[test]
fn a_rebalance_waits_no_longer_than_the_longest_timeout() {
    let mut group = stable();
    let patient = JoinRequest { rebalance_timeout: seconds(100), ..new("b") };
    group.join(JoinRequest { rebalance_timeout: seconds(70), ..known("a") }, seconds(0)).unwrap();
    group.sync(&id("a"), 2, Vec::new(), seconds(0)).unwrap();
    group.persisted(2, true, seconds(0));
    group.join(patient, seconds(0)).unwrap();
    for at in [30, 60, 90] {
        group.heartbeat(&id("a"), 2, seconds(at)).unwrap_err();
    }
    assert_eq!(group.next_deadline(), Some(seconds(100)));
    assert_eq!(words(&group.tick(seconds(99))), "");
    assert_eq!(words(&group.tick(seconds(100))), "a:NotRejoined b:joined-3-of-b");
}

#[test]
fn who_does_not_ask_for_its_assignment_is_out() {
    let mut group = stable_two();
    group.join(known("a"), seconds(0)).unwrap();
    group.join(known("b"), seconds(0)).unwrap();
    group.sync(&id("a"), 3, Vec::new(), seconds(0)).unwrap();
    group.persisted(3, true, seconds(0));
    for at in (30..300).step_by(30) {
        group.heartbeat(&id("a"), 3, seconds(at)).unwrap();
        group.heartbeat(&id("b"), 3, seconds(at)).unwrap();
    }
    assert_eq!(group.next_deadline(), Some(REBALANCE));
    assert_eq!(words(&group.tick(REBALANCE)), "b:NotSynced rebalance");
}

#[test]
fn a_new_member_waits_five_minutes_for_the_end_of_a_rebalance() {
    let mut group = stable();
    group.join(JoinRequest { rebalance_timeout: seconds(1000), ..new("b") }, seconds(0)).unwrap();
    for at in (30..300).step_by(30) {
        group.heartbeat(&id("a"), 1, seconds(at)).unwrap_err();
    }
    assert_eq!(group.next_deadline(), Some(seconds(300)));
    assert_eq!(words(&group.tick(seconds(300))), "b:join-UnknownMemberId b:SessionExpired");
}

#[test]
fn an_empty_group_may_wait_for_more_members() {
    let config = GroupConfig { initial_rebalance_delay: seconds(3), ..GroupConfig::default() };
    let mut group = Group::new("g", config).unwrap();
    let soon = |member| JoinRequest { rebalance_timeout: seconds(7), ..new(member) };
    assert_eq!(words(&group.join(soon("a"), seconds(0)).unwrap()), "rebalance");
    assert_eq!(group.next_deadline(), Some(seconds(3)));
    group.join(soon("b"), seconds(2)).unwrap();
    assert_eq!(words(&group.tick(seconds(3))), "");
    assert_eq!(group.next_deadline(), Some(seconds(6)));
    group.join(soon("c"), seconds(6)).unwrap();
    assert_eq!(words(&group.tick(seconds(6))), "");
    assert_eq!(group.next_deadline(), Some(seconds(7)), "the rebalance timeout ends it");
    let effects = group.tick(seconds(7));
    assert_eq!(words(&effects), "a:joined-1-of-a b:joined-1-of-a c:joined-1-of-a");

    let config = GroupConfig { initial_rebalance_delay: seconds(3), ..GroupConfig::default() };
    let mut group = Group::new("g", config).unwrap();
    group.join(soon("a"), seconds(0)).unwrap();
    assert_eq!(words(&group.tick(seconds(3))), "a:joined-1-of-a", "nobody else came");
}

#[test]
fn a_restored_group_goes_on_where_it_was() {
    let was = stable_two();
    let now = seconds(1000);
    let restore = |snapshot| Group::restore("g", GroupConfig::default(), snapshot, now);
    let mut group = restore(was.snapshot()).unwrap();
    assert_eq!(group.snapshot(), was.snapshot());
    assert_eq!((group.state(), group.next_deadline()), (GroupState::Stable, Some(now + SESSION)));
    assert_eq!(words(&group.sync(&id("b"), 2, Vec::new(), now).unwrap()), "b:synced-B");
    assert_eq!(words(&group.join(known("b"), now).unwrap()), "b:joined-2-of-a");

    let mut empty = restore(GroupSnapshot { members: Vec::new(), ..was.snapshot() }).unwrap();
    assert_eq!((empty.state(), empty.leader(), empty.protocol()), (GroupState::Empty, None, None));
    assert_eq!(words(&empty.join(new("c"), now).unwrap()), "rebalance c:joined-3-of-c");

    let lost = restore(GroupSnapshot { leader: Some(id("lost")), ..was.snapshot() }).unwrap();
    assert_eq!(lost.leader(), Some(&id("a")));
    let nothing_agreed = restore(GroupSnapshot { protocol: None, ..was.snapshot() });
    assert_eq!(nothing_agreed.err(), Some(Inconsistent));
}

#[test]
fn the_generation_does_not_leave_kafkas_field() {
    let snapshot = GroupSnapshot { generation: i32::MAX as Generation, ..GroupSnapshot::default() };
    let mut group = Group::restore("g", GroupConfig::default(), snapshot, seconds(0)).unwrap();
    group.join(new("a"), seconds(0)).unwrap();
    assert_eq!(group.generation(), 1);
}

#[test]
fn a_state_follows_those_that_it_may_follow() {
    use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
    let all = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead];
    let before =
        |state: GroupState| all.into_iter().filter(|before| state.may_follow(*before)).collect::<Vec<_>>();
    assert_eq!(before(Empty), [PreparingRebalance]);
    assert_eq!(before(PreparingRebalance), [Empty, CompletingRebalance, Stable]);
    assert_eq!(before(CompletingRebalance), [PreparingRebalance]);
    assert_eq!(before(Stable), [CompletingRebalance]);
    assert_eq!(before(Dead), all);
}

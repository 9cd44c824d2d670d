use super::*;
use crate::testing::node;
use bigdata_common::blueprint::{Probe, Restart};

fn check(deadline_ms: u64) -> Check {
    Check { probe: Probe::Tcp(Vec::new()), interval_ms: 10_000, timeout_ms: 1000, failures: 2, deadline_ms }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn started(node: &Node) -> Lifecycle {
    let mut life = Lifecycle::new(node);
    assert_eq!(life.step(Input::Start, at(0)), Some(Action::Spawn));
    life
}

#[test]
fn without_checks_a_started_workload_is_ready() {
    let mut life = started(&node());
    assert!(!life.is_ready() && !life.is_up());
    assert_eq!(life.step(Input::Started, at(0)), None);
    assert!(life.is_ready() && life.is_up());
    assert_eq!((life.passing(), life.wake()), (None, None));
    assert_eq!(life.step(Input::Start, at(1)), None, "a second start changes nothing");
}

#[test]
fn the_gate_comes_first_and_health_after_it() {
    let (gate, health) = (check(30_000), check(60_000));
    let mut life = started(&Node { check: Some(gate.clone()), health: Some(health.clone()), ..node() });
    assert_eq!(life.step(Input::Started, at(0)), Some(Action::Probe(gate.clone())));
    assert_eq!(life.step(Input::Probed(Err("refused".into())), at(0)), None);
    assert_eq!(life.wake(), Some(Duration::from_millis(20)));
    assert_eq!(life.step(Input::Tick, at(1)), Some(Action::Probe(gate)));
    assert!(!life.is_ready());
    assert_eq!(life.step(Input::Probed(Ok(())), at(1)), Some(Action::Probe(health)));
    assert!(life.is_ready());
    assert_eq!(life.passing(), None);
    life.step(Input::Probed(Ok(())), at(1));
    assert_eq!((life.passing(), life.wake()), (Some(true), Some(at(11))));
}

#[test]
fn an_overdue_gate_fails_the_node_over_restarts_too() {
    let mut life = started(&Node { check: Some(check(30_000)), ..node() });
    life.step(Input::Started, at(0));
    life.step(Input::Exited("exited with code 1".into()), at(20));
    assert_eq!(life.step(Input::Tick, at(21)), Some(Action::Spawn));
    life.step(Input::Started, at(21));
    assert_eq!(life.step(Input::Probed(Err("refused".into())), at(31)), Some(Action::Stop));
    life.step(Input::Exited("killed by signal 15".into()), at(32));
    let reason = "the check did not pass within 30 s: refused";
    assert_eq!(life.end(), Some(&End::Failed(reason.into())));
}

#[test]
fn ends_beyond_the_limit_fail_with_their_count() {
    let restart = Restart { limit: 4, window_ms: 600_000, backoff_ms: 1 };
    let mut life = started(&Node { restart, ..node() });
    for second in 1..=5 {
        life.step(Input::Started, at(second));
        assert_eq!(life.step(Input::Exited("exited with code 3".into()), at(second)), None);
        assert_eq!(life.step(Input::Tick, at(second + 1)), (second < 5).then_some(Action::Spawn));
    }
    assert_eq!(life.end(), Some(&End::Failed("exited with code 3 five times within 10 min".into())));
    assert_eq!(life.restart_count(), 4);
}

#[test]
fn health_follows_the_workload_through_a_restart() {
    let mut life = started(&Node { health: Some(check(60_000)), ..node() });
    life.step(Input::Started, at(0));
    life.step(Input::Probed(Ok(())), at(1));
    life.step(Input::Exited("killed by signal 9".into()), at(2));
    assert_eq!((life.passing(), life.reason(), life.is_up()), (Some(false), Some("killed by signal 9"), false));
    assert_eq!(life.step(Input::Probed(Ok(())), at(2)), None, "a late result of the former run");
    assert_eq!(life.passing(), Some(false));
    assert_eq!(life.step(Input::Tick, at(3)), Some(Action::Spawn));
    assert!(matches!(life.step(Input::Started, at(3)), Some(Action::Probe(_))));
    life.step(Input::Probed(Ok(())), at(4));
    assert_eq!((life.passing(), life.reason(), life.restart_count()), (Some(true), None, 1));
}

#[test]
fn a_script_holds_starts_stops_and_restarts() {
    let mut life = Lifecycle::new(&Node { start: Start::Script, ..node() });
    assert!(life.is_ready() && life.is_held());
    assert_eq!(life.step(Input::Start, at(0)), Some(Action::Spawn));
    life.step(Input::Refused("command not found: x".into()), at(0));
    assert!(life.is_held());
    assert_eq!(life.reason(), Some("command not found: x"));
    assert_eq!(life.step(Input::Restart, at(1)), Some(Action::Spawn));
    life.step(Input::Started, at(1));
    assert_eq!(life.step(Input::Restart, at(2)), Some(Action::Stop));
    assert_eq!(life.step(Input::Exited("killed by signal 15".into()), at(2)), Some(Action::Spawn));
    life.step(Input::Started, at(2));
    assert_eq!(life.step(Input::Stop, at(3)), Some(Action::Stop));
    life.step(Input::Exited("killed by signal 15".into()), at(3));
    assert!(life.is_held() && life.restart_count() == 0);
}

#[test]
fn a_start_by_itself_that_is_refused_is_tried_again() {
    let restart = Restart { limit: 1, window_ms: 60_000, backoff_ms: 1000 };
    let away = || Input::Refused("the engine is away".into());
    for start in [Start::Auto, Start::Script] {
        let mut life = started(&Node { start, restart: restart.clone(), health: Some(check(60_000)), ..node() });
        life.step(Input::Started, at(0));
        life.step(Input::Exited("killed by signal 9".into()), at(10));
        for (now, due) in [(11, 12), (12, 14), (14, 18)] {
            assert_eq!(life.step(Input::Tick, at(now)), Some(Action::Spawn), "{start:?}");
            assert_eq!(life.step(away(), at(now)), None);
            assert_eq!((life.passing(), life.reason()), (Some(false), Some("the engine is away")));
            assert_eq!(life.wake(), Some(at(due)));
        }
        assert_eq!(life.step(Input::Tick, at(18)), Some(Action::Spawn));
        let mut given_up = life.clone();
        given_up.step(away(), at(71));
        assert_eq!(given_up.end(), Some(&End::Failed("it could not be started for 1 min: the engine is away".into())));
        life.step(Input::Started, at(18));
        assert!(life.is_up() && life.reason().is_none());
        assert_eq!(life.restart_count(), 1, "what was refused is none");
    }
}

#[test]
fn a_node_that_starts_itself_is_not_left_down_by_a_restart_that_is_refused() {
    let mut life = started(&node());
    life.step(Input::Started, at(0));
    life.step(Input::Restart, at(1));
    assert_eq!(life.step(Input::Exited("killed by signal 15".into()), at(2)), Some(Action::Spawn));
    life.step(Input::Refused("the engine is away".into()), at(2));
    assert!(life.is_waiting() && life.end().is_none());
    let due = life.wake().unwrap();
    assert_eq!(life.step(Input::Tick, due), Some(Action::Spawn));
    assert_eq!(life.step(Input::Stop, due), None);
    life.step(Input::Refused("the engine is away".into()), due);
    assert!(life.is_held(), "it was asked to be down");
    let later = at(3600);
    assert_eq!(life.step(Input::Start, later), Some(Action::Spawn));
    life.step(Input::Refused("the engine is away".into()), later);
    assert!(life.is_waiting(), "what was refused before the stop does not count");
}

#[test]
fn an_end_is_never_taken_back() {
    for begun in [None, Some(Input::Started)] {
        let mut life = started(&node());
        if let Some(input) = begun {
            life.step(input, at(0));
        }
        let at_once = life.step(Input::End(End::Killed), at(1));
        assert_eq!(at_once.or_else(|| life.step(Input::Started, at(1))), Some(Action::Stop));
        for input in [Input::Start, Input::Stop, Input::Restart, Input::End(End::Failed("x".into()))] {
            assert_eq!(life.step(input, at(1)), None);
        }
        life.step(Input::Exited("killed by signal 15".into()), at(2));
        assert_eq!(life.end(), Some(&End::Killed));
        assert_eq!(life.step(Input::Start, at(3)), None);
    }
}

#[test]
fn a_refused_first_start_fails_an_automatic_node() {
    let mut life = started(&node());
    life.step(Input::Refused("command not found: x".into()), at(0));
    assert_eq!(life.end(), Some(&End::Failed("command not found: x".into())));
}

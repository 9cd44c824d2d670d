//! The status machine: its whole matrix against a golden file, and what holds for any facts in any order.
//!
//! `UPDATE=1 cargo test` writes the golden file anew.

use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, OperationKind};
use bigdata_common::{Name, OperationId};
use bigdata_registry::lifecycle::work::{By, Call, Paused, Revises, Tells, Work, WorkStep};
use bigdata_registry::lifecycle::{
    DestroyStage, Effect, Ended, Fact, FailedNodes, LifeSpec, NodeSummary, OperationEnd, State, apply,
};
use proptest::prelude::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lifecycle.txt");

fn spec(has_script: bool) -> LifeSpec {
    LifeSpec {
        has_script,
        placement_ms: 600_000,
        start_ms: 1_800_000,
        ready_ms: 300_000,
        destroy_ms: 120_000,
        keep_ms: 3_600_000,
    }
}

fn operation(number: u128) -> OperationId {
    OperationId(uuid::Uuid::from_u128(number))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn call(action: &str) -> Call {
    Call { action: action.to_owned(), required: false, limit_ms: 60_000, tells: Tells::Nothing, ..Call::start(0) }
}

fn work(number: u128, kind: OperationKind, by: By, steps: Vec<WorkStep>) -> Work {
    Work { operation: operation(number), kind, by, steps, done: 0, runs: 0, revises: None, paused: None }
}

fn scale() -> Work {
    let steps = vec![
        WorkStep::Place { revision: 2, added: vec![name("c")], limit_ms: 600_000 },
        WorkStep::Run(Call { or_start_ms: Some(1_800_000), ..call("scale") }),
        WorkStep::Release { nodes: vec![name("b")], limit_ms: 600_000 },
    ];
    let revises = Some(Revises { from: 1, to: 2, undo: Some(vec![name("c")]) });
    Work { revises, ..work(1, OperationKind::Scale, By::User, steps) }
}

fn upgrade() -> Work {
    let (node, revision) = (name("a"), Some(2));
    let renew = WorkStep::Renew { node, revision, elsewhere: false, limit_ms: 600_000 };
    let revises = Some(Revises { from: 1, to: 2, undo: None });
    let steps = vec![renew, WorkStep::Run(call("upgrade"))];
    Work { revises, ..work(2, OperationKind::Upgrade, By::User, steps) }
}

fn loss() -> Work {
    work(3, OperationKind::Action, By::Loss, vec![WorkStep::Run(call("node-lost"))])
}

fn check() -> Work {
    work(4, OperationKind::Action, By::Clock, vec![WorkStep::Run(call("check"))])
}

fn at(work: Work, done: usize) -> Work {
    Work { done, ..work }
}

/// Work in every kind of step, and what interrupts it.
fn works() -> Vec<Work> {
    let interrupted = Work { paused: Some(Box::new(Paused { work: scale(), left_ms: 5_000 })), ..loss() };
    let reconfigure = work(5, OperationKind::Reconfigure, By::User, vec![WorkStep::Run(Call::start(1_800_000))]);
    vec![scale(), at(scale(), 1), at(scale(), 2), upgrade(), at(upgrade(), 1), check(), reconfigure, interrupted]
}

fn states() -> Vec<State> {
    let failed = |during, nodes| State::Failed { during, reason: "why".to_owned(), nodes };
    let mut states = vec![
        State::Registered,
        State::Scheduling,
        State::Scheduled,
        State::Configuring,
        State::Configured,
        State::Ready { work: None },
    ];
    states.extend(works().into_iter().map(|work| State::Ready { work: Some(work) }));
    for during in [ClusterStatus::Scheduling, ClusterStatus::Configuring, ClusterStatus::Configured] {
        states.push(failed(during, FailedNodes::Kept));
    }
    states.push(failed(ClusterStatus::Configuring, FailedNodes::Releasing));
    states.push(failed(ClusterStatus::Configuring, FailedNodes::Released(vec!["a volume".to_owned()])));
    for (stage, force) in [(DestroyStage::Script, false), (DestroyStage::Release, false), (DestroyStage::Release, true)]
    {
        states.push(State::Destroying { stage, force });
    }
    states.push(State::Destroyed { leftovers: Vec::new() });
    states
}

fn nodes(running: u32, passing: u32, gave_up: Option<&str>) -> NodeSummary {
    let gave_up = gave_up.map(str::to_owned);
    NodeSummary { total: 2, running, passing, gave_up, missing: Vec::new(), leaving: Vec::new() }
}

/// As a ready cluster is told of them.
fn awaited(missing: &[&str], leaving: &[&str]) -> NodeSummary {
    let names = |names: &[&str]| names.iter().map(|text| name(text)).collect();
    NodeSummary { missing: names(missing), leaving: names(leaving), ..nodes(1, 1, None) }
}

fn facts() -> Vec<Fact> {
    let destroy = |force, was_scheduled, alive| Fact::DestroyRequested { force, was_scheduled, alive };
    vec![
        Fact::PlacementBegan,
        Fact::Nodes(nodes(0, 0, None)),
        Fact::Nodes(nodes(1, 1, None)),
        Fact::Nodes(nodes(2, 1, None)),
        Fact::Nodes(nodes(2, 2, None)),
        Fact::Nodes(nodes(1, 1, Some("node b: exit 1"))),
        Fact::RunStarted,
        Fact::RunEnded(Ended::Well),
        Fact::RunEnded(Ended::Badly("exit 3".to_owned())),
        Fact::DeadlinePassed(None),
        Fact::DeadlinePassed(Some("b lacks 412 MiB".to_owned())),
        destroy(false, false, false),
        destroy(false, true, true),
        destroy(false, true, false),
        destroy(true, true, true),
        Fact::DestroyRunEnded,
        Fact::Released(vec!["a volume".to_owned()]),
        Fact::RetryRequested(nodes(1, 0, None)),
        Fact::RetryRequested(nodes(2, 2, None)),
        Fact::CancelRequested("cancelled by ann".to_owned()),
        Fact::KeepExpired,
        Fact::Nodes(awaited(&["a", "c"], &["b"])),
        Fact::RunEnded(Ended::Absent),
        Fact::WorkBegins { work: loss(), left_ms: 7_000 },
        Fact::WorkBegins { work: upgrade(), left_ms: 7_000 },
        Fact::WorkCancelled(operation(1)),
        Fact::WorkCancelled(operation(3)),
    ]
}

fn matrix() -> String {
    let mut text =
        "# state × fact → state, effects. Facts that change nothing are left out. Written by tests/it/lifecycle.rs.\n"
            .to_owned();
    for has_script in [true, false] {
        for state in states() {
            text.push_str(&format!("\n## {state:?}, {} script\n", if has_script { "with a" } else { "without a" }));
            for fact in facts() {
                let step = apply(state.clone(), fact.clone(), &spec(has_script));
                if step.state == state && step.effects.is_empty() {
                    continue;
                }
                text.push_str(&format!("{fact:?}\n    → {:?}\n", step.state));
                for effect in step.effects {
                    text.push_str(&format!("      {effect:?}\n"));
                }
            }
        }
    }
    text
}

#[test]
fn the_whole_matrix() {
    let matrix = matrix();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(GOLDEN, &matrix).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    assert!(
        golden == matrix,
        "the status machine differs from tests/lifecycle.txt; UPDATE=1 writes it anew for review"
    );
}

fn rank(status: ClusterStatus) -> usize {
    ClusterStatus::ALL.iter().position(|other| *other == status).unwrap()
}

/// What the shell keeps beside the state.
struct Kept {
    desired: Desired,
    /// The operation that changes the cluster: its kind and, of work, its id.
    operation: Option<(Option<OperationKind>, Option<OperationId>)>,
    run: bool,
    deadline: bool,
}

impl Kept {
    /// Performs an effect as far as it matters here; what is wrong about it.
    fn perform(&mut self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Desire(to) => self.desired = *to,
            Effect::Run(to) => self.run = to.is_some(),
            Effect::Call(_) => self.run = true,
            Effect::Limit(limit) => self.deadline = limit.is_some(),
            Effect::BeginOperation(kind) => {
                if let Some(other) = self.operation.replace((Some(*kind), None)) {
                    return Err(format!("{kind} beside {other:?}"));
                }
            }
            // What was interrupted stays open in the state.
            Effect::TakeUp(id) => self.operation = Some((None, Some(*id))),
            Effect::EndOperation(end) => {
                let ended = self.operation.take();
                let destroy = ended.is_some_and(|(kind, _)| kind == Some(OperationKind::Destroy));
                if ended.is_none() || (destroy && *end != OperationEnd::Succeeded) {
                    return Err(format!("{end:?} of {ended:?}"));
                }
            }
            Effect::Announce(..)
            | Effect::TellChanged
            | Effect::TellRequested
            | Effect::TellDestroying
            | Effect::NextGeneration
            | Effect::ForgetNodes
            | Effect::Progress(_)
            | Effect::Revise(_)
            | Effect::Add { .. }
            | Effect::Renew { .. }
            | Effect::Leave(_)
            | Effect::Follow(_)
            | Effect::DropWaiting => {}
        }
        Ok(())
    }

    /// Whether it goes with the state.
    fn agrees(&self, state: &State, has_script: bool) -> bool {
        let open = self.operation.is_some();
        match state {
            State::Destroyed { .. } => !open && self.desired == Desired::Release && !self.run,
            State::Destroying { stage: DestroyStage::Release, .. } => self.desired == Desired::Release && !self.run,
            State::Destroying { stage: DestroyStage::Script, .. } => self.run && open,
            State::Ready { work: None } => !open && !self.run && !self.deadline,
            State::Ready { work: Some(work) } => {
                let runs = matches!(work.step(), Some(WorkStep::Run(_)));
                self.operation == Some((None, Some(work.operation))) && self.run == runs && self.deadline
            }
            State::Failed { .. } => !open && !self.run,
            State::Scheduled | State::Configuring => self.run == has_script && open,
            State::Registered | State::Scheduling | State::Configured => !self.run && open,
        }
    }
}

/// Facts that set a limit anew, or move work on by a step, each time they are told.
fn counts_twice(fact: &Fact) -> bool {
    match fact {
        Fact::DeadlinePassed(_)
        | Fact::RetryRequested(_)
        | Fact::RunEnded(_)
        | Fact::CancelRequested(_)
        | Fact::Nodes(_)
        | Fact::WorkBegins { .. }
        | Fact::WorkCancelled(_) => true,
        Fact::PlacementBegan
        | Fact::RunStarted
        | Fact::DestroyRequested { .. }
        | Fact::DestroyRunEnded
        | Fact::Released(_)
        | Fact::KeepExpired => false,
    }
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order(
        choices in prop::collection::vec(0..facts().len(), 1..60),
        has_script: bool,
        from_ready: bool,
    ) {
        let (spec, facts) = (spec(has_script), facts());
        let launch = Some((Some(OperationKind::Launch), None));
        let mut state = if from_ready { State::Ready { work: None } } else { State::Registered };
        let operation = if from_ready { None } else { launch };
        let mut kept = Kept { desired: Desired::Run, operation, run: false, deadline: !from_ready };
        for choice in choices {
            let fact = facts[choice].clone();
            let before = state.clone();
            let step = apply(before.clone(), fact.clone(), &spec);
            let mut at = before.status();
            for effect in &step.effects {
                if let Effect::Announce(to, _) = effect {
                    let taken_up = matches!(fact, Fact::RetryRequested(_)) && at == ClusterStatus::Failed;
                    prop_assert!(taken_up || rank(*to) > rank(at), "{at} → {to} by {fact:?}");
                    at = *to;
                }
                let done = kept.perform(effect);
                prop_assert!(done.is_ok(), "{done:?} by {fact:?} from {before:?}");
            }
            // Every change of status is announced, and nothing else is.
            prop_assert_eq!(at, step.state.status());
            state = step.state;
            prop_assert!(kept.agrees(&state, has_script), "{state:?} by {fact:?} from {before:?}");
            if let State::Destroyed { .. } = before {
                prop_assert_eq!(&state, &before);
            }
            if !counts_twice(&fact) {
                let again = apply(state.clone(), fact.clone(), &spec);
                prop_assert!(again.effects.is_empty(), "{fact:?} twice from {before:?}: {:?}", again.effects);
            }
        }
    }
}

/// The revision and the nodes that are wanted, after these facts.
fn wishes_after(work: Work, facts: Vec<Fact>) -> (State, u32, Vec<&'static str>) {
    let (mut state, mut revision, mut wanted) = (State::Ready { work: None }, 1, vec!["a", "b"]);
    for fact in std::iter::once(Fact::WorkBegins { work, left_ms: 0 }).chain(facts) {
        let step = apply(state, fact, &spec(true));
        for effect in step.effects {
            match effect {
                Effect::Revise(to) => revision = to,
                Effect::Add { .. } => wanted.push("c"),
                Effect::Leave(nodes) => wanted.retain(|name| !nodes.iter().any(|node| node.as_str() == *name)),
                _ => {}
            }
        }
        state = step.state;
    }
    (state, revision, wanted)
}

#[test]
fn a_scale_that_fails_is_taken_back_and_an_upgrade_stops_where_it_is() {
    let placed = || Fact::Nodes(awaited(&[], &["b"]));
    let badly = || Fact::RunEnded(Ended::Badly("exit 3".to_owned()));
    let idle = State::Ready { work: None };
    for facts in [
        vec![Fact::DeadlinePassed(None)],
        vec![Fact::WorkCancelled(operation(1))],
        vec![placed(), badly()],
        vec![placed(), Fact::DeadlinePassed(None)],
        // The answer to a lost node comes between, and a user cancels what it interrupted.
        vec![Fact::WorkBegins { work: loss(), left_ms: 9 }, Fact::WorkCancelled(operation(1)), badly()],
        vec![Fact::WorkBegins { work: loss(), left_ms: 9 }, badly(), Fact::DeadlinePassed(None)],
    ] {
        assert_eq!(wishes_after(scale(), facts.clone()), (idle.clone(), 1, vec!["a", "b"]), "{facts:?}");
    }
    let done = || vec![placed(), Fact::RunEnded(Ended::Well)];
    let gone = |facts: Vec<Fact>, more: Fact| facts.into_iter().chain([more]).collect::<Vec<_>>();
    for end in [Fact::Nodes(awaited(&[], &[])), Fact::DeadlinePassed(None), Fact::WorkCancelled(operation(1))] {
        assert_eq!(wishes_after(scale(), gone(done(), end)), (idle.clone(), 2, vec!["a", "c"]));
    }
    for facts in [vec![Fact::DeadlinePassed(None)], vec![Fact::Nodes(awaited(&[], &[])), badly()]] {
        assert_eq!(wishes_after(upgrade(), facts).1, 2);
    }
}

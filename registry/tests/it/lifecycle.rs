//! The status machine: its whole matrix against a golden file, and what holds for any facts in any order.
//!
//! `UPDATE=1 cargo test` writes the golden file anew.

use bigdata_common::internal::Desired;
use bigdata_common::status::{ClusterStatus, OperationKind};
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

fn states() -> Vec<State> {
    let failed = |during, nodes| State::Failed { during, reason: "why".to_owned(), nodes };
    let mut states = vec![
        State::Registered,
        State::Scheduling,
        State::Scheduled,
        State::Configuring,
        State::Configured,
        State::Ready { reconfiguring: false },
        State::Ready { reconfiguring: true },
    ];
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
    NodeSummary { total: 2, running, passing, attempts: 2, gave_up: gave_up.map(str::to_owned) }
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
        Fact::NodesRenewed,
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

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order(choices in prop::collection::vec(0..22usize, 1..60), has_script: bool) {
        let (spec, facts) = (spec(has_script), facts());
        let mut state = State::Registered;
        // What the shell keeps beside the state.
        let (mut desired, mut operation, mut run) = (Desired::Run, Some(OperationKind::Launch), false);
        for choice in choices {
            let fact = facts[choice].clone();
            let before = state.clone();
            let step = apply(before.clone(), fact.clone(), &spec);
            let mut at = before.status();
            for effect in &step.effects {
                match effect {
                    Effect::Announce(to, _) => {
                        let taken_up = matches!(fact, Fact::RetryRequested(_)) && at == ClusterStatus::Failed;
                        prop_assert!(taken_up || rank(*to) > rank(at), "{at} → {to} by {fact:?}");
                        at = *to;
                    }
                    Effect::Desire(to) => desired = *to,
                    Effect::Run(to) => run = to.is_some(),
                    Effect::BeginOperation(kind) => {
                        prop_assert!(operation.is_none(), "two operations at once by {fact:?} from {before:?}");
                        operation = Some(*kind);
                    }
                    Effect::EndOperation(end) => {
                        prop_assert!(operation.is_some(), "{end:?} of nothing by {fact:?} from {before:?}");
                        if operation == Some(OperationKind::Destroy) {
                            prop_assert_eq!(end, &OperationEnd::Succeeded);
                        }
                        operation = None;
                    }
                    Effect::Limit(_) | Effect::TellChanged | Effect::TellRequested | Effect::TellDestroying | Effect::NextGeneration | Effect::ForgetNodes => {}
                }
            }
            // Every change of status is announced, and nothing else is.
            prop_assert_eq!(at, step.state.status());
            state = step.state;
            match &state {
                State::Destroyed { .. } => prop_assert!(operation.is_none() && desired == Desired::Release && !run),
                State::Destroying { stage: DestroyStage::Release, .. } => prop_assert!(desired == Desired::Release && !run),
                State::Destroying { stage: DestroyStage::Script, .. } => prop_assert!(run && operation.is_some()),
                State::Ready { reconfiguring } => prop_assert!(operation.is_some() == *reconfiguring && run == *reconfiguring),
                State::Failed { .. } => prop_assert!(operation.is_none() && !run),
                State::Scheduled | State::Configuring => prop_assert!(run == has_script && operation.is_some()),
                State::Registered | State::Scheduling | State::Configured => prop_assert!(!run && operation.is_some()),
            }
            if let State::Destroyed { .. } = before {
                prop_assert_eq!(&state, &before);
            }
            // The same fact again changes nothing more, but where a limit was set anew by the first.
            if !matches!(fact, Fact::DeadlinePassed(_) | Fact::RetryRequested(_) | Fact::RunEnded(_) | Fact::CancelRequested(_) | Fact::Nodes(_)) {
                let again = apply(state.clone(), fact.clone(), &spec);
                prop_assert!(again.effects.is_empty(), "{fact:?} twice from {before:?}: {:?}", again.effects);
            }
        }
    }
}

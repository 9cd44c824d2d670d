//! What to do about a cluster's runs, decided from the registry's truth and the runs that are known. Pure.

use bigdata_common::event::RunResult;
use bigdata_common::internal::{ClusterState, RunRequest};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{OperationId, RunId, Timestamp};

/// How long the registry may take to act on a run's end before it is told again, in milliseconds.
pub const SAY_AGAIN_AFTER_MS: u64 = 10_000;

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    /// The run.
    pub id: RunId,
    /// What asked for it.
    pub operation: OperationId,
    /// The script's action.
    pub action: String,
    /// The generation of the cluster that it is for.
    pub generation: u32,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It has not come to an end.
    Unfinished {
        /// Who sees to it.
        driven: Driven,
    },
    /// It is over.
    Ended {
        /// How it ended.
        result: RunResult,
        /// When the registry was last told.
        said_at: Timestamp,
    },
}

/// Who sees to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// Nobody: it was never begun, or whoever did is gone.
    Nobody,
    /// This service.
    Here,
    /// Another replica, whose claim is good.
    Elsewhere,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Store this run; the next look drives it.
    Create(RunRequest),
    /// Claim this run and see it to its end: begin its script, begin it again, or end what was cancelled.
    Drive(RunId),
    /// This run is no longer wanted: end it at once.
    Cancel(RunId),
    /// The registry still waits for the end of this run: tell it again.
    SayAgain(RunId),
}

/// What to do about a cluster, in order. `state` is None where the registry does not know it.
pub fn plan(state: Option<&ClusterState>, runs: &[KnownRun], now: Timestamp) -> Vec<Step> {
    let state = state.filter(|state| state.status != ClusterStatus::Destroyed);
    let wanted = state.and_then(|state| state.run.as_ref().map(|request| (request, state.generation)));
    let is_wanted = |run: &&KnownRun| {
        wanted.is_some_and(|(request, generation)| {
            run.operation == request.operation && run.action == request.action && run.generation == generation
        })
    };
    let mut steps = Vec::new();
    for run in runs.iter().filter(|run| !is_wanted(run)) {
        if let Phase::Unfinished { driven } = run.phase {
            steps.push(Step::Cancel(run.id));
            if driven == Driven::Nobody {
                steps.push(Step::Drive(run.id));
            }
        }
    }
    let free = steps.is_empty();
    match (wanted, runs.iter().find(is_wanted)) {
        (None, _) => {}
        (Some((request, _)), None) => steps.push(Step::Create(request.clone())),
        (Some(_), Some(run)) => match &run.phase {
            // A cluster has one script at a time: what is being cancelled ends first.
            Phase::Unfinished { driven: Driven::Nobody } if free => steps.push(Step::Drive(run.id)),
            Phase::Unfinished { .. } => {}
            Phase::Ended { said_at, .. } if now.millis_since(*said_at) >= SAY_AGAIN_AFTER_MS => {
                steps.push(Step::SayAgain(run.id));
            }
            Phase::Ended { .. } => {}
        },
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::internal::Desired;
    use bigdata_common::status::Termination;
    use uuid::Uuid;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn operation(number: u128) -> OperationId {
        OperationId(Uuid::from_u128(number))
    }

    fn request(number: u128, action: &str) -> RunRequest {
        let (operation, deadline) = (operation(number), at(9_000_000));
        RunRequest { operation, action: action.into(), required: true, deadline, event: None }
    }

    fn state(status: ClusterStatus, generation: u32, run: Option<RunRequest>) -> ClusterState {
        ClusterState {
            cluster: "clusters--ann--mysql--8__0--1".parse().unwrap(),
            revision: 1,
            generation,
            status,
            desired: Desired::Run,
            termination: Termination::Wipe,
            force: false,
            placement_deadline: None,
            run,
            observed: Default::default(),
        }
    }

    fn run(number: u128, action: &str, generation: u32, phase: Phase) -> KnownRun {
        let id = RunId(Uuid::from_u128(100 + number));
        KnownRun { id, operation: operation(number), action: action.into(), generation, phase }
    }

    fn unfinished(driven: Driven) -> Phase {
        Phase::Unfinished { driven }
    }

    fn ended(said_at: i64) -> Phase {
        Phase::Ended { result: RunResult::Succeeded {}, said_at: at(said_at) }
    }

    fn id(number: u128) -> RunId {
        RunId(Uuid::from_u128(100 + number))
    }

    /// A name, the registry's truth, the known runs, what is to be done.
    type Case = (&'static str, Option<ClusterState>, Vec<KnownRun>, Vec<Step>);

    #[test]
    fn the_table() {
        use Driven::{Elsewhere, Here, Nobody};
        let configuring = |run| Some(state(ClusterStatus::Configuring, 1, run));
        let start = || request(1, "start");
        let destroy = || request(2, "destroy");
        let cases: Vec<Case> = vec![
            ("nothing wanted, nothing known", configuring(None), vec![], vec![]),
            ("a new wish", configuring(Some(start())), vec![], vec![Step::Create(start())]),
            (
                "stored",
                configuring(Some(start())),
                vec![run(1, "start", 1, unfinished(Nobody))],
                vec![Step::Drive(id(1))],
            ),
            ("under way here", configuring(Some(start())), vec![run(1, "start", 1, unfinished(Here))], vec![]),
            (
                "under way elsewhere",
                configuring(Some(start())),
                vec![run(1, "start", 1, unfinished(Elsewhere))],
                vec![],
            ),
            ("ended, just told", configuring(Some(start())), vec![run(1, "start", 1, ended(95_000))], vec![]),
            (
                "ended, told long ago",
                configuring(Some(start())),
                vec![run(1, "start", 1, ended(90_000))],
                vec![Step::SayAgain(id(1))],
            ),
            ("ended and done with", configuring(None), vec![run(1, "start", 1, ended(0))], vec![]),
            (
                "cancelled here",
                configuring(None),
                vec![run(1, "start", 1, unfinished(Here))],
                vec![Step::Cancel(id(1))],
            ),
            (
                "cancelled elsewhere",
                configuring(None),
                vec![run(1, "start", 1, unfinished(Elsewhere))],
                vec![Step::Cancel(id(1))],
            ),
            (
                "cancelled before it began",
                configuring(None),
                vec![run(1, "start", 1, unfinished(Nobody))],
                vec![Step::Cancel(id(1)), Step::Drive(id(1))],
            ),
            (
                "a destroy overtakes a start",
                Some(state(ClusterStatus::Destroying, 1, Some(destroy()))),
                vec![run(1, "start", 1, unfinished(Here))],
                vec![Step::Cancel(id(1)), Step::Create(destroy())],
            ),
            (
                "the destroy waits for the start's end",
                Some(state(ClusterStatus::Destroying, 1, Some(destroy()))),
                vec![run(1, "start", 1, unfinished(Here)), run(2, "destroy", 1, unfinished(Nobody))],
                vec![Step::Cancel(id(1))],
            ),
            (
                "then it is driven",
                Some(state(ClusterStatus::Destroying, 1, Some(destroy()))),
                vec![run(1, "start", 1, ended(0)), run(2, "destroy", 1, unfinished(Nobody))],
                vec![Step::Drive(id(2))],
            ),
            (
                "a retry is a run of its own",
                Some(state(ClusterStatus::Configuring, 2, Some(start()))),
                vec![run(1, "start", 1, ended(0))],
                vec![Step::Create(start())],
            ),
            ("an unknown cluster", None, vec![run(1, "start", 1, unfinished(Here))], vec![Step::Cancel(id(1))]),
            (
                "a destroyed cluster",
                Some(state(ClusterStatus::Destroyed, 1, Some(start()))),
                vec![run(1, "start", 1, unfinished(Here))],
                vec![Step::Cancel(id(1))],
            ),
        ];
        for (name, state, runs, expected) in cases {
            assert_eq!(plan(state.as_ref(), &runs, at(100_000)), expected, "{name}");
        }
    }

    #[test]
    fn a_cluster_is_never_driven_twice_and_nothing_unwanted_is_left_alone() {
        let phases = [unfinished(Driven::Nobody), unfinished(Driven::Here), unfinished(Driven::Elsewhere), ended(0)];
        for first in &phases {
            for second in &phases {
                for wanted in [None, Some(request(1, "start")), Some(request(2, "destroy"))] {
                    let runs = [run(1, "start", 1, first.clone()), run(2, "destroy", 1, second.clone())];
                    let state = state(ClusterStatus::Destroying, 1, wanted.clone());
                    let steps = plan(Some(&state), &runs, at(100_000));
                    for run in &runs {
                        let unwanted = wanted.as_ref().is_none_or(|wanted| wanted.operation != run.operation);
                        let is_unfinished = matches!(run.phase, Phase::Unfinished { .. });
                        let cancels = steps.contains(&Step::Cancel(run.id));
                        assert_eq!(cancels, unwanted && is_unfinished, "{runs:?} {wanted:?} {steps:?}");
                        let driven_already = !matches!(run.phase, Phase::Unfinished { driven: Driven::Nobody });
                        assert!(!(driven_already && steps.contains(&Step::Drive(run.id))), "{runs:?} {steps:?}");
                    }
                }
            }
        }
    }
}

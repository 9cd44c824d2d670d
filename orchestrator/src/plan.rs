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
    /// Which run of the operation it is, from 0.
    pub step: u32,
    /// Whether it changes nothing, and stands beside the cluster's main run.
    pub is_side: bool,
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
    Create {
        /// What the registry wants.
        request: Box<RunRequest>,
        /// Whether it stands beside the cluster's main run.
        is_side: bool,
    },
    /// Claim this run and see it to its end: begin its script, begin it again, or end what was cancelled.
    Drive(RunId),
    /// This run is no longer wanted: end it at once.
    Cancel(RunId),
    /// The registry still waits for the end of this run: tell it again.
    SayAgain(RunId),
}

/// What to do about a cluster, in order. `state` is None where the registry does not know it.
pub fn plan(state: Option<&ClusterState>, runs: &[KnownRun], now: Timestamp) -> Vec<Step> {
    let wanted = wanted(state);
    let is_of = |run: &KnownRun, request: &RunRequest, generation: u32| {
        let known = (run.operation, run.action.as_str(), run.generation, run.step);
        known == (request.operation, request.action.as_str(), generation, request.step)
    };
    let is_wanted = |run: &&KnownRun| wanted.iter().any(|wish| is_of(run, wish.request, wish.generation));
    let mut steps = Vec::new();
    let mut is_free = true;
    for run in runs.iter().filter(|run| !is_wanted(run)) {
        if let Phase::Unfinished { driven } = run.phase {
            is_free &= run.is_side;
            steps.push(Step::Cancel(run.id));
            if driven == Driven::Nobody {
                steps.push(Step::Drive(run.id));
            }
        }
    }
    for wish in &wanted {
        let Some(run) = runs.iter().find(|run| is_of(run, wish.request, wish.generation)) else {
            steps.push(Step::Create { request: Box::new(wish.request.clone()), is_side: wish.is_side });
            continue;
        };
        match &run.phase {
            // A cluster has one script that may change it at a time: what is being cancelled ends first.
            Phase::Unfinished { driven: Driven::Nobody } if is_free || run.is_side => steps.push(Step::Drive(run.id)),
            Phase::Unfinished { .. } => {}
            Phase::Ended { said_at, .. } if now.millis_since(*said_at) >= SAY_AGAIN_AFTER_MS => {
                steps.push(Step::SayAgain(run.id));
            }
            Phase::Ended { .. } => {}
        }
    }
    steps
}

/// A run that the registry wants.
struct Wish<'a> {
    request: &'a RunRequest,
    generation: u32,
    is_side: bool,
}

/// The main run first: where places are few it is not the one that waits.
fn wanted(state: Option<&ClusterState>) -> Vec<Wish<'_>> {
    let Some(state) = state.filter(|state| state.status != ClusterStatus::Destroyed) else { return Vec::new() };
    let wish = |is_side| move |request| Wish { request, generation: state.generation, is_side };
    state.run.iter().map(wish(false)).chain(state.side_runs.iter().map(wish(true))).collect()
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
        RunRequest {
            operation,
            origin: None,
            action: action.into(),
            step: 0,
            required: true,
            deadline,
            event: None,
            arguments: Default::default(),
        }
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
            origin: None,
            side_runs: Vec::new(),
            nodes: Default::default(),
            leaving: Vec::new(),
            run,
            observed: Default::default(),
        }
    }

    fn run(number: u128, action: &str, generation: u32, phase: Phase) -> KnownRun {
        let id = RunId(Uuid::from_u128(100 + number));
        let (operation, action) = (operation(number), action.into());
        KnownRun { id, operation, action, generation, step: 0, is_side: false, phase }
    }

    fn create(request: RunRequest) -> Step {
        Step::Create { request: Box::new(request), is_side: false }
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
            ("a new wish", configuring(Some(start())), vec![], vec![create(start())]),
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
                vec![Step::Cancel(id(1)), create(destroy())],
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
                vec![create(start())],
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

    fn with_side_runs(run: Option<RunRequest>, side_runs: Vec<RunRequest>) -> ClusterState {
        ClusterState { side_runs, ..state(ClusterStatus::Ready, 1, run) }
    }

    #[test]
    fn side_runs_neither_wait_for_the_main_one_nor_for_each_other() {
        use Driven::{Here, Nobody};
        let side = |number: u128, phase| KnownRun { is_side: true, ..run(number, "backup", 1, phase) };
        let main = || run(1, "scale", 1, unfinished(Here));
        let (first, second) = (request(5, "backup"), request(6, "backup"));
        let wanted = with_side_runs(Some(request(1, "scale")), vec![first.clone(), second.clone()]);
        assert_eq!(
            plan(Some(&wanted), &[main()], at(0)),
            [first, second].map(|request| Step::Create { request: Box::new(request), is_side: true })
        );
        let runs = [main(), side(5, unfinished(Nobody)), side(6, unfinished(Here))];
        assert_eq!(plan(Some(&wanted), &runs, at(0)), [Step::Drive(id(5))]);
        let without = with_side_runs(Some(request(2, "start")), vec![]);
        let runs = [run(2, "start", 1, unfinished(Nobody)), side(5, unfinished(Here))];
        assert_eq!(
            plan(Some(&without), &runs, at(0)),
            [Step::Cancel(id(5)), Step::Drive(id(2))],
            "a side run that is being cancelled holds nothing up"
        );
        let runs = [run(1, "scale", 1, unfinished(Here)), side(5, ended(0))];
        let late = plan(Some(&with_side_runs(None, vec![request(5, "backup")])), &runs, at(SAY_AGAIN_AFTER_MS as i64));
        assert_eq!(late, [Step::Cancel(id(1)), Step::SayAgain(id(5))]);
    }

    #[test]
    fn runs_of_one_operation_are_told_apart_by_their_number() {
        let of_step = |step| RunRequest { step, ..request(1, "upgrade") };
        let first = run(1, "upgrade", 1, ended(99_000));
        let wanted = |request| Some(state(ClusterStatus::Ready, 1, Some(request)));
        let at = at(100_000);
        assert_eq!(plan(wanted(of_step(0)).as_ref(), std::slice::from_ref(&first), at), []);
        assert_eq!(plan(wanted(of_step(1)).as_ref(), &[first], at), [create(of_step(1))]);
    }
}

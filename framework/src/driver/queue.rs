//! The calls that wait for the master. Putting one in never waits, and what waits already is not put in again: so the
//! queue is bounded by what there is to be said, and a slow master is not told it ever more often.

use crate::core::output::Call;
use std::collections::{HashSet, VecDeque};

/// Calls that are under way at the same time.
const TOGETHER: usize = 16;
/// Acknowledgements among them at the most while there are others: neither holds the other up.
const ACKNOWLEDGEMENTS: usize = 12;

/// Calls with whatever they are made by.
#[derive(Debug)]
pub(super) struct Queue<H> {
    ordered: VecDeque<(H, Call)>,
    acknowledgements: VecDeque<(H, Call)>,
    endings: VecDeque<(H, Call)>,
    known: HashSet<Subject>,
}

/// What a call is about, where saying it twice is of no use.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Subject {
    Kill(String),
    Shutdown(String),
    Acknowledge(String, Vec<u8>),
    AcknowledgeOperation(Vec<u8>),
    ReconcileAll,
}

impl<H> Default for Queue<H> {
    fn default() -> Self {
        Self {
            ordered: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            endings: VecDeque::new(),
            known: HashSet::new(),
        }
    }
}

impl<H> Queue<H> {
    /// Puts a call in, unless the same waits already.
    pub(super) fn push(&mut self, maker: H, call: Call) {
        if subject(&call).is_none_or(|subject| self.known.insert(subject)) {
            let queue = match &call {
                Call::Acknowledge(_) | Call::AcknowledgeOperation(_) => &mut self.acknowledgements,
                Call::Kill { .. } | Call::Shutdown { .. } => &mut self.endings,
                _ => &mut self.ordered,
            };
            queue.push_back((maker, call));
        }
    }

    /// The next calls, which may be made at the same time. Offers, launches and reconciliations leave first, one by one
    /// and in order. What is said of single tasks waits for them: so a KILL does not overtake the launch that it is for,
    /// and a launch does not wait for a thousand KILLs. Nor does an acknowledgement: until a node's first update is
    /// acknowledged its agent does not tell the next one, that it runs.
    pub(super) fn next(&mut self) -> Vec<(H, Call)> {
        let calls: Vec<(H, Call)> = match self.ordered.pop_front() {
            Some(call) => vec![call],
            None => {
                let endings = self.endings.len().min(TOGETHER - ACKNOWLEDGEMENTS);
                let acknowledgements = self.acknowledgements.len().min(TOGETHER - endings);
                let endings = self.endings.len().min(TOGETHER - acknowledgements);
                self.acknowledgements.drain(..acknowledgements).chain(self.endings.drain(..endings)).collect()
            }
        };
        for subject in calls.iter().filter_map(|(_, call)| subject(call)) {
            self.known.remove(&subject);
        }
        calls
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.ordered.clear();
        self.acknowledgements.clear();
        self.endings.clear();
        self.known.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.ordered.len() + self.acknowledgements.len() + self.endings.len()
    }
}

fn subject(call: &Call) -> Option<Subject> {
    Some(match call {
        Call::Kill { task, .. } => Subject::Kill(task.value.clone()),
        Call::Shutdown { executor, .. } => Subject::Shutdown(executor.value.clone()),
        Call::Acknowledge(status) => {
            Subject::Acknowledge(status.task_id.value.clone(), status.uuid.clone().unwrap_or_default())
        }
        Call::AcknowledgeOperation(status) => {
            Subject::AcknowledgeOperation(status.uuid.as_ref().map(|uuid| uuid.value.clone()).unwrap_or_default())
        }
        Call::Reconcile(tasks) if tasks.is_empty() => Subject::ReconcileAll,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(task: &str) -> Call {
        Call::Kill { task: task.into(), agent: None }
    }

    #[test]
    fn a_kill_that_waits_is_not_queued_twice() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            for task in 0..1000 {
                queue.push((), kill(&task.to_string()));
            }
            queue.push((), Call::Reconcile(Vec::new()));
        }
        assert_eq!(queue.len(), 1001);
        assert_eq!(queue.next().len(), 1, "the reconciliation leaves first");
        let first = queue.next();
        assert_eq!((first.len(), &first[0].1), (TOGETHER, &kill("0")));
        // It has left: whoever says it again means it.
        queue.push((), kill("0"));
        assert_eq!(queue.len(), 1000 - TOGETHER + 1);
    }

    #[test]
    fn what_must_stay_in_order_leaves_first_and_alone() {
        let mut queue = Queue::default();
        for call in [kill("a"), kill("b"), Call::Revive, Call::Suppress, kill("a")] {
            queue.push((), call);
        }
        let calls: Vec<Vec<Call>> = std::iter::from_fn(|| Some(queue.next()).filter(|calls| !calls.is_empty()))
            .map(|calls| calls.into_iter().map(|((), call)| call).collect())
            .collect();
        // The second kill of "a" says nothing new.
        assert_eq!(calls, [vec![Call::Revive], vec![Call::Suppress], vec![kill("a"), kill("b")]]);
    }

    #[test]
    fn acknowledgements_and_kills_do_not_wait_for_each_other() {
        use bigdata_mesos::v1::{TaskState, TaskStatus};
        let acknowledge = |task: &str| Call::Acknowledge(TaskStatus::new(task, TaskState::Starting));
        let mut queue = Queue::default();
        for task in 0..1000 {
            queue.push((), kill(&task.to_string()));
        }
        queue.push((), acknowledge("late"));
        let first = queue.next();
        assert_eq!((first.len(), &first[0].1), (TOGETHER, &acknowledge("late")));
        for task in 0..1000 {
            queue.push((), acknowledge(&task.to_string()));
        }
        let is_kill = |(_, call): &&((), Call)| matches!(call, Call::Kill { .. });
        assert_eq!(queue.next().iter().filter(is_kill).count(), TOGETHER - ACKNOWLEDGEMENTS);
    }

    #[test]
    fn what_is_dropped_may_be_said_again() {
        let mut queue = Queue::default();
        queue.push((), kill("a"));
        queue.clear();
        assert!(queue.next().is_empty());
        queue.push((), kill("a"));
        assert_eq!(queue.len(), 1);
    }
}

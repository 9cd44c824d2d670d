//! Whether a cluster's history is a way through the status machine. Pure.

use bigdata_common::api::cluster::EventView;
use bigdata_common::status::ClusterStatus;

/// What is wrong with a history, the first fault only; `newest` and `status` are what the cluster itself says.
/// The history of a destroyed cluster may have been forgotten, whole or up to some event.
pub fn fault(events: &[EventView], newest: u64, status: ClusterStatus) -> Option<String> {
    let destroyed = status == ClusterStatus::Destroyed;
    let Some(first) = events.first() else {
        return (!destroyed).then(|| "it has no history".to_owned());
    };
    if first.sequence != 1 && !destroyed {
        return Some(format!("its history begins with {}", first.sequence));
    }
    for pair in events.windows(2) {
        if let [before, after] = pair
            && after.sequence != before.sequence + 1
        {
            return Some(format!("after event {} comes {}", before.sequence, after.sequence));
        }
    }
    if let Some(last) = events.last().filter(|last| last.sequence != newest) {
        return Some(format!("its history ends with {}, and it counts {newest}", last.sequence));
    }
    let way: Vec<ClusterStatus> =
        events.iter().filter(|event| event.kind == "status").map(|event| event.status).collect();
    way_fault(&way, first.sequence == 1, status)
}

fn way_fault(way: &[ClusterStatus], whole: bool, status: ClusterStatus) -> Option<String> {
    if let Some(first) = way.first().filter(|first| whole && **first != ClusterStatus::Registered) {
        return Some(format!("its first status is {first}"));
    }
    for pair in way.windows(2) {
        if let [from, to] = pair
            && !leads(*from, *to)
        {
            return Some(format!("it went from {from} to {to}"));
        }
    }
    match way.last() {
        Some(last) if *last != status => Some(format!("its history ends at {last}, and it is {status}")),
        None if whole => Some("its history tells of no status".to_owned()),
        _ => None,
    }
}

/// Whether a cluster may go from one status to the other. From failed a retry leads back to the phase that failed.
fn leads(from: ClusterStatus, to: ClusterStatus) -> bool {
    use ClusterStatus as Status;
    let on = match from {
        Status::Registered => &[Status::Scheduling][..],
        Status::Scheduling => &[Status::Scheduled],
        // Without a script there is nothing to configure.
        Status::Scheduled => &[Status::Configuring, Status::Configured],
        Status::Configuring => &[Status::Configured],
        Status::Configured => &[Status::Ready],
        Status::Failed => &[Status::Scheduling, Status::Scheduled, Status::Configured],
        Status::Destroying => &[Status::Destroyed],
        Status::Ready | Status::Destroyed => &[],
    };
    match to {
        Status::Failed => from.is_launching(),
        Status::Destroying => !matches!(from, Status::Destroying | Status::Destroyed),
        to => on.contains(&to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::Timestamp;
    use bigdata_common::status::ClusterStatus as Status;

    fn history(way: &[(u64, Status)]) -> Vec<EventView> {
        let event = |(sequence, status): &(u64, Status)| EventView {
            sequence: *sequence,
            at: Timestamp::from_millis(0),
            kind: "status".to_owned(),
            status: *status,
            node: None,
            message: String::new(),
        };
        way.iter().map(event).collect()
    }

    #[test]
    fn a_history_and_what_can_be_wrong_with_it() {
        let good = [(1, Status::Registered), (2, Status::Scheduling), (3, Status::Failed), (4, Status::Scheduling)];
        assert_eq!(fault(&history(&good), 4, Status::Scheduling), None);
        assert_eq!(fault(&[], 9, Status::Destroyed), None);
        let forgotten = [(8, Status::Destroying), (9, Status::Destroyed)];
        assert_eq!(fault(&history(&forgotten), 9, Status::Destroyed), None);
        for (way, newest, status, words) in [
            (vec![], 0, Status::Ready, "no history"),
            (good[1..].to_vec(), 4, Status::Scheduling, "begins with 2"),
            (vec![good[0], good[2]], 3, Status::Failed, "after event 1 comes 3"),
            (good.to_vec(), 5, Status::Scheduling, "counts 5"),
            (good.to_vec(), 4, Status::Failed, "and it is failed"),
            (vec![(1, Status::Scheduling)], 1, Status::Scheduling, "first status"),
            (vec![(1, Status::Registered), (2, Status::Ready)], 2, Status::Ready, "from registered to ready"),
        ] {
            let found = fault(&history(&way), newest, status).unwrap();
            assert!(found.contains(words), "{found}");
        }
    }
}

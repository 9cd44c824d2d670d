//! The phases of a cluster as a timeline.

use super::words::{Chip, Moment, duration};
use bigdata_common::Timestamp;
use bigdata_common::api::cluster::PhaseView;
use bigdata_common::status::ClusterStatus;
use serde::Serialize;

/// The phases that a launch goes through.
const LAUNCH: &[ClusterStatus] = &[
    ClusterStatus::Registered,
    ClusterStatus::Scheduling,
    ClusterStatus::Scheduled,
    ClusterStatus::Configuring,
    ClusterStatus::Configured,
    ClusterStatus::Ready,
];
/// Steps of width that the style sheet knows for the segments of the timeline.
const WIDTHS: f64 = 20.0;

/// One phase as a segment of the timeline.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Segment {
    pub(crate) status: Chip,
    /// When it was reached; None: not yet.
    pub(crate) at: Option<Moment>,
    /// How long it lasted or lasts; empty where that does not matter any more.
    pub(crate) took: String,
    /// 1 to 20.
    pub(crate) width: u32,
    /// Whether it is the present one.
    pub(crate) is_now: bool,
}

/// The phases gone through, the present one, and those of a launch that are still to come.
pub(crate) fn timeline(
    status: ClusterStatus,
    failed_during: Option<ClusterStatus>,
    phases: &[PhaseView],
    now: Timestamp,
) -> Vec<Segment> {
    // How long the present phase lasts says something only while the cluster shall leave it.
    let moves = status.is_launching() || status == ClusterStatus::Destroying;
    let lasted = |index: usize| match phases.get(index + 1) {
        Some(next) => Some(next.at.millis_since(phases[index].at)),
        None if moves => Some(now.millis_since(phases[index].at)),
        None => None,
    };
    let longest = (0..phases.len()).filter_map(lasted).max().unwrap_or(0).max(1) as f64;
    let mut segments: Vec<Segment> = phases
        .iter()
        .enumerate()
        .map(|(index, phase)| {
            let share = lasted(index).unwrap_or(0) as f64 / longest;
            let mut chip = Chip::from(phase.status);
            let is_now = index + 1 == phases.len();
            if !is_now && chip.tone == "busy" {
                chip.tone = if failed_during == Some(phase.status) { "bad" } else { "good" };
            }
            Segment {
                status: chip,
                at: Some(Moment::new(phase.at, now)),
                took: lasted(index).map(duration).unwrap_or_default(),
                width: (share * WIDTHS).ceil().clamp(1.0, WIDTHS) as u32,
                is_now,
            }
        })
        .collect();
    if status.is_launching() {
        let to_come = LAUNCH.iter().filter(|phase| phases.iter().all(|reached| reached.status != **phase));
        segments.extend(to_come.map(|phase| Segment {
            status: Chip { word: phase.to_string(), tone: "calm" },
            at: None,
            took: String::new(),
            width: 1,
            is_now: false,
        }));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(list: &[(ClusterStatus, i64)]) -> Vec<PhaseView> {
        list.iter()
            .map(|(status, at)| PhaseView { status: *status, at: Timestamp::from_millis(*at), took_ms: 0 })
            .collect()
    }

    #[test]
    fn a_launch_under_way_shows_what_is_still_to_come() {
        let phases = phases(&[(ClusterStatus::Registered, 0), (ClusterStatus::Scheduling, 100)]);
        let segments = timeline(ClusterStatus::Scheduling, None, &phases, Timestamp::from_millis(2_100));
        let told: Vec<_> = segments
            .iter()
            .map(|segment| (segment.status.word.as_str(), segment.status.tone, segment.took.as_str(), segment.width))
            .collect();
        assert_eq!(
            told,
            [
                ("registered", "good", "100 ms", 1),
                ("scheduling", "busy", "2.0 s", 20),
                ("scheduled", "calm", "", 1),
                ("configuring", "calm", "", 1),
                ("configured", "calm", "", 1),
                ("ready", "calm", "", 1),
            ]
        );
    }

    #[test]
    fn a_failure_marks_its_phase_and_ends_the_timeline() {
        let phases =
            phases(&[(ClusterStatus::Registered, 0), (ClusterStatus::Scheduling, 5), (ClusterStatus::Failed, 65_005)]);
        let failed = Some(ClusterStatus::Scheduling);
        let segments = timeline(ClusterStatus::Failed, failed, &phases, Timestamp::from_millis(99_999));
        let told: Vec<_> =
            segments.iter().map(|segment| (segment.status.tone, segment.took.as_str(), segment.is_now)).collect();
        assert_eq!(told, [("good", "5 ms", false), ("bad", "1 min 5 s", false), ("bad", "", true)]);
    }
}

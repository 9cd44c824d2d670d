//! What a script's end means. Pure.

use super::lines::shortened;
use bigdata_common::event::RunResult;
use bigdata_sandbox::Ending;

/// The exit code by which a script says that it does not know an action (`EX_USAGE`).
pub(crate) const UNKNOWN_ACTION: i32 = 64;
/// What `fab` says then; it has no exit code of its own for it.
const FAB_UNKNOWN_ACTION: &str = "Command(s) not found";
/// How much of a script's last line goes into a reason, in bytes.
const LAST_LINE_MAX: usize = 500;

/// What is judged.
#[derive(Debug, Clone)]
pub(crate) struct End<'a> {
    pub(crate) ending: &'a Ending,
    pub(crate) action: &'a str,
    pub(crate) required: bool,
    /// How long the script was allowed to run, in milliseconds.
    pub(crate) allowed_ms: u64,
    /// The limits that its tree has reached, in words.
    pub(crate) reached: Option<&'a str>,
    /// The last line with something in it, of standard error where there is one.
    pub(crate) last_line: Option<&'a str>,
}

/// The run's result.
pub(crate) fn verdict(end: &End<'_>) -> RunResult {
    let reason = match end.ending {
        Ending::Exited { code: 0 } => return RunResult::Succeeded {},
        Ending::Exited { code } if is_unknown_action(*code, end.last_line) => match end.required {
            false => return RunResult::Absent {},
            true => format!("the script does not know the action {:?} (exit code {code})", end.action),
        },
        Ending::Exited { code } => format!("exited with code {code}"),
        Ending::TimedOut => format!("ran longer than {}", duration(end.allowed_ms)),
        Ending::SetupFailed { what, .. } => format!("could not be started: {what}"),
        ending @ (Ending::Signaled { .. } | Ending::MemoryExhausted) => ending.to_string(),
    };
    let reason = match end.reached {
        Some(reached) => format!("{reason}; {reached}"),
        None => reason,
    };
    let reason = match (end.last_line, end.ending) {
        (Some(line), Ending::TimedOut) => format!("{reason}; its last line was: {}", shortened(line, LAST_LINE_MAX)),
        (Some(line), _) => format!("{reason}: {}", shortened(line, LAST_LINE_MAX)),
        (None, _) => reason,
    };
    RunResult::Failed { reason }
}

fn is_unknown_action(code: i32, last_line: Option<&str>) -> bool {
    code == UNKNOWN_ACTION || (code == 1 && last_line.is_some_and(|line| line.contains(FAB_UNKNOWN_ACTION)))
}

/// The end of a run in words for its log.
pub(crate) fn words(result: &RunResult) -> String {
    match result {
        RunResult::Succeeded {} => "succeeded".to_owned(),
        RunResult::Absent {} => "is not known to the script, which is no error".to_owned(),
        RunResult::Failed { reason } => format!("failed: {reason}"),
        RunResult::Cancelled {} => "was cancelled".to_owned(),
    }
}

/// `30 min`, `90 s`: rounded, for people.
pub(crate) fn duration(millis: u64) -> String {
    match millis {
        0..120_000 => format!("{} s", millis.div_ceil(1000)),
        _ => format!("{} min", (millis + 30_000) / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let failed = |reason: &str| RunResult::Failed { reason: reason.into() };
        let exited = |code| Ending::Exited { code };
        let missing =
            Ending::SetupFailed { what: "command not found: /x".into(), command_missing: true, not_executable: false };
        let fab = Some("Warning: Command(s) not found: check");
        let cases = [
            (exited(0), true, Some("noise"), RunResult::Succeeded {}),
            (exited(1), true, Some("boom"), failed("exited with code 1: boom")),
            (exited(3), false, None, failed("exited with code 3")),
            (exited(64), false, Some("usage"), RunResult::Absent {}),
            (exited(64), true, None, failed("the script does not know the action \"start\" (exit code 64)")),
            (exited(1), false, fab, RunResult::Absent {}),
            (Ending::TimedOut, true, None, failed("ran longer than 30 min")),
            (Ending::TimedOut, true, Some("at 3"), failed("ran longer than 30 min; its last line was: at 3")),
            (missing, true, None, failed("could not be started: command not found: /x")),
        ];
        for (ending, required, last_line, expected) in cases {
            let end =
                End { ending: &ending, action: "start", required, allowed_ms: 1_799_700, reached: None, last_line };
            assert_eq!(verdict(&end), expected);
        }
        let killed = Ending::Signaled { signal: 9 };
        let (required, allowed_ms, reached) = (true, 1, Some("its processes reached the limit of 9"));
        let end = End { ending: &killed, action: "start", required, allowed_ms, reached, last_line: Some("x") };
        let expected = format!("{killed}; its processes reached the limit of 9: x");
        assert_eq!(verdict(&end), failed(&expected));
    }

    #[test]
    fn durations() {
        for (millis, text) in [(900, "1 s"), (90_000, "90 s"), (1_799_700, "30 min"), (3_600_000, "60 min")] {
            assert_eq!(duration(millis), text);
        }
    }
}

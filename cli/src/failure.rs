//! How a command fails: what the user reads, and the exit code that scripts see.

use bigdata_common::api::problem::{Fault, Problem, ProblemCode};
use std::fmt;
use std::process::ExitCode;

/// The exit codes, as `--help` tells them.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed (a cluster that failed, too); `node exec` passes its command's own code through,
     and has 127 for one that is missing, 126 for one that cannot be executed
  2  used wrongly: the command line, or what it sends
  3  there is no such thing
  4  it conflicts with what there is
  5  the platform, a service or a node does not answer now
  6  the time was up";

/// How the line with the next command begins.
const ADVICE: &str = "  next: ";

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The platform refused.
    Problem(Box<Problem>),
    /// Nothing answers where the platform should.
    Unreachable {
        /// What was called.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The command line, or a file that it names, is not as it should be.
    Usage(String),
    /// What was named does not exist.
    NotFound(String),
    /// What was wanted did not happen.
    Failed(String),
    /// It did not happen in time.
    TimedOut(String),
    /// The exit code of a command that was run elsewhere.
    Exit(i32),
    /// A command that could not be run elsewhere.
    NotRun {
        /// What a shell would exit with: 127 where it is missing, 126 where it cannot be executed.
        code: u8,
        /// Why.
        reason: String,
    },
    /// Whoever read the output has gone: not an error.
    OutputClosed,
}

impl Failure {
    /// A failure of this process's own doing or surroundings, with its causes.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(error))
    }

    /// Its number in [`EXIT_CODES`].
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Problem(problem) => match problem.status {
                400 | 413 => 2,
                404 => 3,
                409 => 4,
                429 | 502 | 503 => 5,
                504 => 6,
                _ => 1,
            },
            Self::Unreachable { .. } => 5,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Failed(_) => 1,
            Self::TimedOut(_) => 6,
            Self::Exit(code) => u8::try_from(*code).unwrap_or(1),
            Self::NotRun { code, .. } => *code,
            Self::OutputClosed => 0,
        }
    }

    /// Whether it may be otherwise in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        self.code() == 5
    }

    /// What the process exits with, for `main`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// Tells the user on standard error: the problem as the platform gave it for machines, words for people. Without
    /// `advice` the last line is what went wrong, as it should be where a script's last line is its reason.
    pub(crate) fn report(&self, json: bool, advice: bool) {
        match self {
            Self::Exit(_) | Self::OutputClosed => {}
            Self::Problem(problem) if json => {
                eprintln!("{}", serde_json::to_string(problem).unwrap_or_else(|_| problem.to_string()));
            }
            other => {
                let text = other.to_string();
                for line in text.lines().filter(|line| advice || !line.starts_with(ADVICE)) {
                    eprintln!("{line}");
                }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => {
                write!(formatter, "error: {} [{}]", headline(problem), problem.code.as_str())?;
                for fault in &problem.errors {
                    formatter.write_str(&fault_line(problem, fault))?;
                }
                if let Some(command) = next_command(problem.code) {
                    write!(formatter, "\n{ADVICE}{command}")?;
                }
                Ok(())
            }
            Self::Unreachable { url, cause } => write!(
                formatter,
                "error: nothing answers at {url} ({cause})\n  next: bigdata up, or name another address by --url or BIGDATA_URL"
            ),
            Self::Usage(text) | Self::NotFound(text) | Self::Failed(text) | Self::TimedOut(text) => {
                write!(formatter, "error: {text}")
            }
            Self::Exit(code) => write!(formatter, "exit code {code}"),
            Self::NotRun { reason, .. } => write!(formatter, "error: {reason}"),
            Self::OutputClosed => formatter.write_str("the output was closed"),
        }
    }
}

/// What comes first of a problem. Where its detail only repeats the faults, which are told one by one below, its title does.
fn headline(problem: &Problem) -> &str {
    match problem.errors.as_slice() {
        [] | [_] => &problem.detail,
        faults if faults.iter().all(|fault| problem.detail.contains(&fault.detail)) => &problem.title,
        [first, ..] => {
            let repeated = format!(", the first at {}: {}", first.pointer, first.detail);
            problem.detail.strip_suffix(&repeated).unwrap_or(&problem.detail)
        }
    }
}

/// The line for one fault; without what the headline said already.
fn fault_line(problem: &Problem, fault: &Fault) -> String {
    let (place, said) = (fault.pointer.as_str(), headline(problem).contains(&fault.detail));
    match (said, place.is_empty() || headline(problem).contains(place)) {
        (true, true) => String::new(),
        (true, false) => format!("\n  at {place}"),
        (false, _) if place.is_empty() => format!("\n  {}", fault.detail),
        (false, _) => format!("\n  at {place}: {}", fault.detail),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::OutputClosed } else { Self::of(&error) }
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What helps after a problem of this kind, where one command does for most cases.
fn next_command(code: ProblemCode) -> Option<&'static str> {
    match code {
        ProblemCode::UnknownProduct | ProblemCode::ProductIncomplete => Some("bigdata product list"),
        ProblemCode::InvalidOptions => Some("bigdata product show NAME VERSION tells the options"),
        ProblemCode::ProductInUse => Some("bigdata cluster list"),
        ProblemCode::ProductExists => Some("bigdata product show NAME VERSION, or register it under a new version"),
        ProblemCode::UnknownCluster => Some("bigdata cluster list --all"),
        ProblemCode::UnknownNode | ProblemCode::NodeUnavailable => Some("bigdata cluster nodes CLUSTER"),
        ProblemCode::UnknownOperation => Some("bigdata operation list"),
        ProblemCode::WrongStatus => Some("bigdata cluster show CLUSTER"),
        ProblemCode::TerminationForbidden => Some("bigdata cluster termination CLUSTER wipe"),
        ProblemCode::ServiceUnavailable | ProblemCode::TooManyRequests => Some("try again in a moment"),
        ProblemCode::Internal => Some("the platform's log says what happened: DATA/log/bigdata.log"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_what_where_next_and_its_code() {
        let problem = Problem::new(ProblemCode::InvalidOptions, "two options are wrong")
            .with_errors(vec![Fault::new("/size", "must be at least 1")]);
        let failure = Failure::from(problem);
        let text = failure.to_string();
        for part in ["two options are wrong", "[BD0014]", "at /size: must be at least 1", "next: bigdata product show"]
        {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn nothing_is_told_twice() {
        let told = |detail: &str, faults: &[(&str, &str)]| {
            let faults = faults.iter().map(|(pointer, detail)| Fault::new(*pointer, *detail)).collect();
            Failure::from(Problem::new(ProblemCode::InvalidBlueprint, detail).with_errors(faults)).to_string()
        };
        assert_eq!(
            told("a number is wanted", &[("/size", "a number is wanted")]),
            "error: a number is wanted [BD0016]\n  at /size"
        );
        assert_eq!(told("/a: wrong", &[("/a", "wrong")]), "error: /a: wrong [BD0016]");
        let title = Problem::new(ProblemCode::InvalidBlueprint, "").title;
        assert_eq!(told("x; y", &[("/a", "x"), ("", "y")]), format!("error: {title} [BD0016]\n  at /a: x\n  y"));
        assert_eq!(
            told("it has 2 faults, the first at /a: x", &[("/a", "x"), ("/b", "y")]),
            "error: it has 2 faults [BD0016]\n  at /a: x\n  at /b: y"
        );
    }

    #[test]
    fn exit_codes_follow_the_table() {
        for (code, expected) in [
            (ProblemCode::UnknownCluster, 3),
            (ProblemCode::WrongStatus, 4),
            (ProblemCode::ServiceUnavailable, 5),
            (ProblemCode::WaitTimedOut, 6),
            (ProblemCode::Internal, 1),
        ] {
            assert_eq!(Failure::from(Problem::new(code, "x")).code(), expected, "{code:?}");
        }
        assert_eq!(Failure::Exit(42).code(), 42);
    }
}

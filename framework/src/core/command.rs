//! What an agent runs as a node's executor.

use super::{Fetched, Policy};
use bigdata_mesos::v1::{CommandInfo, Uri};

/// The fetched program in the sandbox, where its process begins.
const FETCHED: &str = "bigdata-executor";
/// `$1`: the sum, `$2`: the program.
const CHECKED: &str = "echo \"$1  $2\" | sha256sum -c --status && exec \"./$2\"; \
                       echo \"$2 is not the program that the framework's setting executor_sha256 names\" >&2; exit 1";

/// The executor's command.
pub(super) fn executor(policy: &Policy) -> CommandInfo {
    let command = match (&policy.executor_fetched, policy.executor_command.split_first()) {
        (Some(fetched), _) => in_sandbox(fetched),
        (None, Some((program, arguments))) => CommandInfo::program(program.clone(), arguments.to_vec()),
        (None, None) => CommandInfo::program("bigdata", vec!["executor".to_owned()]),
    };
    command.with_variable("PATH", policy.executor_path.as_str()).with_variable("LANG", "C.UTF-8")
}

/// What is behind the end of an executor that never enrolled, as far as it can be told from here.
pub(super) fn guess(policy: &Policy) -> String {
    let why = match &policy.executor_fetched {
        Some(Fetched { uri, sha256: Some(_) }) => {
            format!("{uri} may not be the program that the framework's setting executor_sha256 names")
        }
        Some(Fetched { uri, .. }) => format!("{uri} may not be a program that its agent can run"),
        None => "its agent may not be able to run it".to_owned(),
    };
    format!(", and its executor never enrolled: {why}; the file stderr of its sandbox says more")
}

fn in_sandbox(fetched: &Fetched) -> CommandInfo {
    let mut command = match &fetched.sha256 {
        None => CommandInfo::program(format!("./{FETCHED}"), Vec::<String>::new()),
        // Mesos checks no sums.
        Some(sum) => {
            let arguments = ["-c", CHECKED, "sh", sum, FETCHED];
            CommandInfo::program("/bin/sh", arguments.map(str::to_owned).to_vec())
        }
    };
    command.uris.push(Uri {
        value: fetched.uri.clone(),
        executable: Some(true),
        extract: Some(false),
        output_file: Some(FETCHED.to_owned()),
        ..Uri::default()
    });
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// Runs the command as Mesos does, where its fetcher has put the program.
    fn run(sum: Option<&str>) -> Option<i32> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(FETCHED);
        std::fs::write(&program, "#!/bin/sh\nexit 7\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let fetched = Fetched { uri: "file:///program".to_owned(), sha256: sum.map(str::to_owned) };
        let command = in_sandbox(&fetched);
        assert_eq!((command.uris[0].output_file.as_deref(), command.uris[0].executable), (Some(FETCHED), Some(true)));
        let run =
            Command::new(command.value.unwrap()).args(&command.arguments[1..]).current_dir(folder.path()).output();
        run.unwrap().status.code()
    }

    #[test]
    fn a_fetched_program_runs_if_its_sum_is_right() {
        let sum = bigdata_chassis::secret::sha256_hex(b"#!/bin/sh\nexit 7\n");
        assert_eq!((run(None), run(Some(&sum)), run(Some(&"0".repeat(64)))), (Some(7), Some(7), Some(1)));
    }
}

//! Starts executors as child processes, each in a session of its own.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::effects::VolumeLink;
use super::files::Files;
use super::process;
use super::records::{ExecutorRecord, Process};
use super::{Settings, Timing};
use crate::v1::AgentId;

/// Where programs are looked for unless the command says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all executors of an engine have in common.
#[derive(Debug)]
pub(crate) struct Launcher {
    files: Files,
    address: SocketAddr,
    agent_id: AgentId,
    timing: Timing,
    environment: Vec<(String, String)>,
    /// `setsid` of util-linux, which becomes the executor; without it the executor only leads a process group.
    setsid: Option<PathBuf>,
}

impl Launcher {
    pub(crate) fn new(settings: &Settings, files: Files, address: SocketAddr, agent_id: AgentId) -> Self {
        let candidates = PATH.split(':').map(|directory| Path::new(directory).join("setsid"));
        let setsid = candidates.into_iter().find(|path| path.is_file());
        if setsid.is_none() {
            tracing::warn!("there is no 'setsid': executors share the session of the engine");
        }
        Launcher {
            files,
            address,
            agent_id,
            timing: settings.timing,
            environment: settings.executor_environment.clone(),
            setsid,
        }
    }

    /// Starts an executor in a new sandbox.
    pub(crate) fn launch(&self, executor: &ExecutorRecord) -> io::Result<(Process, Child)> {
        let sandbox = self.files.sandbox(executor);
        fs::create_dir_all(&sandbox)?;
        for volume in VolumeLink::all(&executor.info.resources) {
            self.files.link(&sandbox, &volume)?;
        }
        let arguments = arguments(executor);
        let mut command = match &self.setsid {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.args(&arguments);
                command
            }
            None => {
                let mut command = Command::new(&arguments[0]);
                command.args(&arguments[1..]).process_group(0);
                command
            }
        };
        command
            .env_clear()
            .envs(self.environment(executor, &sandbox))
            .current_dir(&sandbox)
            .stdin(Stdio::null())
            .stdout(output(&sandbox, "stdout")?)
            .stderr(output(&sandbox, "stderr")?);
        let child = command.spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let process = pid.and_then(process::identify);
        let process = process.ok_or_else(|| io::Error::other("the process ended at once"))?;
        Ok((process, child))
    }

    /// How long an executor, and what it leaves behind, may take to end.
    pub(crate) fn grace(&self, executor: &ExecutorRecord) -> Duration {
        executor.grace(self.timing.executor_shutdown_grace)
    }

    /// The scrubbed environment: what the command asks for, and the variables of Mesos.
    fn environment(&self, executor: &ExecutorRecord, sandbox: &Path) -> Vec<(String, String)> {
        let mut variables = vec![("PATH".to_owned(), PATH.to_owned())];
        variables.extend(self.environment.iter().cloned());
        let command = executor.info.command.clone().unwrap_or_default();
        for variable in command.environment.unwrap_or_default().variables {
            variables.push((variable.name, variable.value.unwrap_or_default()));
        }
        let sandbox = sandbox.to_string_lossy();
        let grace = self.grace(executor);
        let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        set("MESOS_AGENT_ENDPOINT", &self.address.to_string());
        set("MESOS_SLAVE_ID", self.agent_id.as_str());
        set("MESOS_FRAMEWORK_ID", executor.framework_id.as_str());
        set("MESOS_EXECUTOR_ID", executor.info.executor_id.as_str());
        set("MESOS_CONTAINER_ID", &executor.container_id);
        set("MESOS_ALLOCATION_ROLE", &executor.role);
        set("MESOS_DIRECTORY", &sandbox);
        set("MESOS_SANDBOX", &sandbox);
        set("MESOS_CHECKPOINT", if executor.checkpoint { "1" } else { "0" });
        set("MESOS_RECOVERY_TIMEOUT", &duration(self.timing.executor_recovery));
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", &duration(Duration::from_secs(2)));
        set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", &duration(grace));
        set("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", &executor.token);
        variables
    }
}

/// The program and its arguments.
fn arguments(executor: &ExecutorRecord) -> Vec<String> {
    let command = executor.info.command.clone().unwrap_or_default();
    let value = command.value.clone().unwrap_or_default();
    if command.shell() {
        return vec!["/bin/sh".to_owned(), "-c".to_owned(), value];
    }
    let rest = command.arguments.into_iter().skip(1);
    std::iter::once(value).chain(rest).collect()
}

fn output(sandbox: &Path, name: &str) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o644).open(sandbox.join(name))
}

/// A length of time as Mesos prints it.
fn duration(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::CommandInfo;

    fn executor(command: CommandInfo) -> ExecutorRecord {
        let mut record = ExecutorRecord::default();
        record.info.command = Some(command);
        record
    }

    #[test]
    fn a_command_is_a_program_or_a_line_for_the_shell() {
        let program = executor(CommandInfo::program("/bin/x", ["a", "b c"]));
        assert_eq!(arguments(&program), ["/bin/x", "a", "b c"]);
        let line = executor(CommandInfo { value: Some("echo $X".to_owned()), ..CommandInfo::default() });
        assert_eq!(arguments(&line), ["/bin/sh", "-c", "echo $X"]);
    }
}

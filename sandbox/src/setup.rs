//! The supervisor's first part: reading what is to be run, and bringing it to run.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    time::Duration,
};

use nix::unistd::Pid;

use crate::{
    Cgroup, Error, SUBCOMMAND, Spec,
    entry::LAUNCH,
    launcher::refuse_if_required,
    loopback,
    protocol::{Launch, line, parse, take_line},
};

/// The longest that applying the restrictions may take.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// How long the processes of a control group may take to die.
const CGROUP_LIMIT: Duration = Duration::from_secs(5);

/// Why nothing was started.
pub(crate) struct Setup {
    pub(crate) what: String,
    pub(crate) command_missing: bool,
    pub(crate) not_executable: bool,
}

impl From<Error> for Setup {
    fn from(error: Error) -> Self {
        Self { what: error.one_line(), command_missing: false, not_executable: false }
    }
}

/// The specification's line; what comes after it stays in `received`.
pub(crate) fn read_spec(mut control: &UnixStream, received: &mut Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut chunk = [0; 8192];
    loop {
        if let Some(line) = take_line(received) {
            return Ok(line);
        }
        match control.read(&mut chunk) {
            Ok(0) => return Err(Error::Vanished),
            Ok(count) => received.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::system("cannot read the specification", error)),
        }
    }
}

pub(crate) fn prepare_cgroup(spec: &Spec, not_applied: &mut Vec<String>) -> Result<Option<Cgroup>, Error> {
    let Some(name) = &spec.cgroup else {
        if spec.limits.memory_bytes.is_some() || spec.limits.processors.is_some() {
            not_applied.push("limits on memory and processors: they need a control group".into());
        }
        return Ok(None);
    };
    // What a killed predecessor left there would live on in it, and count against its limits.
    if let Some(before) = Cgroup::find(name)? {
        before.kill_all(CGROUP_LIMIT)?;
        let _ = before.remove();
    }
    Ok(Cgroup::create(name, &spec.limits, not_applied))
}

/// Sees to the source address of the command's loopback connections.
pub(crate) fn prepare_loopback(spec: &Spec, cgroup: Option<&Cgroup>, not_applied: &mut Vec<String>) {
    let Some(address) = spec.loopback_source else { return };
    let group = cgroup.and_then(Cgroup::version_2).ok_or_else(|| "it needs a control group of version 2".to_owned());
    let attached =
        group.and_then(|directory| loopback::group::attach(directory, address).map_err(|error| error.to_string()));
    if let Err(reason) = attached {
        not_applied.push(format!("loopback connections from {address}: {reason}"));
    }
}

pub(crate) fn clean_up(cgroup: Option<&Cgroup>) {
    if let Some(group) = cgroup {
        // Processes that it cannot end stay visible there under the group's name.
        let _ = group.kill_all(CGROUP_LIMIT).and_then(|_| group.remove());
    }
}

/// The specification for a tree whose processes its group counts: other trees of the same user do not count then.
fn without_user_limit(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    (spec.limits.processes, spec.limits.user_processes) = (None, None);
    spec
}

/// Starts the launcher, puts it into its control group, sends it the specification and waits until it is the command.
pub(crate) fn launch(
    spec: &Spec,
    text: &[u8],
    cgroup: Option<&Cgroup>,
    not_applied: &mut Vec<String>,
) -> Result<Pid, Setup> {
    let system = |what: &'static str| move |error: io::Error| Error::system(what, error);
    let (mut ours, theirs) = UnixStream::pair().map_err(system("cannot make a socket"))?;
    let child = Command::new("/proc/self/exe")
        .args([SUBCOMMAND, LAUNCH])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(system("cannot start the launcher"))?;
    let joined = cgroup.map(|group| group.join(child.id()));
    if let Some(Err(error)) = &joined {
        not_applied.push(format!("control group: {error}"));
    }
    let is_counted = matches!(joined, Some(Ok(()))) && cgroup.and_then(Cgroup::process_limit).is_some();
    let text = if is_counted { line(&without_user_limit(spec))? } else { [text, b"\n"].concat() };
    // The launcher waits for its specification until here.
    refuse_if_required(spec, not_applied)?;
    let failed = system("cannot reach the launcher");
    ours.set_read_timeout(Some(SETUP_LIMIT)).map_err(failed)?;
    ours.write_all(&text).map_err(failed)?;
    ours.shutdown(Shutdown::Write).map_err(failed)?;
    let mut answer = Vec::new();
    // Its end of the socket closes when it executes the command.
    ours.read_to_end(&mut answer).map_err(system("the launcher does not answer"))?;
    let mut ready = false;
    while let Some(line) = take_line(&mut answer) {
        match parse(&line)? {
            Launch::Ready { not_applied: more } => {
                not_applied.extend(more);
                ready = true;
            }
            Launch::Failed { what, command_missing, not_executable } => {
                return Err(Setup { what, command_missing, not_executable });
            }
        }
    }
    if !ready {
        let what = "the launcher ended before the command was started: a limit is too low for it".into();
        return Err(Setup { what, command_missing: false, not_executable: false });
    }
    Ok(Pid::from_raw(child.id().cast_signed()))
}

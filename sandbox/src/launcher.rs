//! The stage that restricts itself and is then replaced by the command.

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{self, Gid, Uid, getgid, getppid, getuid, setgid, setgroups, setsid, setuid},
};

use crate::{
    Error, Filesystem, Identity, Network, Spec,
    confine::{landlock, mounts, resources, seccomp},
    protocol::{Launch, line, parse},
};

/// Never returns when all goes well: this process is the command then.
pub(crate) fn main() -> i32 {
    let Ok(mut supervisor) = take_standard_input() else { return 125 };
    let failed = match launch(&mut supervisor) {
        Failure::Setup(error) => {
            Launch::Failed { what: error.one_line(), command_missing: false, not_executable: false }
        }
        Failure::Execution { what, command_missing } => {
            Launch::Failed { what, command_missing, not_executable: !command_missing }
        }
    };
    if let Ok(bytes) = line(&failed) {
        let _ = supervisor.write_all(&bytes);
    }
    125
}

/// Why there is no command.
enum Failure {
    Setup(Error),
    Execution { what: String, command_missing: bool },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Setup(error)
    }
}

fn launch(supervisor: &mut UnixStream) -> Failure {
    let announced = prepare(supervisor).and_then(|(command, not_applied)| {
        let announcement = line(&Launch::Ready { not_applied })?;
        supervisor.write_all(&announcement).map_err(|error| Error::system("the supervisor is gone", error))?;
        Ok(command)
    });
    match announced {
        Ok(mut command) => {
            let error = command.exec();
            let has_path = command.get_envs().any(|(name, _)| name == "PATH");
            describe(&error, &command.get_program().to_string_lossy(), has_path)
        }
        Err(error) => Failure::Setup(error),
    }
}

/// Applies everything, and returns the command with what could not be applied.
fn prepare(supervisor: &UnixStream) -> Result<(Command, Vec<String>), Error> {
    let mut text = Vec::new();
    let read = BufReader::new(supervisor).read_until(b'\n', &mut text);
    read.map_err(|error| Error::system("cannot read the specification", error))?;
    let spec: Spec = parse(&text)?;
    drop(text);
    let mut not_applied = Vec::new();

    let own = Identity { uid: getuid().as_raw(), gid: getgid().as_raw() };
    let identity = allowed_identity(&spec, own, &mut not_applied);
    let system = |what: &'static str| move |error: nix::Error| Error::system(what, error);
    setsid().map_err(system("cannot start a session"))?;
    SigSet::empty().thread_set_mask().map_err(system("cannot unblock signals"))?;
    mounts::apply(&spec, identity, &mut not_applied);
    // Opened while every file can be.
    let nothing = File::open("/dev/null").map_err(|error| Error::system("cannot open /dev/null", error))?;
    become_user(identity, own)?;
    die_with_parent()?;
    env::set_current_dir(&spec.directory)
        .map_err(|error| Error::system(format!("cannot start in {}", spec.directory.display()), error))?;

    let mut command = Command::new(&spec.command[0]);
    command.args(&spec.command[1..]).env_clear().envs(&spec.environment).stdin(Stdio::from(nothing));
    restrict(&spec, &mut not_applied)?;
    resources::apply(&spec.limits, &mut not_applied)?;
    refuse_if_required(&spec, &not_applied)?;
    Ok((command, not_applied))
}

/// Refuses to go on without something that the specification insists on.
pub(crate) fn refuse_if_required(spec: &Spec, not_applied: &[String]) -> Result<(), Error> {
    match spec.required && !not_applied.is_empty() {
        true => Err(Error::Refused(format!("not possible here: {}", not_applied.join("; ")))),
        false => Ok(()),
    }
}

/// The control socket, moved from standard input to a descriptor that the command does not inherit. Whatever else was
/// inherited by accident is closed.
pub(crate) fn take_standard_input() -> io::Result<UnixStream> {
    let inherited: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in inherited {
        // The listing's own descriptor is among them, and closed already.
        let _ = unistd::close(descriptor);
    }
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixStream::from(socket))
}

/// The identity that can be had: only root takes another.
fn allowed_identity(spec: &Spec, own: Identity, not_applied: &mut Vec<String>) -> Identity {
    match spec.identity {
        Some(wanted) if wanted != own && own.uid != 0 => {
            not_applied.push(format!("user {}: only root can change it, user {} stays", wanted.uid, own.uid));
            own
        }
        Some(wanted) => wanted,
        None => own,
    }
}

fn become_user(identity: Identity, own: Identity) -> Result<(), Error> {
    if own.uid != 0 || identity == own {
        return Ok(());
    }
    let failed = |error| Error::system(format!("cannot become user {} of group {}", identity.uid, identity.gid), error);
    setgroups(&[]).map_err(failed)?;
    setgid(Gid::from_raw(identity.gid)).map_err(failed)?;
    setuid(Uid::from_raw(identity.uid)).map_err(failed)
}

/// The command's own end if the supervisor is killed. Set after the user: a change of user clears it.
fn die_with_parent() -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| Error::system("cannot tie this process to its parent", error))?;
    match getppid().as_raw() {
        1 => Err(Error::Vanished),
        _ => Ok(()),
    }
}

fn restrict(spec: &Spec, not_applied: &mut Vec<String>) -> Result<(), Error> {
    let restricted = spec.filesystem != Filesystem::Unrestricted || spec.network == Network::Denied;
    if spec.no_new_privileges || restricted {
        prctl::set_no_new_privs().map_err(|error| Error::system("cannot give up new privileges", error))?;
    }
    landlock::apply(&spec.filesystem, not_applied)?;
    if spec.network == Network::Denied
        && let Err(error) = seccomp::deny_network()
    {
        not_applied.push(format!("denial of the network: {}", error.one_line()));
    }
    Ok(())
}

/// Says why a program could not be executed. The same answer of the kernel has several reasons.
fn describe(error: &io::Error, program: &str, has_path: bool) -> Failure {
    let exists = program.contains('/') && Path::new(program).exists();
    let command_missing = error.kind() == io::ErrorKind::NotFound && !exists;
    let what = match error.kind() {
        io::ErrorKind::NotFound if exists => {
            format!("cannot execute {program}: the interpreter that it names is missing")
        }
        io::ErrorKind::NotFound if program.contains('/') => format!("command not found: {program}"),
        io::ErrorKind::NotFound if has_path => format!("command not found in PATH: {program}"),
        io::ErrorKind::NotFound => format!("command not found: {program} (the environment has no PATH)"),
        _ => format!("cannot execute {program}: {error}"),
    };
    Failure::Execution { what, command_missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_execute_are_told_apart() {
        let tell = |kind: io::ErrorKind, program| match describe(&io::Error::from(kind), program, true) {
            Failure::Execution { what, command_missing } => (what, command_missing),
            Failure::Setup(_) => unreachable!(),
        };
        let (what, missing) = tell(io::ErrorKind::NotFound, "/x/y");
        assert!(missing && what == "command not found: /x/y");
        let (what, missing) = tell(io::ErrorKind::NotFound, "/proc/self/status");
        assert!(!missing && what.contains("interpreter"), "{what}");
        let (what, missing) = tell(io::ErrorKind::PermissionDenied, "/x/y");
        assert!(!missing && what.contains("cannot execute /x/y"), "{what}");
    }
}

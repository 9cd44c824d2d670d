//! Resource limits, setrlimit(2).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{Error, Limits};

/// Limits this process and what it executes. A limit above the hard one is lowered to it and noted.
pub(crate) fn apply(limits: &Limits, not_applied: &mut Vec<String>) -> Result<(), Error> {
    let wanted = [
        ("open files", Resource::RLIMIT_NOFILE, limits.open_files),
        ("processes", Resource::RLIMIT_NPROC, limits.user_processes.or(limits.processes)),
        ("core dumps", Resource::RLIMIT_CORE, limits.core_bytes),
        ("file size", Resource::RLIMIT_FSIZE, limits.file_size_bytes),
        ("stack", Resource::RLIMIT_STACK, limits.stack_bytes),
        ("CPU time", Resource::RLIMIT_CPU, limits.cpu_seconds),
        // Last: what follows must do with the memory that there is.
        ("address space", Resource::RLIMIT_AS, limits.address_space_bytes),
    ];
    for (what, resource, limit) in wanted {
        let Some(soft) = limit else { continue };
        // The signal at the soft limit tells more than the SIGKILL at the hard one.
        let hard = if resource == Resource::RLIMIT_CPU { soft.saturating_add(1) } else { soft };
        set(what, resource, soft, hard, not_applied)?;
    }
    Ok(())
}

fn set(what: &str, resource: Resource, soft: u64, hard: u64, not_applied: &mut Vec<String>) -> Result<(), Error> {
    let failed = |error| Error::system(format!("cannot limit {what} to {soft}"), error);
    let (_, ceiling) = getrlimit(resource).map_err(failed)?;
    if soft > ceiling {
        not_applied.push(format!("limit on {what}: {soft} is above the hard limit {ceiling}, which holds"));
    }
    setrlimit(resource, soft.min(ceiling), hard.min(ceiling)).map_err(failed)
}

//! Restrictions that a process puts on itself in place of being started by a sandbox: `PROGRAM __render`.

use nix::sys::prctl;

use crate::{
    Error, Limits,
    confine::{landlock, resources, seccomp},
};

/// The bounds of a process that computes from its standard input to its standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderLimits {
    /// Virtual memory, in bytes; 384 MiB.
    pub address_space_bytes: u64,
    /// CPU time, in seconds; 1.
    pub cpu_seconds: u64,
    /// The main thread's stack, in bytes; 32 MiB.
    pub stack_bytes: u64,
}

impl Default for RenderLimits {
    fn default() -> Self {
        Self { address_space_bytes: 384 << 20, cpu_seconds: 1, stack_bytes: 32 << 20 }
    }
}

/// Gives up everything but computing, reading and writing what is open: no file can be opened, no socket made, no
/// program or process started, no memory, CPU time or stack used beyond the limits. How long it waits for input, or for a
/// reader, is bounded by who started it, and by their end. To be called before any input is read, in a process without
/// threads; threads may be started afterwards. What this kernel does not know is returned, each with its reason;
/// the limits on memory and time always hold.
pub fn restrict_self(limits: &RenderLimits) -> Result<Vec<String>, Error> {
    let mut not_applied = Vec::new();
    let resources = Limits {
        address_space_bytes: Some(limits.address_space_bytes),
        cpu_seconds: Some(limits.cpu_seconds),
        file_size_bytes: Some(0),
        core_bytes: Some(0),
        stack_bytes: Some(limits.stack_bytes),
        ..Limits::default()
    };
    prctl::set_dumpable(false).map_err(|error| Error::system("cannot refuse to be traced", error))?;
    prctl::set_no_new_privs().map_err(|error| Error::system("cannot give up new privileges", error))?;
    if !matches!(landlock::deny_all()?, ::landlock::LandlockStatus::Available { .. }) {
        not_applied.push("restriction of files: this kernel has no Landlock".into());
    }
    if let Err(error) = seccomp::deny_all_but_computing() {
        not_applied.push(format!("restriction of system calls: {}", error.one_line()));
    }
    resources::apply(&resources, &mut not_applied)?;
    Ok(not_applied)
}

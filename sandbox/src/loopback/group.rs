//! The way through a control group of version 2: programs of the kernel that run in connect(2) and bind(2) of its processes.

use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    path::Path,
};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{bpf, programs};

/// Makes `address` the source of the loopback connections of all processes that are in the group, now or later, and keeps
/// them from listening on others' loopback addresses. It ends
/// with the group. Attach once: each time adds to what is there, and 64 is the kernel's limit.
pub(crate) fn attach(group: &Path, address: Ipv4Addr) -> io::Result<()> {
    let directory = File::open(group)?;
    with_locked_memory(|| {
        programs::all(address)
            .iter()
            .try_for_each(|(hook, program)| bpf::attach(&directory, &bpf::load(program, *hook)?, *hook))
    })
}

/// Before Linux 5.11 programs count as locked memory, of which root may have little by default.
fn with_locked_memory(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = getrlimit(Resource::RLIMIT_MEMLOCK);
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let result = work();
    if let Ok((soft, hard)) = before {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    result
}

/// Tries it with this process, in a group `name` below `base` that is gone afterwards.
pub(crate) fn try_out(base: &Path, name: &str) -> io::Result<()> {
    let group = base.join(name);
    let own = std::process::id().to_string();
    let listener = super::trial::listen()?;
    fs::create_dir(&group)?;
    let result = attach(&group, super::trial::SOURCE)
        .and_then(|()| fs::write(group.join("cgroup.procs"), &own))
        .and_then(|()| super::trial::connect(&listener));
    let left = fs::write(base.join("cgroup.procs"), &own).and_then(|()| fs::remove_dir(&group));
    result.and(left)
}

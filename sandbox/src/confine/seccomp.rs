//! System calls that a process gives up, seccomp(2).

use std::{collections::BTreeMap, io};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::Error;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// System calls of the x32 interface have this bit set; a kernel that offers it would let them pass a filter by number.
#[cfg(target_arch = "x86_64")]
const X32_BIT: i64 = 0x4000_0000;

/// Denies every socket but Unix ones. Rings of io_uring go too: they make sockets without a system call of that name.
pub(crate) fn deny_network() -> Result<(), Error> {
    let mut rules = Rules::new();
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![when_argument(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?]);
    }
    rules.insert(libc::SYS_io_uring_setup, Vec::new());
    install(rules, libc::EPERM)
}

/// Denies what a pure computation never does: sockets of every kind, other programs and processes.
pub(crate) fn deny_all_but_computing() -> Result<(), Error> {
    // Where `clone3` is missing, thread libraries use `clone`, whose flags a filter can see.
    install(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
    let mut rules: Rules = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_io_uring_setup,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_kill,
        libc::SYS_memfd_create,
        libc::SYS_unshare,
        libc::SYS_mount,
        libc::SYS_bpf,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_fork, libc::SYS_vfork].map(|call| (call, Vec::new())));
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![when_argument(0, SeccompCmpOp::MaskedEq(thread), 0)?]);
    install(rules, libc::EPERM)
}

fn when_argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(failed)
}

fn install(mut rules: Rules, errno: libc::c_int) -> Result<(), Error> {
    #[cfg(target_arch = "x86_64")]
    for (call, conditions) in rules.clone() {
        rules.insert(call | X32_BIT, conditions);
    }
    let architecture = std::env::consts::ARCH.try_into().map_err(failed)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(failed)?;
    apply_filter(&program).map_err(|error| Error::system("cannot restrict system calls", io::Error::other(error)))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::system("cannot make a filter of system calls", io::Error::other(error))
}

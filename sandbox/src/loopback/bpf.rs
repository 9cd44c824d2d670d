//! The two calls of bpf(2) that are used: loading a program, and attaching it to a control group.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::{errno::Errno, libc};

/// One instruction as the kernel reads it, bpf(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// Where a program runs; the numbers of `enum bpf_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// bind(2) of an IPv4 socket.
    Bind4 = 8,
    /// bind(2) of an IPv6 socket.
    Bind6 = 9,
    /// connect(2) of an IPv4 socket.
    Connect4 = 10,
    /// connect(2) of an IPv6 socket.
    Connect6 = 11,
}

const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_ATTACH: libc::c_long = 8;
const TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// Programs of groups above, such as systemd's, run as well.
const ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is left out as 0.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

/// The head of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Has the kernel check a program and keep it for as long as the descriptor or an attachment does.
pub(crate) fn load(program: &[Instruction], hook: Hook) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        program_type: TYPE_CGROUP_SOCK_ADDR,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: hook as u32,
        ..LoadAttributes::default()
    };
    let descriptor = call(PROGRAM_LOAD, &attributes)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    #[allow(unsafe_code, reason = "a descriptor that comes from a raw system call")]
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Runs a program for every process in a control group, until the group is removed.
pub(crate) fn attach(group: &File, program: &OwnedFd, hook: Hook) -> io::Result<()> {
    let attributes = AttachAttributes {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: hook as u32,
        flags: ALLOW_MULTI,
    };
    call(PROGRAM_ATTACH, &attributes).map(drop)
}

fn call<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: both structures are laid out as the kernel's, their whole size is given, and the memory that their pointers
    // name (instructions and licence) outlives the call; the kernel writes to none of it.
    #[allow(unsafe_code, reason = "no wrapper for bpf(2) without a library in C")]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *const T, size_of::<T>()) };
    let result = Errno::result(result)?;
    i32::try_from(result).map_err(io::Error::other)
}

//! The restrictions that a process puts on itself, one file per mechanism of the kernel.

pub(crate) mod landlock;
pub(crate) mod mounts;
pub(crate) mod resources;
pub(crate) mod seccomp;

//! Bounded children: a command that runs under limits and whose whole tree of processes ends with it.
//!
//! The calling program re-executes itself as `PROGRAM __sandbox`. That process, the *supervisor*, becomes a child
//! subreaper and starts a second, short-lived stage of the same program, the *launcher*, which applies the limits to itself
//! (resource limits, user, mounts, Landlock, seccomp) and is then replaced by the command. Nothing restricts the
//! supervisor, so a memory bomb or a flood of forks in the command cannot take it along.
//!
//! One socket joins the caller and the supervisor, as the supervisor's standard input. It carries the [`Spec`] (so no secret
//! appears in an argument list or environment), then [`Request`]s one way and [`Event`]s the other. It is also the lifeline:
//! when the caller dies or drops its [`Control`], the tree is ended.
//!
//! **Invariant:** unsafe code stands only where the kernel has no other door (`loopback/`); what else would need it (fork,
//! pre_exec) is done by executing again instead.
//!
//! A program that uses it calls [`main_if_requested`] first in its `main`.

mod capabilities;
mod cgroup;
mod confine;
mod control;
mod course;
mod disk;
mod entry;
mod error;
mod hierarchies;
mod launcher;
mod leftovers;
mod loopback;
mod mask;
mod processes;
mod protocol;
mod render;
mod setup;
mod spec;
mod supervisor;

pub use capabilities::{Capabilities, Capability};
pub use cgroup::{Cgroup, Usage, processes_in_cgroup};
pub use control::Control;
pub use disk::{DiskUsage, disk_usage, size_in_words};
pub use entry::{SUBCOMMAND, main_if_requested};
pub use error::Error;
pub use leftovers::remove_empty_groups;
pub use mask::{MASK, Mask};
pub use processes::{Process, descendants, kill_all, processes, processes_of_uid, processes_with_environment};
pub use protocol::{Ending, Event, Report, Request, Started};
pub use render::{RenderLimits, restrict_self};
pub use spec::{Filesystem, Identity, Limits, Network, Profile, Spec, UserEntry};

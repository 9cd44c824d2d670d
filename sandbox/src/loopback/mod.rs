//! The source address of a workload's loopback connections, and the loopback addresses that it may listen on.
//!
//! Linux gives every connection to 127.0.0.0/8 the source 127.0.0.1, unless its client binds first: nodes that have
//! addresses of their own there cannot tell each other apart. Programs of the kernel at the workload's control group
//! ([`group`]) bind the socket within connect(2): in whatever the workload is written, statically linked programs too. They
//! need root's rights, control groups of version 2 and Linux 5.3.
//!
//! Others at bind(2) refuse the addresses of 127.0.0.0/8 that are neither the node's own nor 127.0.0.1: nobody takes a
//! neighbour's place while it is away.
//!
//! A socket that its program has bound keeps its address. Left alone is every connection that does not go to
//! 127.0.0.0/8, or that goes to 127.0.0.1 itself, where the machine's own services see whom they expect.

pub(crate) mod bpf;
pub(crate) mod group;
pub(crate) mod programs;
pub(crate) mod trial;

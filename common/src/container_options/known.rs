//! The options that are known, and what becomes of each.

use super::words::nearest;

/// Capabilities that every product may ask for: most of those that engines give anyway, and two that reach no
/// other node. Raw sockets are not among them: nodes of other clusters share the machine's network.
pub(super) const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
];

pub(super) const OUT_OF_BOUNDS: &str = "it lets the container out of its bounds";
const HOST_FILES: &str = "it shows the container files of the machine; a node's disks are its `disks`";
pub(super) const NAMESPACE: &str = "namespaces and networks are the platform's choice";
const PROMISED: &str = "a node's `cpu` and `mem` say what it may use";
const PLATFORM: &str = "the platform itself sets it";

/// Options that nobody can be given the right to, by the reason.
const REFUSED: [(&str, &[&str]); 5] = [
    (
        OUT_OF_BOUNDS,
        &[
            "--device-cgroup-rule",
            "--gpus",
            "--sysctl",
            "--runtime",
            "--oom-kill-disable",
            "--oom-score-adj",
            "--group-add",
        ],
    ),
    (HOST_FILES, &["--volumes-from", "--volume-driver", "--env-file"]),
    (
        NAMESPACE,
        &[
            "--userns",
            "--cgroup-parent",
            "--link",
            "-p",
            "--publish",
            "-P",
            "--publish-all",
            "--ip",
            "--mac-address",
            "--dns",
        ],
    ),
    (
        PROMISED,
        &["-m", "--memory", "--memory-swap", "--cpus", "--cpu-shares", "--cpu-quota", "--cpuset-cpus", "--pids-limit"],
    ),
    (
        PLATFORM,
        &[
            "-d",
            "--detach",
            "--name",
            "--rm",
            "--restart",
            "-l",
            "--label",
            "--log-driver",
            "--log-opt",
            "-t",
            "--tty",
            "-i",
            "--interactive",
            "-it",
        ],
    ),
];

/// Options without a value.
pub(super) const FLAGS: [&str; 3] = ["--init", "--privileged", "--read-only"];

/// Why an option is refused whatever its value; None: it is not known to be harmful.
pub(super) fn refusal(option: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(_, options)| options.contains(&option)).map(|(reason, _)| *reason)
}

/// What may have been meant by a word that is no option.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    let refused = REFUSED.iter().flat_map(|(_, options)| options.iter());
    nearest(word, FLAGS.iter().chain(&VALUED).chain(refused).copied())
}

/// The options that have a value and are passed on.
pub(super) const VALUED: [&str; 27] = [
    "-e",
    "--env",
    "-u",
    "--user",
    "-w",
    "--workdir",
    "-h",
    "--hostname",
    "--entrypoint",
    "--stop-signal",
    "--shm-size",
    "--cap-add",
    "--cap-drop",
    "--tmpfs",
    "--ulimit",
    "--add-host",
    "--security-opt",
    "-v",
    "--volume",
    "--mount",
    "--device",
    "--cgroupns",
    "--ipc",
    "--net",
    "--network",
    "--pid",
    "--uts",
];

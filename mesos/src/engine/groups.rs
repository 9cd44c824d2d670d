//! Control groups (version 2, cgroups(7)) that a container has to itself: the kernel ends all that is in one at once, and
//! nothing in it outruns that by forking.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::process;
use super::records::Process;

/// Ends the groups of `left`, the processes of a container, that hold nobody else. Where there are none it does nothing.
pub(crate) fn kill(container_id: &str, left: &[Process]) {
    let Some(hierarchy) = Hierarchy::find() else { return };
    let groups: BTreeSet<PathBuf> = left.iter().filter_map(|process| hierarchy.group_of(process)).collect();
    for group in groups {
        if hierarchy.is_apart(&group) && belongs(&hierarchy.directory(&group), container_id, left) {
            // Kernels before 5.14 have no such file; then the processes are ended one by one.
            let _ = fs::write(hierarchy.directory(&group).join("cgroup.kill"), "1");
        }
    }
}

/// Where groups of version 2 are mounted, and which one this process is in.
struct Hierarchy {
    mounted: PathBuf,
    own: PathBuf,
}

impl Hierarchy {
    fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mounted = mounts.lines().find_map(mount_point)?;
        let own = group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        Some(Self { mounted, own })
    }

    /// Its path in the hierarchy.
    fn group_of(&self, process: &Process) -> Option<PathBuf> {
        let group = group(&fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).ok()?)?;
        process::is_alive(process).then_some(group)
    }

    /// Whether it is neither this process's group nor one that holds it.
    fn is_apart(&self, group: &Path) -> bool {
        !self.own.starts_with(group)
    }

    fn directory(&self, group: &Path) -> PathBuf {
        self.mounted.join(group.strip_prefix("/").unwrap_or(group))
    }
}

/// The mount point of a line of `/proc/PID/mountinfo` if that is the whole hierarchy of version 2.
pub(crate) fn mount_point(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let whole = file_system.starts_with("cgroup2 ") && fields.next()? == "/";
    whole.then(|| fields.next().map(PathBuf::from))?
}

/// The group of version 2 in a text of `/proc/PID/cgroup`.
fn group(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// Whether all processes of the group and of those below it are the container's. What was forked since `left` was found
/// has its parent's environment.
fn belongs(directory: &Path, container_id: &str, left: &[Process]) -> bool {
    let Ok(processes) = fs::read_to_string(directory.join("cgroup.procs")) else { return false };
    let mut pids = processes.lines().filter_map(|line| line.parse::<i32>().ok());
    let ours = |pid: i32| left.iter().any(|known| known.pid == pid) || process::names(pid, container_id);
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let mut below = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    pids.all(|pid| ours(pid) || process::identify(pid).is_none_or(|process| !process::is_alive(&process)))
        && below.all(|group| belongs(&group, container_id, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_version_2_is_found_beside_those_of_version_1() {
        let mounts = "24 23 0:21 / /proc rw - proc proc rw\n\
            40 31 0:37 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(mounts.lines().find_map(mount_point), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("41 31 0:38 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw"), None);
        assert_eq!(group("4:memory:/x\n0::/a/b\n"), Some("/a/b".into()));
        assert_eq!(group("4:memory:/x\n"), None);
    }

    #[test]
    fn the_own_group_and_those_above_are_nobodys_to_end() {
        let hierarchy = Hierarchy { mounted: "/m".into(), own: "/a/b".into() };
        assert_eq!(["/", "/a", "/a/b"].map(|group| hierarchy.is_apart(Path::new(group))), [false; 3]);
        assert_eq!(["/a/b/c", "/a/bc", "/c"].map(|group| hierarchy.is_apart(Path::new(group))), [true; 3]);
        assert_eq!(hierarchy.directory(Path::new("/a/c")), Path::new("/m/a/c"));
    }
}

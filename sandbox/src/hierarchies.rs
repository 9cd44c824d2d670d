//! Which control group hierarchies are mounted, and where this process is in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The version 1 controllers that are used; `freezer` and `pids` also without a limit, to find and stop processes.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "freezer"];

/// The two interfaces of the kernel, cgroups(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// Version 1: those mounted here, among the ones that are used. Version 2: filled by what its root offers.
    pub(crate) controllers: Vec<String>,
    /// The directory of this process's own group, below which new groups go.
    pub(crate) directory: PathBuf,
    mount_point: PathBuf,
}

/// All that are mounted and useful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies(pub(crate) Vec<Hierarchy>);

impl Hierarchies {
    pub(crate) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let mut found = parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        for hierarchy in &mut found {
            // A container may show its own group at the mount point although its path names the host's.
            if !hierarchy.directory.is_dir() {
                hierarchy.directory.clone_from(&hierarchy.mount_point);
            }
            if hierarchy.version == Version::Two {
                let offered = fs::read_to_string(hierarchy.directory.join("cgroup.controllers")).unwrap_or_default();
                hierarchy.controllers = offered.split_whitespace().map(str::to_owned).collect();
            }
        }
        Self(found)
    }

    /// The directories below which a group is made.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.0.iter().map(|hierarchy| hierarchy.directory.clone()).collect()
    }

    pub(crate) fn version_of(&self, directory: &Path) -> Version {
        let found = self.0.iter().find(|hierarchy| hierarchy.directory == directory);
        found.map_or(Version::One, |hierarchy| hierarchy.version)
    }
}

/// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)) and `/proc/self/cgroup` (cgroups(7)).
fn parse(mountinfo: &str, own_groups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(mount_point)) = (fields.next(), fields.next()) else { continue };
        let mut kind = file_system.split(' ');
        let (version, controllers) = match kind.next() {
            Some("cgroup2") => (Version::Two, Vec::new()),
            Some("cgroup") => {
                let options = kind.nth(1).unwrap_or_default();
                let used = options.split(',').filter(|option| CONTROLLERS.contains(option));
                (Version::One, used.map(str::to_owned).collect())
            }
            _ => continue,
        };
        if (version == Version::One && controllers.is_empty())
            || found.iter().any(|other| other.version == version && other.controllers == controllers)
        {
            continue;
        }
        let own = own_group(own_groups, controllers.first().map(String::as_str));
        let below_root = own.and_then(|own| Path::new(own).strip_prefix(root).ok()).unwrap_or(Path::new(""));
        let mount_point = PathBuf::from(mount_point);
        // Joining an empty path would add a slash.
        let directory = match below_root.as_os_str().is_empty() {
            true => mount_point.clone(),
            false => mount_point.join(below_root),
        };
        found.push(Hierarchy { version, controllers, directory, mount_point });
    }
    found
}

/// The process's path in the hierarchy of a version 1 controller, or in version 2 (`None`).
fn own_group<'a>(own_groups: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own_groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let matches = match controller {
            Some(name) => controllers.split(',').any(|other| other == name),
            None => controllers.is_empty(),
        };
        matches.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_machine_gives_both_versions() {
        let found = parse(HYBRID, "4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/s\n0::/u\n");
        let directories: Vec<_> = found.iter().map(|hierarchy| hierarchy.directory.to_str().unwrap()).collect();
        assert_eq!(
            directories,
            ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/unified/u"]
        );
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(found[2].version, Version::Two);
    }

    #[test]
    fn a_containers_own_root_is_taken_off() {
        let mounts = "50 40 0:29 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let found = parse(mounts, "0::/docker/abc/inner");
        assert_eq!(found[0].directory, Path::new("/sys/fs/cgroup/inner"));
        let elsewhere = parse(mounts, "0::/other");
        assert_eq!(elsewhere[0].directory, Path::new("/sys/fs/cgroup"));
        assert!(parse("nonsense", "").is_empty());
    }
}

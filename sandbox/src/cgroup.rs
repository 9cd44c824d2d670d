//! Control groups, version 1, version 2 or both at once (hybrid), as the machine has them.

mod ending;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Error, Limits, Process,
    hierarchies::{Hierarchies, Version},
    processes::read_pids,
};

/// The period of a processor quota, in microseconds (the kernel's default).
const QUOTA_PERIOD_MICROSECONDS: u64 = 100_000;

/// A named group of processes, in every hierarchy where it could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    directories: Vec<PathBuf>,
}

/// What the processes of a group use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time so far, in microseconds.
    pub cpu_microseconds: Option<u64>,
    /// Living processes.
    pub processes: usize,
}

/// Whether a name is relative and stays below where it is put.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let part_is_good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    match name.split('/').all(part_is_good) {
        true => Ok(()),
        false => Err(Error::Refused(format!("the control group name {name:?} is not a relative path"))),
    }
}

/// The living processes of the group of that name below the caller's own group.
pub fn processes_in_cgroup(name: &str) -> Result<Vec<Process>, Error> {
    Cgroup::find(name)?.map_or(Ok(Vec::new()), |group| group.processes())
}

impl Cgroup {
    /// The group of that name below the caller's own, if it exists in any hierarchy.
    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        check_name(name)?;
        let bases = Hierarchies::of_this_process().directories();
        let directories: Vec<PathBuf> = bases.iter().map(|base| base.join(name)).filter(|path| path.is_dir()).collect();
        Ok((!directories.is_empty()).then_some(Self { directories }))
    }

    /// The group with the directories that [`Started`](crate::Started) told, wherever the caller's own group is now.
    pub fn from_directories(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Its directories, one per hierarchy.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Its directory in the hierarchy of version 2, if it has one there.
    pub(crate) fn version_2(&self) -> Option<&Path> {
        let found = self.directories.iter().find(|directory| directory.join("cgroup.controllers").exists());
        found.map(PathBuf::as_path)
    }

    /// Makes the group and sets its limits. What could not be done is added to `not_applied`.
    pub(crate) fn create(name: &str, limits: &Limits, not_applied: &mut Vec<String>) -> Option<Self> {
        let hierarchies = Hierarchies::of_this_process();
        let mut directories = Vec::new();
        let mut refusals = Vec::new();
        for base in hierarchies.directories() {
            if hierarchies.version_of(&base) == Version::Two {
                pass_controllers_down(&base, name);
            }
            let directory = base.join(name);
            match fs::create_dir_all(&directory) {
                Ok(()) => directories.push(directory),
                Err(error) => refusals.push(format!("{}: {error}", directory.display())),
            }
        }
        let group = (!directories.is_empty()).then_some(Self { directories });
        match &group {
            Some(group) => group.set_limits(limits, not_applied),
            None if refusals.is_empty() => not_applied.push("control group: none are mounted".into()),
            // The others were refused for the same reason.
            None => not_applied.push(format!("control group: cannot make {}", refusals.swap_remove(0))),
        }
        if group.is_none() && (limits.memory_bytes.is_some() || limits.processors.is_some()) {
            not_applied.push("limits on memory and processors: they need a control group".into());
        }
        group
    }

    fn set_limits(&self, limits: &Limits, not_applied: &mut Vec<String>) {
        let mut set = |what: &str, value: Option<String>, files: &[&str]| {
            let Some(value) = value else { return };
            if !self.write_first(files, &value) {
                not_applied.push(format!("limit on {what}: no control group accepts {value:?}"));
            }
        };
        let number = |limit: Option<u64>| limit.map(|limit| limit.to_string());
        set("memory", number(limits.memory_bytes), &["memory.max", "memory.limit_in_bytes"]);
        set("processes", number(limits.processes), &["pids.max"]);
        let quota = limits.processors.map(|count| (count * QUOTA_PERIOD_MICROSECONDS as f64).max(1000.0) as u64);
        let version_2 = quota.map(|quota| format!("{quota} {QUOTA_PERIOD_MICROSECONDS}"));
        if !version_2.as_ref().is_some_and(|value| self.write_first(&["cpu.max"], value)) {
            set("processors", number(quota), &["cpu.cfs_quota_us"]);
        }
        if limits.memory_bytes.is_some() {
            // Without swap the limit means what it says; kernels without swap accounting have no such file.
            self.write_first(&["memory.swap.max"], "0");
        }
    }

    /// Writes a value to the first of these files that exists and takes it.
    fn write_first(&self, files: &[&str], value: &str) -> bool {
        let paths = self.directories.iter().flat_map(|directory| files.iter().map(|file| directory.join(file)));
        paths.filter(|path| path.exists()).any(|path| fs::write(path, value).is_ok())
    }

    fn read_number(&self, file: &str, key: Option<&str>) -> Option<u64> {
        let text = self.directories.iter().find_map(|directory| fs::read_to_string(directory.join(file)).ok())?;
        match key {
            None => text.trim().parse().ok(),
            Some(key) => text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()),
        }
    }

    /// Puts a process into the group.
    pub(crate) fn join(&self, pid: u32) -> io::Result<()> {
        self.directories.iter().try_for_each(|directory| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }

    /// How often the kernel killed a process of the group for want of memory.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let files = ["memory.events", "memory.oom_control"];
        files.iter().find_map(|file| self.read_number(file, Some("oom_kill"))).unwrap_or(0)
    }

    /// The greatest number of processes and threads that the kernel lets it have; `None`: nothing bounds them.
    pub fn process_limit(&self) -> Option<u64> {
        self.read_number("pids.max", None)
    }

    /// How often the kernel refused it a process or thread since its limit was reached.
    pub fn process_limit_hits(&self) -> u64 {
        self.read_number("pids.events", Some("max")).unwrap_or(0)
    }

    /// What its processes use; counters that no hierarchy has are `None`.
    pub fn usage(&self) -> Result<Usage, Error> {
        let nanoseconds = || Some(self.read_number("cpuacct.usage", None)? / 1000);
        Ok(Usage {
            memory_bytes: self
                .read_number("memory.current", None)
                .or_else(|| self.read_number("memory.usage_in_bytes", None)),
            cpu_microseconds: self.read_number("cpu.stat", Some("usage_usec")).or_else(nanoseconds),
            processes: self.processes()?.len(),
        })
    }

    /// Its living processes, those of groups below it included.
    pub fn processes(&self) -> Result<Vec<Process>, Error> {
        Ok(self.pids()?.into_iter().filter_map(Process::read).filter(Process::is_alive).collect())
    }

    fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for directory in &self.directories {
            for group in with_groups_below(directory) {
                match read_pids(&group.join("cgroup.procs")) {
                    Ok(found) => pids.extend(found),
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(Error::system(format!("cannot read {}", group.display()), error)),
                }
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// A group's directory and all below it, the deepest first.
fn with_groups_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut groups: Vec<PathBuf> = below.flat_map(|entry| with_groups_below(&entry.path())).collect();
    groups.push(directory.to_owned());
    groups
}

/// Lets the groups from `base` down to the parent of `name` hand their controllers on. Refusals are normal: a group that
/// holds processes may not, and a hierarchy may have none of these controllers.
fn pass_controllers_down(base: &Path, name: &str) {
    let mut parent = base.to_owned();
    for part in name.split('/') {
        for controller in ["+memory", "+pids", "+cpu"] {
            let _ = fs::write(parent.join("cgroup.subtree_control"), controller);
        }
        parent.push(part);
        let _ = fs::create_dir(&parent);
    }
}

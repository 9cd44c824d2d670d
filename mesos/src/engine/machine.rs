//! What the machine has, as Mesos's agent finds it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::resources::Resources;
use crate::v1::Resource;

/// A mebibyte.
const MEBIBYTE: u64 = 1024 * 1024;
/// What is left to the system: of memory and of disk, in MiB; a half, where there is less than twice as much.
const SYSTEM_MEM: u64 = 1024;
const SYSTEM_DISK: u64 = 5 * 1024;
/// Mesos's default range of ports.
pub(super) const PORTS: (u64, u64) = (31000, 32000);

/// CPUs, memory, the disk of `work_dir`'s file system, and these ports.
pub(crate) fn resources(work_dir: &Path, ports: &[(u64, u64)]) -> Resources {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = u32::try_from(cpus).map_or(1.0, f64::from);
    let mem = left(memory().unwrap_or(0), SYSTEM_MEM);
    let disk = left(disk(work_dir).unwrap_or(0), SYSTEM_DISK);
    let found = [
        Resource::scalar("cpus", cpus),
        Resource::scalar("mem", mem),
        Resource::scalar("disk", disk),
        Resource::ports(ports.iter().copied()),
    ];
    found.iter().collect()
}

fn left(mebibytes: u64, system: u64) -> f64 {
    let left = match mebibytes >= 2 * system {
        true => mebibytes - system,
        false => mebibytes / 2,
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 MiB")]
    let left = left as f64;
    left
}

/// Memory in MiB: the machine's, or the control group's if that is less.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = total_memory(&text)?;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let limits = limits.filter_map(|text| Some(text.trim().parse::<u64>().ok()? / MEBIBYTE));
    limits.chain([total]).min()
}

/// `MemTotal` in MiB.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024)
}

fn disk(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    Some(stat.blocks() * stat.fragment_size() / MEBIBYTE)
}

/// The whole disk that is mounted here.
///
/// # Errors
/// When nothing is: a folder of the system's own disk is none, and would be emptied like one.
pub(crate) fn mounted_disk(path: &Path) -> io::Result<Resource> {
    let path = path.canonicalize()?;
    let above = path.parent().ok_or_else(|| io::Error::other("it is the system's own"))?;
    if path.metadata()?.dev() == above.metadata()?.dev() {
        return Err(io::Error::other("no disk is mounted there"));
    }
    let root = path.to_str().ok_or_else(|| io::Error::other("its path is no UTF-8"))?;
    let mebibytes = disk(&path).ok_or_else(|| io::Error::other("its size is not to be had"))?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 MiB")]
    let mebibytes = mebibytes as f64;
    Ok(Resource::mounted_disk(root, mebibytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert!(mounted_disk(folder.path()).unwrap_err().to_string().contains("no disk is mounted"));
        assert!(mounted_disk(Path::new("/")).is_err());
        // Mounted wherever Linux runs.
        assert_eq!(mounted_disk(Path::new("/proc")).unwrap().mount_root(), Some("/proc"));
    }

    #[test]
    fn a_machine_has_something_of_everything() {
        let found = resources(Path::new("/"), &[PORTS]);
        assert!(found.cpus() >= 1.0 && found.mem() > 0.0 && found.disk() > 0.0, "{found}");
        assert_eq!(found.ports().count(), 1001);
    }

    #[test]
    fn the_system_keeps_its_part() {
        assert_eq!(left(8192, 1024), 7168.0);
        assert_eq!(left(1000, 1024), 500.0);
        assert_eq!(total_memory("MemTotal:       24610000 kB\nMemFree: 1 kB\n"), Some(24033));
        assert_eq!(total_memory("nonsense"), None);
    }
}

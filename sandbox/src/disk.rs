//! How much a directory holds. Most file systems of most machines have no quotas, so that it has to be looked at.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::PathBuf};

/// Entries that are looked at in one go: what holds more is not measured whole.
const ENTRIES_MAX: u32 = 100_000;

/// The blocks of `st_blocks`, whatever the file system's are, stat(3type).
const BLOCK_BYTES: u64 = 512;

/// What a directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of storage; holes in files take none.
    pub bytes: u64,
    /// Whether all was looked at; otherwise it is at least so much.
    pub is_whole: bool,
}

/// What the files below these directories take together, each counted once. It stops as soon as it has found `enough`
/// bytes, and after 100 000 entries.
///
/// Symbolic links are not followed. What is deleted but still open is not seen.
pub fn disk_usage(directories: &[PathBuf], enough: u64) -> DiskUsage {
    let mut waiting: Vec<PathBuf> = directories.to_vec();
    let (mut bytes, mut entries) = (0_u64, 0);
    let mut linked = HashSet::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            entries += 1;
            if bytes > enough || entries > ENTRIES_MAX {
                return DiskUsage { bytes, is_whole: false };
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
        }
    }
    DiskUsage { bytes, is_whole: true }
}

/// A size for people: `1.4 GiB`, `512 MiB`, `3 KiB`.
pub fn size_in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} bytes");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        _ if tenths >= 1000 => format!("{} {name}", tenths / 10),
        rest => format!("{}.{rest} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_stored_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("x"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(inner.join("x"), folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("link")).unwrap();
        File::create(folder.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
        let all = disk_usage(&[folder.path().to_owned()], u64::MAX);
        assert!(all.is_whole && (1 << 20..(1 << 20) + (64 << 10)).contains(&all.bytes), "{all:?}");
        assert_eq!(disk_usage(&[folder.path().join("none")], 1), DiskUsage { bytes: 0, is_whole: true });
    }

    #[test]
    fn it_stops_when_it_has_seen_enough() {
        let folder = tempfile::tempdir().unwrap();
        for name in 0..20 {
            fs::write(folder.path().join(name.to_string()), vec![1; 64 << 10]).unwrap();
        }
        let some = disk_usage(&[folder.path().to_owned()], 100 << 10);
        assert!(!some.is_whole && some.bytes > 100 << 10 && some.bytes < 400 << 10, "{some:?}");
    }

    #[test]
    fn sizes_in_words() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (1 << 10, "1 KiB"),
            (15 << 20, "15 MiB"),
            (1_503_238_554, "1.4 GiB"),
            (1 << 30, "1 GiB"),
            (512 << 20, "512 MiB"),
            (5 << 40, "5 TiB"),
        ] {
            assert_eq!(size_in_words(bytes), words);
        }
    }
}

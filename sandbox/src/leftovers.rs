//! Empty control groups whose supervisor was killed before it could remove them.

use std::{fs, path::Path, time::Duration};

use crate::hierarchies::Hierarchies;

/// Removes the empty groups below the caller's own whose name `is_meant` and that are older than `age`, in every
/// hierarchy: a younger one may be about to get its first process. How many were removed.
///
/// The kernel tells the age from when it last had to look the group up, so an old one may seem young, never the
/// other way round.
pub fn remove_empty_groups(is_meant: impl Fn(&str) -> bool, age: Duration) -> usize {
    let is_old = |group: &Path| {
        let modified = fs::metadata(group).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= age))
    };
    let mut count = 0;
    for base in Hierarchies::of_this_process().directories() {
        for entry in fs::read_dir(base).into_iter().flatten().filter_map(Result::ok) {
            let meant = entry.file_name().to_str().is_some_and(&is_meant);
            // One that holds processes or other groups cannot be removed.
            if meant && is_old(&entry.path()) && fs::remove_dir(entry.path()).is_ok() {
                count += 1;
            }
        }
    }
    count
}

//! The files that a process can reach, landlock(7).

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::{Error, Filesystem};

/// The newest interface whose file rights and scopes are used; older kernels enforce what they know of it.
const NEWEST: ABI = ABI::V6;

/// Restricts this thread and all that it starts. Processes outside can be neither signalled nor traced from then on,
/// nor reached by abstract Unix sockets, where the kernel knows these scopes.
pub(crate) fn apply(filesystem: &Filesystem, not_applied: &mut Vec<String>) -> Result<(), Error> {
    let Filesystem::Only { read_only, executable, read_write } = filesystem else { return Ok(()) };
    if let Some(missing) = read_write.iter().find(|path| !path.exists()) {
        return Err(Error::Refused(format!("{} does not exist and cannot be made accessible", missing.display())));
    }
    let status = restrict(read_only, executable, read_write)
        .map_err(|error| Error::system("cannot restrict files", std::io::Error::other(error)))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        not_applied.push("restriction of files: this kernel has no Landlock".into());
    }
    Ok(())
}

/// Takes all access to files away from this thread.
pub(crate) fn deny_all() -> Result<LandlockStatus, Error> {
    restrict(&[], &[], &[])
        .map(|status| status.landlock)
        .map_err(|error| Error::system("cannot restrict files", std::io::Error::other(error)))
}

fn restrict(
    read_only: &[PathBuf],
    executable: &[PathBuf],
    read_write: &[PathBuf],
) -> Result<RestrictionStatus, RulesetError> {
    let execute = AccessFs::from_read(NEWEST);
    let read: BitFlags<AccessFs> = execute & !BitFlags::from(AccessFs::Execute);
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(read_only, read))?
        .add_rules(path_beneath_rules(executable, execute))?
        .add_rules(path_beneath_rules(read_write, AccessFs::from_all(NEWEST)))?
        .restrict_self()
}

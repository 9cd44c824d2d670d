//! A private view of `/etc/hosts`, `/etc/passwd`, `/etc/group` and `/tmp`, mount_namespaces(7).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{getgid, getuid},
};

use crate::{Error, Identity, Spec, UserEntry};

const NOTHING: Option<&str> = None;

/// One thing to be shown in place of the machine's own.
type Change<'a> = Box<dyn Fn() -> Result<(), Error> + 'a>;

/// Gives this process its own mounts, as root or through a user namespace of its own, and changes what is asked for.
/// What cannot be had is added to `not_applied`.
pub(crate) fn apply(spec: &Spec, identity: Identity, not_applied: &mut Vec<String>) {
    let mut wanted: Vec<(&str, Change<'_>)> = Vec::new();
    if let Some(hosts) = &spec.hosts_file {
        wanted.push(("/etc/hosts", Box::new(move || bind(hosts, Path::new("/etc/hosts")))));
    }
    if let Some(entry) = &spec.user_entry {
        wanted.push(("/etc/passwd", Box::new(move || add_user(entry, identity))));
    }
    if let Some(directory) = &spec.private_tmp {
        // Last: it may hide the other sources.
        wanted.push(("/tmp", Box::new(move || bind_tmp(directory, &spec.directory))));
    }
    if wanted.is_empty() {
        return;
    }
    let namespace = own_namespace(identity.uid).map_err(|error| error.one_line());
    for (what, change) in wanted {
        if let Err(reason) = namespace.clone().and_then(|()| change().map_err(|error| error.one_line())) {
            not_applied.push(format!("own {what}: {reason}"));
        }
    }
}

/// Hiding the directory that the command starts in would help nobody.
fn bind_tmp(directory: &Path, start: &Path) -> Result<(), Error> {
    match start.starts_with("/tmp") {
        true => Err(Error::Refused(format!("{} would be hidden", start.display()))),
        false => bind(directory, Path::new("/tmp")),
    }
}

fn add_user(entry: &UserEntry, Identity { uid, gid }: Identity) -> Result<(), Error> {
    let (name, home) = (&entry.name, entry.home.display());
    extend_files(&[
        (Path::new("/etc/passwd"), format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n")),
        (Path::new("/etc/group"), format!("{name}:x:{gid}:\n")),
    ])
}

/// Leaves the machine's mounts: nothing that is mounted from here on is seen outside. A process that is to become another
/// user cannot do so in a user namespace of its own.
pub(crate) fn own_namespace(future_uid: u32) -> Result<(), Error> {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
        if future_uid != getuid().as_raw() {
            return Err(Error::system("not even root may mount here", error));
        }
        own_user_namespace()?;
    }
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(|error| Error::system("cannot make the mounts private", error))
}

/// A user namespace in which this user is itself and has the rights to mount; they are lost with the next program.
fn own_user_namespace() -> Result<(), Error> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|error| Error::system("neither root's rights nor a user namespace are to be had", error))?;
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ];
    for (file, text) in maps {
        fs::write(file, text).map_err(|error| Error::system(format!("cannot write {file}"), error))?;
    }
    Ok(())
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND, NOTHING)
        .map_err(|error| Error::system(format!("cannot show {} as {}", source.display(), target.display()), error))
}

/// Shows files with a line more. The new contents live in memory only: on a file system that is mounted over `/tmp` for
/// as long as it takes to bind its files where they belong.
fn extend_files(lines: &[(&Path, String)]) -> Result<(), Error> {
    let scratch = Path::new("/tmp");
    let failed = |what: &'static str| move |error| Error::system(what, error);
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("size=1m,mode=755"))
        .map_err(failed("cannot mount a file system in memory"))?;
    let write = |(target, line): &(&Path, String)| {
        let mut text = fs::read_to_string(target).unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        let copy = scratch.join(target.file_name().unwrap_or_default());
        fs::write(&copy, text)
            .and_then(|()| fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)))
            .map_err(|error| Error::system(format!("cannot write {}", target.display()), error))?;
        bind(&copy, target)
    };
    let result = lines.iter().try_for_each(write);
    umount2(scratch, MntFlags::MNT_DETACH).map_err(failed("cannot unmount the file system in memory"))?;
    result
}

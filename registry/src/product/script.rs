//! Whether a product's script can be run on this machine. The orchestrator runs it as `SCRIPT ACTION`.

use bigdata_common::script::is_fabfile;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The largest script, in bytes.
pub const SCRIPT_MAX: usize = 512 * 1024;

/// Checks a script; `search` is where interpreters are looked for, as in `PATH`.
///
/// # Errors
/// Why it cannot be run, with what to do.
pub fn check(script: &str, search: &str) -> Result<(), String> {
    if script.len() > SCRIPT_MAX {
        return Err(format!("a script has at most {SCRIPT_MAX} bytes"));
    }
    if script.contains('\0') {
        return Err("a script is a text, without NUL".to_owned());
    }
    if is_fabfile(script) {
        return match find("fab", search) {
            Some(_) => Ok(()),
            None => Err("this is a Fabric 1 fabfile, and `fab` is not installed here; install Fabric 1, or write the \
                         script so that it takes its action as the first argument"
                .to_owned()),
        };
    }
    // The kernel takes a carriage return for a part of the interpreter's name.
    if script.starts_with("#!") && script.split('\n').next().is_some_and(|line| line.ends_with('\r')) {
        return Err(
            "the `#!` line ends in a carriage return, as Windows' editors write it; save the script with Unix \
                    line ends (LF) and send it again"
                .to_owned(),
        );
    }
    let Some(line) = script.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
        return found("python3", search)
            .map_err(|why| format!("a script without a `#!` line is run by python3: {why}"));
    };
    let mut words = line.split_whitespace();
    let interpreter = words.next().ok_or("the `#!` line names no interpreter")?;
    if !interpreter.starts_with('/') {
        return Err(format!("the `#!` line names {interpreter:?}, which is no absolute path"));
    }
    if !is_executable(Path::new(interpreter)) {
        return Err(format!("the script's interpreter {interpreter} is not installed here"));
    }
    if Path::new(interpreter).file_name().is_some_and(|name| name == "env") {
        let program = words.find(|word| !word.starts_with('-') && !word.contains('='));
        return found(program.ok_or("the `#!` line gives env no program")?, search);
    }
    Ok(())
}

fn found(program: &str, search: &str) -> Result<(), String> {
    match find(program, search) {
        Some(_) => Ok(()),
        None => Err(format!("the script's interpreter {program} is not installed here")),
    }
}

fn find(program: &str, search: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| is_executable(path));
    }
    search.split(':').map(|folder| Path::new(folder).join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_can_be_run_and_those_that_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let search = folder.path().to_str().unwrap();
        let install = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let fabfile = "#!/usr/bin/env python3\nfrom fabric.api import *\n@task\ndef start():\n    pass\n";
        let own_fabfile = "#!/usr/bin/env python3\ntry:\n    from fabric.api import task\nexcept ImportError:\n    pass\nimport sys\nACTIONS[sys.argv[1]]()\n";
        assert!(check("#!/bin/sh\necho $1\n", search).is_ok());
        assert!(check("print(1)\n", search).unwrap_err().contains("python3"));
        install("python3");
        assert!(check("print(1)\n", search).is_ok());
        assert!(check("#!/usr/bin/env -S python3 -u\n", search).is_ok());
        assert!(check("#!/usr/bin/env ruby\n", search).unwrap_err().contains("ruby"));
        assert!(check("#!/no/such/shell\n", search).unwrap_err().contains("/no/such/shell"));
        assert!(check("#!\n", search).is_err());
        assert!(check("#!sh\n", search).is_err());
        assert!(check("#!/bin/sh\r\necho $1\r\n", search).unwrap_err().contains("carriage return"));
        assert!(check("#!/bin/sh\necho 'x\r'\n", search).is_ok());
        assert!(check(&"#".repeat(SCRIPT_MAX + 1), search).is_err());
        assert!(check(own_fabfile, search).is_ok());
        assert!(check(fabfile, search).unwrap_err().contains("Fabric 1"));
        install("fab");
        assert!(check(fabfile, search).is_ok());
    }
}

//! How a script is run.

use bigdata_common::script::is_fabfile;
use std::path::{Path, PathBuf};

/// Where programs are looked for, after the directory that holds `bigdata`.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By its `#!` line.
    Executable,
    /// By python3: it has no such line.
    Python,
    /// By Fabric 1.
    Fabfile,
}

impl Kind {
    /// The kind of a script by its text.
    pub(crate) fn of(text: &str) -> Self {
        if is_fabfile(text) {
            Self::Fabfile
        } else if text.starts_with("#!") {
            Self::Executable
        } else {
            Self::Python
        }
    }

    /// The name of the file that the script is written to.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Executable => "script",
            // `fab` takes only files that Python could import.
            Self::Python | Self::Fabfile => "script.py",
        }
    }

    /// Program and arguments.
    pub(crate) fn command(self, script: &Path, action: &str) -> Vec<String> {
        let script = script.display().to_string();
        let words: &[&str] = match self {
            Self::Executable => &[&script, action],
            Self::Python => &["python3", &script, action],
            Self::Fabfile => &["fab", "--fabfile", &script, action],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What is missing on this machine, in words.
    pub(crate) fn missing(self) -> Option<String> {
        let missing =
            |program: &str| !SEARCH_PATH.split(':').any(|folder| PathBuf::from(folder).join(program).is_file());
        match self {
            Self::Fabfile if missing("fab") => Some(
                "the script is a fabfile, and `fab` of Fabric 1 is not installed here: install it, or write the script so \
                 that it takes its action as the first argument"
                    .to_owned(),
            ),
            Self::Python if missing("python3") => {
                Some("the script has no #! line, so that it needs python3, which is not installed here".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_text() {
        for (text, kind) in [
            ("#!/bin/sh\necho\n", Kind::Executable),
            // As an executable it would do nothing, and that well.
            ("#!/usr/bin/env python\nfrom fabric.api import run\n", Kind::Fabfile),
            // It reads its action by itself.
            ("from fabric.api import run\nimport sys\nACTIONS[sys.argv[1]]()\n", Kind::Python),
            ("import sys\n", Kind::Python),
            ("from __future__ import print_function\nfrom fabric.api import run, env\n", Kind::Fabfile),
            ("import fabric\n", Kind::Fabfile),
            ("import fabrication\n# from fabric.api\n", Kind::Python),
            ("", Kind::Python),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }

    #[test]
    fn commands() {
        let command = Kind::Fabfile.command(Path::new("/runs/1/script.py"), "start");
        assert_eq!(command, ["fab", "--fabfile", "/runs/1/script.py", "start"]);
        assert_eq!(Kind::Executable.command(Path::new("/s"), "start"), ["/s", "start"]);
    }
}

//! What a product's script is: read alike where it is accepted and where it is run.

/// Whether a script is a Fabric 1 fabfile: it imports fabric, and leaves it to `fab` to call its tasks, since it does nothing
/// with its arguments by itself. A `#!` line changes nothing about that.
pub fn is_fabfile(script: &str) -> bool {
    let imports = script.lines().any(|line| {
        let mut words = line.trim_start().split(|character: char| !(character.is_alphanumeric() || character == '_'));
        matches!((words.next(), words.next()), (Some("from" | "import"), Some("fabric")))
    });
    imports && !["__main__", "sys.argv"].iter().any(|word| script.contains(word))
}

#[cfg(test)]
mod tests {
    #[test]
    fn fabfiles_and_others() {
        for (script, is_fabfile) in [
            ("from fabric.api import run, env\n", true),
            ("from __future__ import print_function\nimport fabric\n", true),
            ("#!/usr/bin/env python\nfrom fabric.api import run\n", true),
            ("try:\n    from fabric.api import task\nexcept ImportError:\n    pass\n", true),
            ("from fabric.api import task\nimport sys\nACTIONS[sys.argv[1]]()\n", false),
            ("import fabrication\n# from fabric.api\n", false),
            ("", false),
        ] {
            assert_eq!(super::is_fabfile(script), is_fabfile, "{script}");
        }
    }
}

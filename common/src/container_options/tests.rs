//! What is passed on, what takes a right, and what nobody may have.

use super::*;

fn parse(text: &str, rights: &[ContainerRight]) -> Result<ContainerOptions, ContainerOptionError> {
    ContainerOptions::parse(text, &rights.iter().copied().collect())
}

#[test]
fn what_is_allowed_becomes_settings() {
    let text = r#"-e A=1 --env='B=two words' --env "C=a\"b" --cap-add=CAP_IPC_LOCK --cap-drop ALL --shm-size 64m --init
                  --ulimit nofile=1024:2048 --tmpfs /run:size=8m -u 7:8 --security-opt no-new-privileges --read-only=false"#;
    let options = parse(text, &[]).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let expected = ContainerOptions {
        env: vec![pair("A", "1"), pair("B", "two words"), pair("C", "a\"b")],
        capabilities_added: vec!["IPC_LOCK".into()],
        capabilities_dropped: vec!["ALL".into()],
        shared_memory_bytes: Some(64 << 20),
        init: true,
        limits: vec![("nofile".into(), 1024, 2048)],
        temporary: vec![pair("/run", "size=8m")],
        user: Some("7:8".into()),
        no_new_privileges: true,
        ..ContainerOptions::default()
    };
    assert_eq!(options, expected);
    assert_eq!(parse("  ", &[]).unwrap(), ContainerOptions::default());
}

#[test]
fn what_leads_out_takes_a_right() {
    use ContainerRight::{Capabilities, Devices, HostMounts, HostNamespaces, Privileged};
    for (text, right, named) in [
        ("--init --privileged", Privileged, "--privileged"),
        ("--privileged=true", Privileged, "--privileged"),
        ("-v /:/host", HostMounts, "-v /:/host"),
        ("--volume=/etc:/etc:ro", HostMounts, "--volume /etc:/etc:ro"),
        ("--mount type=bind,src=/,dst=/x", HostMounts, "--mount type=bind,src=/,dst=/x"),
        ("--net=host", HostNamespaces, "--net host"),
        ("--pid host", HostNamespaces, "--pid host"),
        ("--ipc=host", HostNamespaces, "--ipc host"),
        ("--uts=host", HostNamespaces, "--uts host"),
        ("--cgroupns=host", HostNamespaces, "--cgroupns host"),
        ("--cap-add SYS_ADMIN", Capabilities, "--cap-add SYS_ADMIN"),
        ("--cap-add=ALL", Capabilities, "--cap-add ALL"),
        ("--device /dev/kvm", Devices, "--device /dev/kvm"),
    ] {
        let others: Vec<ContainerRight> = ContainerRight::ALL.into_iter().filter(|other| *other != right).collect();
        let refused = parse(text, &others).unwrap_err();
        let is_unmarked = matches!(&refused, ContainerOptionError::Unmarked(marked) if marked.right == right && marked.to_string() == named);
        assert!(is_unmarked, "{text}: {refused}");
        assert!(refused.to_string().ends_with(&format!("the container right {right}")), "{refused}");
        let allowed = parse(text, &[right]).unwrap();
        assert_eq!(allowed.marked.len(), 1, "{text}");
    }
}

#[test]
fn what_is_allowed_by_a_right_becomes_settings_too() {
    let text = "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro --volume /a:/b --mount type=bind,source=/c,target=/d,readonly \
                --pid=host --net host --network=host --device /dev/fuse --device=/dev/a:/dev/b:r --cap-add NET_RAW";
    let options = parse(text, &ContainerRight::ALL).unwrap();
    let mount = |source: &str, target: &str, read_only| HostMount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    let mounts = [mount("/sys/fs/cgroup", "/sys/fs/cgroup", true), mount("/a", "/b", false), mount("/c", "/d", true)];
    assert_eq!(options.mounts, mounts);
    assert_eq!(options.namespaces, [HostNamespace::Processes, HostNamespace::Network]);
    let devices: Vec<[&str; 3]> =
        options.devices.iter().map(|it| [it.source.as_str(), &it.target, &it.permissions]).collect();
    assert_eq!(devices, [["/dev/fuse", "/dev/fuse", "rwm"], ["/dev/a", "/dev/b", "r"]]);
    assert_eq!((options.privileged, options.capabilities_added), (true, vec!["NET_RAW".to_owned()]));
    assert_eq!(options.marked.len(), 10);
    assert!(parse("--privileged --privileged=false", &[]).unwrap().marked.is_empty());
}

#[test]
fn nobody_is_given_these() {
    for (text, option) in [
        ("--security-opt seccomp=unconfined", "--security-opt seccomp=unconfined"),
        ("-m 8g", "-m"),
        ("--volumes-from other", "--volumes-from"),
        ("--net=container:other", "--net container:other"),
        ("--pid container:other", "--pid container:other"),
        ("--name x", "--name"),
        ("--userns=host", "--userns"),
    ] {
        let refused = parse(text, &ContainerRight::ALL).unwrap_err();
        assert!(
            matches!(&refused, ContainerOptionError::Refused { option: named, .. } if named == option),
            "{text}: {refused}"
        );
        assert!(refused.to_string().contains(option), "{refused}");
    }
    for text in [
        "-v data:/data",
        "-v /data",
        "-v /a:/b:z",
        "-v /a/../..:/b",
        "-v /a:/",
        "--mount type=volume,source=/a,target=/b",
        "--mount type=bind,source=/a,target=/b,volume-driver=x",
        "--device kvm",
        "--device /dev/../etc/shadow",
        "--device /dev/a:/dev/b:x",
        "--device /dev/a:",
    ] {
        let refused = parse(text, &ContainerRight::ALL).unwrap_err();
        assert!(matches!(&refused, ContainerOptionError::Malformed { .. }), "{text}: {refused}");
    }
}

#[test]
fn nothing_else_is_passed_on() {
    for (text, words) in [
        ("--blkio-weight 10", "--blkio-weight is no option that is passed on"),
        ("-v/:/host", "-v/:/host is no option that is passed on"),
        ("; rm -rf /", "; is no option that is passed on"),
        ("image:1", "image:1 is no option that is passed on"),
        ("--priveleged", "--priveleged is no option that is passed on; did you mean --privileged?"),
        ("--enrtypoint x", "--enrtypoint is no option that is passed on; did you mean --entrypoint?"),
        ("--vollume x", "--vollume is no option that is passed on; did you mean --volume?"),
        ("X", "X is no option that is passed on"),
        ("--env", "--env wants a value"),
        ("--env A", "--env wants NAME=VALUE"),
        ("--shm-size x", "--shm-size wants a size such as 64m"),
        ("--init=perhaps", "--init wants true or false"),
        ("'a", "a quote is not closed"),
    ] {
        let refused = parse(text, &[]).unwrap_err().to_string();
        assert_eq!(refused, format!("docker_opts: {words}"), "{text}");
    }
}

#[test]
fn rights_have_names() {
    for right in ContainerRight::ALL {
        assert_eq!(right.as_str().parse(), Ok(right));
        assert_eq!(serde_json::to_value(right).unwrap(), right.as_str());
    }
    let words = "root".parse::<ContainerRight>().unwrap_err().to_string();
    assert!(words.contains("\"root\"") && words.contains("host-mounts"), "{words}");
}

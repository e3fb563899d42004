//! `config.json` as text: container, image and host in, the runtime's input out.

use std::path::PathBuf;

use lichen_oci::config::{
    CgroupVersion, ConfigError, ContainerSpec, EtcFiles, Host, Ipc, Mount, MountSource, Network,
    Propagation, Resources, runtime_config,
};
use lichen_oci::image::ImageConfig;
use lichen_oci::user::UserIds;
use serde_json::Value;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: words("/entry $(NAME)"),
        cmd: words("serve"),
        env: words("PATH=/bin LANG=C NAME=image"),
        working_dir: "/srv".to_owned(),
        ..ImageConfig::default()
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        id: "web-0.app".to_owned(),
        cgroup: "web-0/app".to_owned(),
        hostname: "web-0".to_owned(),
        env: vec![("NAME".to_owned(), "own".to_owned())],
        ..ContainerSpec::default()
    }
}

fn host() -> Host {
    Host {
        cgroup: CgroupVersion::V2,
        limits_enforced: true,
        lacks: Default::default(),
        seccomp: true,
        mqueue: true,
        architecture: "aarch64",
        cgroup_parent: "/lichen".to_owned(),
    }
}

fn config(spec: &ContainerSpec) -> Value {
    runtime_config(spec, &image(), &host()).expect("a config")
}

/// The part of the config at a JSON pointer, as compact text.
fn at(config: &Value, pointer: &str) -> String {
    config.pointer(pointer).map_or("absent".to_owned(), Value::to_string)
}

fn mount(source: MountSource, target: &str) -> Mount {
    Mount { source, target: target.to_owned(), read_only: false, propagation: Propagation::Private }
}

/// The mounts below a prefix, one line each: target, type, source, options.
fn mount_lines(config: &Value, prefix: &str) -> String {
    let mounts = config["mounts"].as_array().expect("mounts");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let line = |mount: &Value| {
        let options: Vec<_> =
            mount["options"].as_array().expect("options").iter().map(text).collect();
        let (target, kind) = (text(&mount["destination"]), text(&mount["type"]));
        format!("{target} {kind} {} {}\n", text(&mount["source"]), options.join(","))
    };
    mounts.iter().map(line).filter(|line| line.starts_with(prefix)).collect()
}

/// With LICHEN_UPDATE set, the recorded text is written anew; read the difference before committing it.
#[test]
fn a_plain_container_gets_the_recorded_config() {
    let mut spec = spec();
    spec.resources = Resources {
        cpu_request_milli: Some(250),
        cpu_limit_milli: Some(1500),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: None,
    };
    spec.oom_score_adj = Some(900);
    let text = format!("{:#}\n", config(&spec));
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config/plain.json");
    if std::env::var_os("LICHEN_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
        std::fs::write(&file, &text).expect("recorded");
    }
    assert_eq!(text, std::fs::read_to_string(&file).expect("recorded text"));
}

#[test]
fn command_and_args_replace_entrypoint_and_cmd_as_in_kubernetes() {
    let run = |command: &str, args: &str| {
        let spec = ContainerSpec { command: words(command), args: words(args), ..spec() };
        at(&config(&spec), "/process/args")
    };
    // The image's own words are never expanded, the manifest's are.
    assert_eq!(run("", ""), r#"["/entry","$(NAME)","serve"]"#);
    assert_eq!(run("", "a $(NAME)"), r#"["/entry","$(NAME)","a","own"]"#);
    assert_eq!(run("/own", ""), r#"["/own"]"#);
    assert_eq!(run("/own", "$(NAME) $$(NAME) $(LANG)"), r#"["/own","own","$(NAME)","$(LANG)"]"#);
}

#[test]
fn nothing_to_run_is_an_error() {
    let result = runtime_config(&spec(), &ImageConfig::default(), &host());
    assert_eq!(result, Err(ConfigError::NothingToRun));
}

#[test]
fn variables_merge_over_the_images_and_see_those_before_them() {
    let mut spec = spec();
    spec.env.push(("URL".to_owned(), "http://$(NAME)/$(LANG)".to_owned()));
    let env = at(&config(&spec), "/process/env");
    assert_eq!(
        env,
        r#"["PATH=/bin","LANG=C","NAME=own","HOSTNAME=web-0","URL=http://own/$(LANG)"]"#
    );
    let bare = runtime_config(
        &ContainerSpec { command: words("/x"), ..spec },
        &ImageConfig::default(),
        &host(),
    );
    let env = at(&bare.expect("a config"), "/process/env");
    assert!(env.starts_with(r#"["PATH=/usr/local/sbin:"#), "{env}");
}

#[test]
fn without_enforced_limits_there_are_neither_limits_nor_device_nodes() {
    let host = Host { limits_enforced: false, ..host() };
    let config = runtime_config(&spec(), &image(), &host).expect("a config");
    assert_eq!(at(&config, "/linux/resources"), "absent");
    assert_eq!(at(&config, "/linux/cgroupsPath"), "absent");
    assert_eq!(mount_lines(&config, "/sys/fs/cgroup"), "");
    assert!(!at(&config, "/process/capabilities").contains("CAP_MKNOD"));
}

#[test]
fn cpu_and_memory_follow_the_kubelets_formulas() {
    let section = |request, limit, memory| {
        let resources = Resources {
            cpu_request_milli: request,
            cpu_limit_milli: limit,
            memory_limit_bytes: memory,
            pids_limit: Some(5),
        };
        let config = config(&ContainerSpec { resources, ..spec() });
        format!(
            "{} {}",
            at(&config, "/linux/resources/cpu"),
            at(&config, "/linux/resources/memory")
        )
    };
    assert_eq!(section(None, None, None), r#"{"shares":2} absent"#);
    assert_eq!(section(Some(500), None, Some(9)), r#"{"shares":512} {"limit":9}"#);
    assert_eq!(section(None, Some(1), None), r#"{"period":100000,"quota":1000,"shares":2} absent"#);
    let huge = r#"{"period":100000,"quota":18446744073709551,"shares":262144} {"limit":9223372036854775807}"#;
    assert_eq!(section(None, Some(u64::MAX), Some(u64::MAX)), huge);
}

#[test]
fn namespaces_follow_the_network() {
    let kinds = |network, cgroup| {
        let host = Host { cgroup, ..host() };
        let config = runtime_config(&ContainerSpec { network, ..spec() }, &image(), &host);
        let config = config.expect("a config");
        let kinds = config["linux"]["namespaces"].as_array().expect("namespaces").clone();
        let kinds: Vec<_> = kinds.iter().filter_map(|kind| kind["type"].as_str()).collect();
        format!("{} hostname={}", kinds.join(" "), at(&config, "/hostname"))
    };
    use CgroupVersion::{V1, V2};
    assert_eq!(kinds(Network::Private, V1), r#"pid mount ipc uts network hostname="web-0""#);
    assert_eq!(kinds(Network::Private, V2), r#"pid mount ipc uts network cgroup hostname="web-0""#);
    assert_eq!(kinds(Network::Host, V1), "pid mount ipc hostname=absent");
    let join = Network::Join(PathBuf::from("/proc/7/ns/net"));
    assert_eq!(kinds(join, V1), r#"pid mount ipc uts network hostname="web-0""#);
}

#[test]
fn the_containers_of_a_pod_share_its_network_and_ipc_and_have_groups_below_its_own() {
    let config = |container: &str| {
        config(&ContainerSpec {
            id: format!("p-1-{container}"),
            cgroup: format!("p-1/{container}"),
            network: Network::Join(PathBuf::from("/run/p-1/network")),
            ipc: Ipc::Join { namespace: "/run/p-1/ipc".into(), shm: "/run/p-1/shm".into() },
            ..spec()
        })
    };
    let (web, helper) = (config("web"), config("helper"));
    assert_eq!(at(&web, "/linux/cgroupsPath"), r#""/lichen/p-1/web""#);
    assert_eq!(at(&helper, "/linux/cgroupsPath"), r#""/lichen/p-1/helper""#);
    let namespace = |config: &Value, kind: &str| {
        let all = config["linux"]["namespaces"].as_array().expect("namespaces").clone();
        all.into_iter().find(|namespace| namespace["type"] == kind).expect("a namespace")
    };
    let shm = |config: &Value| {
        let all = config["mounts"].as_array().expect("mounts").clone();
        let shm: Vec<_> = all.into_iter().filter(|m| m["destination"] == "/dev/shm").collect();
        assert_eq!(shm.len(), 1);
        shm[0].clone()
    };
    for config in [&web, &helper] {
        assert_eq!(namespace(config, "network")["path"], "/run/p-1/network");
        assert_eq!(namespace(config, "ipc")["path"], "/run/p-1/ipc");
        assert_eq!(
            (&shm(config)["type"], &shm(config)["source"]),
            (&"bind".into(), &"/run/p-1/shm".into())
        );
        let options = shm(config)["options"].to_string();
        assert!(
            ["noexec", "nosuid", "nodev"].iter().all(|flag| options.contains(flag)),
            "{options}"
        );
    }
    for cgroup in ["", "/", "a/", "/a", "a//b", "../b", "a/..", "a b"] {
        let spec = ContainerSpec { cgroup: cgroup.to_owned(), ..spec() };
        let result = runtime_config(&spec, &image(), &host());
        assert!(matches!(result, Err(ConfigError::Id(_))), "{cgroup}");
    }
}

#[test]
fn long_hostnames_are_cut_as_the_kubelet_cuts_them() {
    let hostname = format!("{}-{}", "a".repeat(62), "b".repeat(9));
    let config = config(&ContainerSpec { hostname, ..spec() });
    assert_eq!(at(&config, "/hostname"), format!("\"{}\"", "a".repeat(62)));
}

#[test]
fn volumes_come_outer_first_and_replace_what_is_at_their_place() {
    let mut spec = spec();
    spec.etc = EtcFiles {
        hosts: Some("/run/x/hosts".into()),
        hostname: None,
        resolv_conf: Some("/run/x/resolv.conf".into()),
    };
    spec.mounts = vec![
        Mount {
            read_only: true,
            ..mount(MountSource::Volume("/v/config/conf/app".into()), "/data/deep/conf/")
        },
        mount(MountSource::HostPath("/dev/ttyUSB0".into()), "/data//tty"),
        mount(MountSource::Volume("/v/memory".into()), "/dev/shm"),
        mount(MountSource::Volume("/v/hosts".into()), "/etc/hosts"),
        mount(MountSource::Volume("/v/data".into()), "/data"),
    ];
    let config = config(&spec);
    let expected = "\
/data bind /v/data rbind,rprivate,rw,nosuid,nodev
/data/tty bind /dev/ttyUSB0 rbind,rprivate,rw
/data/deep/conf bind /v/config/conf/app rbind,rprivate,ro,nosuid,nodev
";
    assert_eq!(mount_lines(&config, "/data"), expected);
    let shm = "/dev/shm bind /v/memory rbind,rprivate,rw,nosuid,nodev\n";
    assert_eq!(mount_lines(&config, "/dev/shm"), shm);
    let etc = "\
/etc/hosts bind /v/hosts rbind,rprivate,rw,nosuid,nodev
/etc/resolv.conf bind /run/x/resolv.conf rbind,rprivate,ro
";
    assert_eq!(mount_lines(&config, "/etc"), etc);
}

#[test]
fn what_the_runtime_would_misread_is_refused_by_name() {
    let refusal = |change: &dyn Fn(&mut ContainerSpec)| {
        let mut spec = spec();
        change(&mut spec);
        runtime_config(&spec, &image(), &host()).expect_err("refused")
    };
    let volume = |target: &str| mount(MountSource::Volume("/v".into()), target);
    for id in ["", "a/b", "../x", "-x", "a b"] {
        let error = refusal(&|spec| spec.id = id.to_owned());
        assert_eq!(error, ConfigError::Id(id.to_owned()));
    }
    for target in ["relative", "/", "//", "/a/../b", "/.", ""] {
        let error = refusal(&|spec| spec.mounts = vec![volume(target)]);
        assert_eq!(error, ConfigError::MountPath(target.to_owned()));
    }
    let error = refusal(&|spec| spec.mounts = vec![mount(MountSource::HostPath("x".into()), "/x")]);
    assert_eq!(error, ConfigError::VolumePath("x".to_owned()));
    let error = refusal(&|spec| spec.env.push(("A=B".to_owned(), String::new())));
    assert_eq!(error, ConfigError::EnvName("A=B".to_owned()));
    let error = refusal(&|spec| spec.env.push(("A".to_owned(), "x\0".to_owned())));
    assert_eq!(error, ConfigError::Nul("env"));
    let error = refusal(&|spec| spec.working_dir = Some("here".to_owned()));
    assert_eq!(error, ConfigError::WorkingDir("here".to_owned()));
    let error = refusal(&|spec| spec.command = vec!["x".repeat(200 << 10)]);
    assert_eq!(error, ConfigError::TooLong("command"));
}

#[test]
fn user_and_restrictions_are_passed_on() {
    let mut spec = spec();
    spec.user = UserIds { uid: 1000, gid: 100, more_gids: vec![20] };
    spec.read_only_root = true;
    let config = config(&spec);
    let user = r#"{"additionalGids":[20],"gid":100,"uid":1000}"#;
    assert_eq!(at(&config, "/process/user"), user);
    assert_eq!(at(&config, "/root"), r#"{"path":"rootfs","readonly":true}"#);
    assert_eq!(at(&config, "/process/noNewPrivileges"), "true");
}

#[test]
fn seccomp_is_there_only_where_it_can_be_loaded() {
    let with = |seccomp, architecture| {
        let host = Host { seccomp, architecture, ..host() };
        let config = runtime_config(&spec(), &image(), &host).expect("a config");
        at(&config, "/linux/seccomp/architectures")
    };
    assert_eq!(with(true, "arm"), r#"["SCMP_ARCH_ARM"]"#);
    assert_eq!(with(false, "arm"), "absent");
    assert_eq!(with(true, "s390x"), "absent");
}

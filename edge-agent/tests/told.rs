//! What a container sees of what it is told, as root, with each OCI runtime that the machine has: variables to the byte, files of
//! several sources, its names, and every mount below others.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::fmt::Write;

use firmware_compat::v1::owned::{
    Dns, Fact, FactResource, File, HostAlias, Mount, MountPropagation, PodNames, ProjectedSource,
    Value, Variable, Volume, VolumeSource,
};
use support::world::{ID, World};

/// What shells, JSON and YAML make something else of.
const EXACT: &str = "say \"hi\" 'there' \\ $$(HOME) $NONE $(NONE) ${X} `id`\n\tGr\u{fc}\u{df}e\u{85} \u{1f44b} = ;\n end ";
/// `$$` is one dollar.
const SEEN: &str = "say \"hi\" 'there' \\ $(HOME) $NONE $(NONE) ${X} `id`\n\tGr\u{fc}\u{df}e\u{85} \u{1f44b} = ;\n end ";

fn variable(name: &str, value: Value) -> Variable {
    Variable { name: name.try_into().unwrap(), value }
}

fn text(name: &str, value: &str) -> Variable {
    variable(name, Value::Text(value.try_into().unwrap()))
}

fn file(path: &str, data: &str) -> File {
    let data = data.as_bytes().to_vec().try_into().unwrap();
    File { path: path.try_into().unwrap(), mode: 0o644, data }
}

fn volume(name: &str, source: VolumeSource) -> Volume {
    Volume { name: name.try_into().unwrap(), source }
}

fn mount(volume: &str, path: &str) -> Mount {
    Mount {
        volume: volume.try_into().unwrap(),
        path: path.try_into().unwrap(),
        sub_path: Default::default(),
        expand: false,
        read_only: false,
        propagation: MountPropagation::None,
    }
}

async fn variables_are_seen_to_the_byte_and_the_last_of_two_holds(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let script = "busybox printf '%s|' \"$EXACT\" \"$POD\" \"$CPUS\" \"$LATER\" \"$TWICE\"; echo ready; \
                  while :; do busybox sleep 1; done";
    let mut pod = world.pod(&[], &[("main", script)]);
    let cpus = Fact::Allocatable { resource: FactResource::Cpu, divisor: 1000 };
    let mut container = pod.containers[0].clone();
    container.env = vec![
        text("EXACT", EXACT),
        variable("POD", Value::Fact(Fact::PodIp)),
        variable("CPUS", Value::Fact(cpus)),
        text("TWICE", "one"),
        text("LATER", "at $(POD) $(TWICE)"),
        text("TWICE", "two"),
    ]
    .try_into()
    .unwrap();
    pod.containers = vec![container].try_into().unwrap();
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let cpus = std::thread::available_parallelism().unwrap();
    let expected = format!("{SEEN}|127.0.0.1|{cpus}|at 127.0.0.1 one|two|ready\n");
    world.until_log(1, "main", &expected).await;
    world.until_gone().await;
}

async fn names_are_in_etc(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let script = "busybox hostname; busybox grep -e till -e nas /etc/hosts; busybox cat /etc/resolv.conf; \
                  echo ready; while :; do busybox sleep 1; done";
    let mut pod = world.pod(&[], &[("main", script)]);
    pod.hostname = "till".try_into().unwrap();
    let alias = HostAlias {
        ip: "10.0.0.7".try_into().unwrap(),
        names: vec!["nas".try_into().unwrap(), "nas.lan".try_into().unwrap()].try_into().unwrap(),
    };
    pod.names = PodNames {
        domain: "web.shop.svc.cluster.local".try_into().unwrap(),
        aliases: vec![alias].try_into().unwrap(),
        dns: Dns {
            own: true,
            nameservers: vec!["192.0.2.53".try_into().unwrap()].try_into().unwrap(),
            searches: vec!["shop.lan".try_into().unwrap()].try_into().unwrap(),
            options: vec!["ndots:2".try_into().unwrap()].try_into().unwrap(),
        },
    };
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let expected = "till\n127.0.1.1\ttill.web.shop.svc.cluster.local\ttill\n10.0.0.7\tnas\tnas.lan\n\
                    nameserver 192.0.2.53\nsearch shop.lan\noptions ndots:2\nready\n";
    world.until_log(1, "main", expected).await;
    world.until_gone().await;
}

async fn every_mount_below_others_is_seen_and_files_of_all_sources_change_at_once(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    // Each of the seven has a file of its own, and sees the place of the next.
    let mut script = String::new();
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    let mut path = String::new();
    for depth in 0..7 {
        path.push_str(&format!("/m{depth}"));
        let name = format!("v{depth}");
        let source = VolumeSource::EmptyDir { memory: depth % 2 == 1, size_limit_bytes: 0 };
        volumes.push(volume(&name, source));
        mounts.push(mount(&name, &path));
        write!(script, "echo {depth} > {path}/own; ").unwrap();
    }
    // In any order.
    mounts.reverse();
    script.push_str(
        "echo $(busybox grep -c ' /m0' /proc/mounts) $(busybox find /m0 -name own | busybox wc -l); \
         busybox cat /etc/app/key /etc/app/conf.d/key /etc/app/pod/ip; echo; busybox ls /part; \
         until busybox grep -q new /etc/app/key; do busybox sleep 0.1; done; \
         busybox cat /etc/app/key /etc/app/conf.d/key; echo ready; while :; do busybox sleep 1; done",
    );
    let mut pod = world.pod(&[], &[("main", &script)]);
    let settings = |world: &mut World, text: &str| {
        let source = world.hub.config(vec![file("key", text)]);
        let VolumeSource::ConfigMap { data } = &source else { panic!("a part") };
        let sources = vec![
            ProjectedSource::Files { data: *data },
            ProjectedSource::Fact {
                path: "pod/ip".try_into().unwrap(),
                mode: 0o444,
                fact: Fact::PodIp,
            },
        ];
        [VolumeSource::Projected { sources: sources.try_into().unwrap() }, source]
    };
    let [projected, map] = settings(&mut world, "old\n");
    volumes.push(volume("projected", projected));
    volumes.push(volume("map", map));
    mounts.push(mount("map", "/etc/app/conf.d"));
    mounts.push(mount("projected", "/etc/app"));
    let part = Mount {
        sub_path: "$(NAME)/part".try_into().unwrap(),
        expand: true,
        ..mount("v0", "/part")
    };
    mounts.push(part);
    let mut container = pod.containers[0].clone();
    container.env = vec![text("NAME", "web-1")].try_into().unwrap();
    container.mounts = mounts.try_into().unwrap();
    pod.containers = vec![container].try_into().unwrap();
    pod.volumes = volumes.clone().try_into().unwrap();
    world.assign(vec![pod.clone()]);
    world.hub.until_running(ID).await;
    let expected = "7 7\nold\nold\n127.0.0.1\n";
    world.until_log(1, "main", expected).await;

    let [projected, map] = settings(&mut world, "new\n");
    let count = volumes.len();
    volumes[count - 2].source = projected;
    volumes[count - 1].source = map;
    pod.volumes = volumes.try_into().unwrap();
    world.assign(vec![pod]);
    world.until_log(2, "main", &format!("{expected}new\nnew\nready\n")).await;
    world.until_gone().await;
}

for_each_runtime! {
    variables_are_seen_to_the_byte_and_the_last_of_two_holds
    names_are_in_etc
    every_mount_below_others_is_seen_and_files_of_all_sources_change_at_once
}

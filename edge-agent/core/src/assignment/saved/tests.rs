//! Saving and loading with parts, step by step.

use alloc::{sync::Arc, vec};

use firmware_compat::{
    id::PodId,
    v1::owned::{
        Assignment, Bytes, ConfigData, File, List, Pod, PodSecurity, RestartPolicy, RuntimeClass,
        Text, Volume, VolumeSource,
    },
};

use super::{format::tests::saved, *};
use crate::config::Part;

/// A part and its hash.
fn part(part: Part) -> (Hash, Part) {
    (assign::hash(&part.bytes()), part)
}

fn config(text: &str) -> (Hash, Part) {
    let data = Bytes::try_from(text.as_bytes().to_vec()).expect("short");
    let file = File { path: Text::cut("settings"), mode: 0o644, data };
    let files = List::try_from(vec![file]).expect("one");
    part(Part::Config(Arc::new(ConfigData { files })))
}

fn pod(id: u8, config: Option<Hash>) -> (Hash, Part) {
    let volume = config.map(|data| Volume {
        name: Text::cut("settings"),
        source: VolumeSource::ConfigMap { data },
    });
    part(Part::Pod(Arc::new(Pod {
        id: PodId([id; 16]),
        identity: Hash([id; 32]),
        namespace: Text::cut("default"),
        name: Text::cut("web"),
        hostname: Text::cut("web"),
        names: Default::default(),
        runtime_class: RuntimeClass::Wasm,
        init_containers: List::default(),
        containers: List::try_from(vec![crate::test_support::container()]).expect("one"),
        volumes: List::try_from(volume.into_iter().collect::<Vec<_>>()).expect("one"),
        restart: RestartPolicy::Always,
        grace_ms: 1,
        active_deadline_s: 0,
        host_network: false,
        security: PodSecurity::default(),
        after: List::default(),
        secrets: List::default(),
    })))
}

/// One that the agent could follow: a generation with these parts.
fn followable(generation: u64, parts: &[(Hash, Part)]) -> SavedAssignment {
    let pods = parts.iter().filter_map(|(hash, part)| match part {
        Part::Pod(_) => Some(*hash),
        Part::Config(_) | Part::Sealed(_) => None,
    });
    let pods = List::try_from(pods.collect::<Vec<_>>()).expect("few");
    let body = postcard::to_allocvec(&Assignment { pods, removed_claims: Default::default() })
        .expect("it encodes");
    let mut followable = saved(generation, &body);
    followable.id.hash = assign::hash(&body);
    followable.parts = parts.iter().cloned().collect();
    followable
}

/// The files after these steps.
fn carry_out(files: &Files, steps: &[DiskStep]) -> Files {
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    all.extend(files.current.clone().map(|bytes| (CURRENT.into(), bytes)));
    all.extend(files.previous.clone().map(|bytes| (PREVIOUS.into(), bytes)));
    all.extend(files.parts.iter().map(|(hash, bytes)| (part_name(hash), bytes.clone())));
    for step in steps {
        match step {
            DiskStep::Write { name, bytes } => _ = all.insert(name.clone(), bytes.clone()),
            DiskStep::Rename { from, to } => {
                let bytes = all.remove(from).expect("it is there");
                all.insert(to.clone(), bytes);
            }
            DiskStep::Remove { name } => _ = all.remove(name),
            DiskStep::Sync { .. } | DiskStep::SyncDir => {}
        }
    }
    Files {
        current: all.get(CURRENT).cloned(),
        previous: all.get(PREVIOUS).cloned(),
        parts: all.iter().filter_map(|(name, b)| Some((part_of(name)?, b.clone()))).collect(),
    }
}

fn save(files: &Files, saved: &SavedAssignment) -> Files {
    carry_out(files, &save_steps(files, saved))
}

/// The files that are written, by the names that they get.
fn written(steps: &[DiskStep]) -> Vec<&str> {
    let written = steps.iter().filter_map(|step| match step {
        DiskStep::Write { name, .. } => Some(name),
        _ => None,
    });
    let mut parts = steps.iter().filter_map(|step| match step {
        DiskStep::Rename { from, to } if from == TEMPORARY_PART => Some(to.as_str()),
        _ => None,
    });
    written
        .filter_map(|name| if name == TEMPORARY { Some(CURRENT) } else { parts.next() })
        .collect()
}

fn renames(steps: &[DiskStep]) -> Vec<(&str, &str)> {
    let pair = |step: &DiskStep| match step {
        DiskStep::Rename { from, to } => Some((from.clone(), to.clone())),
        _ => None,
    };
    let known = [TEMPORARY, CURRENT, PREVIOUS];
    let pairs: Vec<(String, String)> = steps.iter().filter_map(pair).collect();
    let name = |name: &str| known.into_iter().find(|known| *known == name).unwrap_or("part");
    pairs.iter().map(|(from, to)| (name(from), name(to))).collect()
}

#[test]
fn parts_are_whole_and_named_before_what_refers_to_them_and_the_names_come_last() {
    let one = pod(1, None);
    let files = save(&Files::default(), &followable(1, &[]));
    let steps = save_steps(&files, &followable(2, core::slice::from_ref(&one)));
    let name = |name: &str| name.to_string();
    let expected = [
        DiskStep::Write { name: name(TEMPORARY_PART), bytes: one.1.bytes() },
        DiskStep::Sync { name: name(TEMPORARY_PART) },
        DiskStep::Rename { from: name(TEMPORARY_PART), to: part_name(&one.0) },
        DiskStep::SyncDir,
        DiskStep::Write { name: name(TEMPORARY), bytes: encode(&followable(2, &[one])) },
        DiskStep::Sync { name: name(TEMPORARY) },
        DiskStep::Rename { from: name(CURRENT), to: name(PREVIOUS) },
        DiskStep::Rename { from: name(TEMPORARY), to: name(CURRENT) },
        DiskStep::SyncDir,
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_part_that_is_there_is_not_written_again_and_one_that_rotted_is() {
    let (one, two) = (pod(1, None), pod(2, None));
    let mut files = save(&Files::default(), &followable(1, core::slice::from_ref(&one)));
    let next = followable(2, &[one.clone(), two.clone()]);
    assert_eq!(written(&save_steps(&files, &next)), [part_name(&two.0).as_str(), "assignment"]);
    files.parts.get_mut(&one.0).expect("there")[0] ^= 1;
    assert_eq!(written(&save_steps(&files, &next)).len(), 3);
}

#[test]
fn parts_that_neither_assignment_refers_to_go_and_those_of_both_stay() {
    let data = config("a");
    let old = [pod(1, Some(data.0)), data.clone()];
    let files = save(&Files::default(), &followable(1, &old));
    assert_eq!(files.parts.len(), 2);
    let files = save(&files, &followable(2, &[pod(2, None)]));
    assert_eq!(files.parts.len(), 3, "there is a way back to generation 1");
    let files = save(&files, &followable(3, &[pod(3, None)]));
    let left: Vec<Hash> = files.parts.keys().copied().collect();
    let mut expected = vec![pod(2, None).0, pod(3, None).0];
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn what_failed_saves_left_goes_first_and_what_only_the_oldest_refers_to_last() {
    let [one, two, three, left] = [1, 2, 3, 4].map(|id| pod(id, None));
    let mut files = save(&Files::default(), &followable(1, core::slice::from_ref(&one)));
    files = save(&files, &followable(2, core::slice::from_ref(&two)));
    // Of a save that a full disk cut short; the next one needs a part that it wrote, and the other's room.
    files.parts.extend([&left, &three].map(|(hash, part)| (*hash, part.bytes())));
    let steps = save_steps(&files, &followable(3, core::slice::from_ref(&three)));
    let remove = |part: &(Hash, Part)| DiskStep::Remove { name: part_name(&part.0) };
    assert_eq!((steps.first(), steps.last()), (Some(&remove(&left)), Some(&remove(&one))));
    assert_eq!(written(&steps), [CURRENT]);
    let left: Vec<Hash> = carry_out(&files, &steps).parts.into_keys().collect();
    let mut expected = vec![two.0, three.0];
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_copy_that_can_not_be_followed_does_not_push_out_the_one_before() {
    let one = pod(1, None);
    let unsound_body = saved(1, b"not the bytes that its hash is of");
    let mut flipped = encode(&followable(1, &[]));
    flipped[60] ^= 1;
    // The part that it refers to is not there.
    let lacks_part = encode(&followable(1, &[one]));
    for current in [
        None,
        Some(b"rubbish".to_vec()),
        Some(encode(&unsound_body)),
        Some(flipped),
        Some(lacks_part),
    ] {
        let files = Files { current, ..Files::default() };
        let steps = save_steps(&files, &followable(2, &[]));
        assert_eq!(renames(&steps), [(TEMPORARY, CURRENT)]);
    }
}

#[test]
fn an_assignment_that_is_there_already_is_not_written_again_but_made_to_last() {
    let one = followable(1, &[pod(1, None)]);
    let files = save(&Files::default(), &one);
    assert_eq!(save_steps(&files, &one), [DiskStep::SyncDir]);
    // Nor is one of which a part was lost, but for the part.
    let lacks = Files { parts: BTreeMap::new(), ..files };
    assert_eq!(written(&save_steps(&lacks, &one)).len(), 1);
}

#[test]
fn both_copies_are_loaded_newest_first_and_what_is_left_over_is_spare() {
    let data = config("a");
    let (new, old) = (followable(2, &[pod(2, Some(data.0)), data]), followable(1, &[pod(1, None)]));
    let mut files = save(&save(&Files::default(), &old), &new);
    let left = pod(3, None);
    files.parts.insert(left.0, left.1.bytes());
    files.parts.insert(Hash([9; 32]), b"torn".to_vec());
    let spare = BTreeMap::from([(left.0, left.1.bytes())]);
    let expected = Loaded { saved: vec![new, old], spare, ..Loaded::default() };
    assert_eq!(load(files), expected);
    assert_eq!(load(Files::default()), Loaded::default());
}

#[test]
fn an_assignment_whose_part_is_damaged_is_loaded_as_far_as_it_is_sound() {
    let one = followable(1, &[pod(1, None)]);
    let mut files = save(&Files::default(), &one);
    files.parts.values_mut().for_each(|bytes| bytes[3] ^= 1);
    let loaded = load(files);
    let error = assign::read(&loaded.saved[0]).expect_err("it can't be followed");
    assert!(error.ends_with("is missing or damaged"), "{error}");
}

#[test]
fn falling_back_to_the_one_before_is_never_silent() {
    let old = Some(encode(&followable(1, &[])));
    let mut flipped = encode(&followable(2, &[]));
    flipped[70] ^= 1;
    for current in [None, Some(Vec::new()), Some(b"rubbish".to_vec()), Some(flipped)] {
        let loaded = load(Files { current, previous: old.clone(), ..Files::default() });
        assert_eq!(loaded.saved, [followable(1, &[])]);
        assert_eq!(loaded.damage.len(), 1);
        assert!(loaded.damage[0].starts_with("assignment: "), "{:?}", loaded.damage);
    }
    let rubbish = || Some(b"rubbish".to_vec());
    let both = load(Files { current: rubbish(), previous: rubbish(), ..Files::default() });
    assert_eq!((both.saved.len(), both.damage.len()), (0, 2));
}

#[test]
fn one_changed_variable_on_a_device_with_100_pods_writes_less_than_64_kib() {
    let of = |n: u8, changed: u32| {
        let mut container = crate::test_support::container();
        container.env = crate::test_support::variables(10, changed);
        let (_, Part::Pod(mut pod)) = pod(n, None) else { unreachable!("a Pod") };
        Arc::make_mut(&mut pod).containers = List::try_from(vec![container]).expect("one");
        part(Part::Pod(pod))
    };
    let before: Vec<_> = (0..100).map(|n| of(n, 0)).collect();
    let after: Vec<_> = (0..100).map(|n| of(n, u32::from(n == 7))).collect();
    let files = save(&Files::default(), &followable(1, &before));
    let bytes: usize = save_steps(&files, &followable(2, &after))
        .iter()
        .map(|step| if let DiskStep::Write { bytes, .. } = step { bytes.len() } else { 0 })
        .sum();
    assert!(bytes <= 64 * 1024, "{bytes} bytes");
    assert!(bytes <= 6 * 1024, "{bytes} bytes: a body and one part");
}

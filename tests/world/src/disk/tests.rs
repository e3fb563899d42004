//! Whether the disk is as bad as it should be, and whether the agent's way to save survives it.

use fastrand::Rng;
use firmware_compat::{
    frame::decode_body,
    id::{Generation, Hash, Lineage},
    v1::owned::{Assignment, AssignmentId},
};
use lichen_agent_core::{
    SavedAssignment,
    config::Parts,
    saved::{CURRENT, DiskStep, LOAD_STEPS, Loaded, load, save_steps},
};
use sha2::{Digest, Sha256};

use super::Disk;

const SEEDS: u64 = 10_000;

/// One that an agent can follow: it assigns nothing, which is a list of no Pods and one of no claims.
fn assignment(generation: u64) -> SavedAssignment {
    let body = vec![0, 0];
    assert_eq!(decode_body(&body), Ok(Assignment::default()));
    let id = AssignmentId {
        lineage: Lineage([1; 16]),
        generation: Generation(generation),
        hash: Hash(Sha256::digest(&body).into()),
    };
    SavedAssignment { id, body, parts: Parts::new() }
}

fn steps(disk: &Disk, generation: u64) -> Vec<DiskStep> {
    save_steps(&disk.saved(), &assignment(generation))
}

fn save(disk: &mut Disk, generation: u64) -> Result<(), &'static str> {
    steps(disk, generation).iter().try_for_each(|step| disk.step(step))
}

/// What an agent that starts finds.
fn start(disk: &mut Disk) -> Loaded {
    for step in &LOAD_STEPS {
        disk.step(step).expect("a sync of the directory");
    }
    load(disk.saved())
}

/// The generation in force; 0 for none.
fn newest(loaded: &Loaded) -> u64 {
    loaded.saved.first().map_or(0, |saved| saved.id.generation.0)
}

/// A disk on which generations 1 to `last` were saved.
fn disk_with(last: u64) -> Disk {
    let mut disk = Disk::default();
    for generation in 1..=last {
        save(&mut disk, generation).expect("there is room");
    }
    disk
}

#[test]
fn a_power_cut_after_any_step_leaves_what_was_acknowledged_or_what_was_being_saved() {
    for seed in 0..SEEDS {
        let dice = &mut Rng::with_seed(seed);
        let before = dice.u64(..3);
        let disk = disk_with(before);
        for done in 0..=steps(&disk, before + 1).len() {
            let mut disk = disk.clone();
            let steps = steps(&disk, before + 1);
            for step in &steps[..done] {
                disk.step(step).expect("there is room");
            }
            disk.power_cut(dice);
            let found = newest(&start(&mut disk));
            let least = if done == steps.len() { before + 1 } else { before };
            assert!((least..=before + 1).contains(&found), "seed {seed}, {done} steps: {found}");
        }
    }
}

#[test]
fn over_many_cuts_kills_full_disks_and_failed_syncs_nothing_acknowledged_is_lost() {
    for seed in 0..SEEDS {
        let dice = &mut Rng::with_seed(seed);
        let mut disk = Disk::default();
        let mut acknowledged = 0;
        for _ in 0..8 {
            let wanted = acknowledged + 1;
            disk.full = dice.u8(..8) == 0;
            let steps = steps(&disk, wanted);
            let done = dice.usize(..=steps.len());
            let result = steps[..done].iter().try_for_each(|step| disk.step(step));
            if result.is_ok() && done == steps.len() {
                acknowledged = wanted;
            }
            match dice.u8(..3) {
                // The step after these failed: the same agent tries again.
                0 => continue,
                1 => disk.power_cut(dice),
                // It was killed.
                _ => {}
            }
            let found = newest(&start(&mut disk));
            assert!((acknowledged..=wanted).contains(&found), "seed {seed}: {found} of {wanted}");
            // This is what its Hello says.
            acknowledged = found;
        }
    }
}

#[test]
fn rot_makes_the_device_fall_back_by_one_generation_and_say_so_and_come_forward_again() {
    for seed in 0..SEEDS / 10 {
        let dice = &mut Rng::with_seed(seed);
        let mut disk = disk_with(3);
        assert!(disk.rot(CURRENT, dice));
        let loaded = start(&mut disk);
        assert_eq!((newest(&loaded), loaded.damage.len()), (2, 1), "seed {seed}");
        let steps = steps(&disk, 3);
        let done = dice.usize(..=steps.len());
        for step in &steps[..done] {
            disk.step(step).expect("there is room");
        }
        disk.power_cut(dice);
        let found = newest(&start(&mut disk));
        let least = if done == steps.len() { 3 } else { 2 };
        assert!((least..=3).contains(&found), "seed {seed}, {done} steps: {found}");
    }
}

#[test]
fn never_does_a_cut_leave_the_device_on_an_older_copy_without_a_word() {
    for seed in 0..SEEDS {
        let dice = &mut Rng::with_seed(seed);
        let mut disk = disk_with(2);
        let steps = steps(&disk, 3);
        for step in &steps[..dice.usize(..=steps.len())] {
            disk.step(step).expect("there is room");
        }
        disk.power_cut(dice);
        let is_from_previous = disk.read(CURRENT).is_none();
        assert_eq!(start(&mut disk).damage.len(), usize::from(is_from_previous), "seed {seed}");
    }
}

/// In how many of a thousand power cuts after saving generation 3 an agent that leaves out steps has lost it.
fn losses(leave_out: impl Fn(&DiskStep) -> bool) -> usize {
    let is_lost = |seed: &u64| {
        let mut disk = disk_with(2);
        for step in steps(&disk, 3).iter().filter(|step| !leave_out(step)) {
            disk.step(step).expect("there is room");
        }
        disk.power_cut(&mut Rng::with_seed(*seed));
        newest(&start(&mut disk)) != 3
    };
    (0..1000).filter(is_lost).count()
}

#[test]
fn the_disk_punishes_every_sync_that_is_left_out() {
    assert_eq!(losses(|_| false), 0);
    assert!(losses(|step| matches!(step, DiskStep::Sync { .. })) > 100);
    assert!(losses(|step| matches!(step, DiskStep::SyncDir)) > 100);
}

#[test]
fn what_a_killed_agent_left_does_not_last_without_the_sync_at_the_start() {
    let survives = |seed: u64, sync: bool| {
        let mut disk = disk_with(2);
        let steps = steps(&disk, 3);
        for step in &steps[..steps.len() - 1] {
            disk.step(step).expect("there is room");
        }
        if sync {
            assert_eq!(newest(&start(&mut disk)), 3);
        }
        disk.power_cut(&mut Rng::with_seed(seed));
        newest(&start(&mut disk)) == 3
    };
    assert!((0..1000).all(|seed| survives(seed, true)));
    assert!(!(0..1000).all(|seed| survives(seed, false)));
}

#[test]
fn unrelated_names_may_last_out_of_order_and_one_name_never() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..1000 {
        let mut disk = Disk::default();
        for (name, bytes) in [("a", b"1"), ("b", b"2")] {
            disk.write(name, bytes).expect("there is room");
            disk.sync(name).expect("it is there");
        }
        disk.rename("a", "c").expect("it is there");
        disk.power_cut(&mut Rng::with_seed(seed));
        seen.insert(["a", "b", "c"].map(|name| disk.read(name).is_some()));
    }
    let possible =
        [[false, false, false], [true, false, false], [false, false, true], [false, true, false]];
    let with_b = [[true, true, false], [false, true, true]];
    assert_eq!(seen, possible.into_iter().chain(with_b).collect());
}

#[test]
fn a_full_disk_leaves_an_empty_file_and_the_old_one_as_it_was() {
    let mut disk = Disk::default();
    disk.replace("hub", b"old").expect("there is room");
    let written = disk.written;
    disk.full = true;
    assert_eq!(disk.replace("hub", b"newer"), Err("no space left on device"));
    assert_eq!(disk.read("hub"), Some(&b"old"[..]));
    assert_eq!(disk.read("hub.new"), Some(&b""[..]));
    assert_eq!(disk.written, written);
    disk.full = false;
    disk.replace("hub", b"newer").expect("there is room");
    disk.power_cut(&mut Rng::with_seed(1));
    assert_eq!(disk.read("hub"), Some(&b"newer"[..]));
}

#[test]
fn rot_lasts_and_a_wiped_disk_is_empty() {
    let mut disk = disk_with(1);
    let dice = &mut Rng::with_seed(1);
    assert!(!disk.rot("nothing", dice));
    let sound = disk.read(CURRENT).map(<[u8]>::to_vec);
    assert!(disk.rot(CURRENT, dice));
    assert_ne!(disk.read(CURRENT), sound.as_deref());
    let rotten = disk.read(CURRENT).map(<[u8]>::to_vec);
    disk.power_cut(dice);
    assert_eq!(disk.read(CURRENT), rotten.as_deref());
    disk.wipe();
    disk.power_cut(dice);
    assert_eq!(disk.read(CURRENT), None);
    assert!(disk.written > 0);
}

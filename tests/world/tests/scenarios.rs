//! One story per file under `scenarios/`: lines that begin with `$ ` are steps, what follows each is what happened,
//! recorded. `UPDATE_SCENARIOS=1 cargo test -p lichen-world --test scenarios` records them anew: read the difference.

use std::{fmt::Write as _, fs, path::Path};

use lichen_world::{World, step::Step};

/// Runs a story and returns it with what happened now.
fn tell(text: &str, name: &str) -> String {
    let external = !text.contains("\n$ broker embedded\n");
    let mut world = World::new(1, external);
    let mut told = String::new();
    let mut started = false;
    let mut number = 0;
    for line in text.lines() {
        let Some(step) = line.strip_prefix("$ ") else {
            if !started {
                let _ = writeln!(told, "{line}");
            }
            continue;
        };
        started = true;
        number += 1;
        if step != "broker embedded" {
            let step = Step::parse(step, number);
            world.step(&step).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let _ = writeln!(told, "$ {step}");
        for line in world.story.take() {
            // The step itself is told, too; here it stands above.
            if !line.contains("  # ") {
                let _ = writeln!(told, "{}", line.trim_end());
            }
        }
        if let Some(verdict) = world.verdict() {
            panic!("{name}: after `{step}`: {}: {}\n{told}", verdict.check, verdict.what);
        }
    }
    told
}

#[test]
fn every_story_goes_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut differing = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&dir).expect("the folder of stories") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let recorded = fs::read_to_string(&path).expect("a story can be read");
        let told = tell(&recorded, &name);
        if told == recorded {
            continue;
        }
        if update {
            fs::write(&path, told).expect("a story can be written");
        } else {
            let first = told.lines().zip(recorded.lines()).find(|(now, then)| now != then);
            let (now, then) = first.unwrap_or(("(more lines or fewer)", ""));
            differing.push(format!("{name}:\n  recorded: {then}\n  now:      {now}"));
        }
    }
    assert!(count >= 12, "{count} stories");
    assert!(
        differing.is_empty(),
        "{}\nIf that is right: UPDATE_SCENARIOS=1 cargo test -p lichen-world --test scenarios",
        differing.join("\n")
    );
}

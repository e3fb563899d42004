//! The steps of a quickstart, as they are told.

use crate::cli::ui::{Level, Tone, Ui, plain};

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The hub.
    Hub,
    /// The device.
    Device,
    /// Its images.
    Images,
    /// Its workloads.
    Manifests,
    /// Until they run.
    Run,
}

impl Step {
    const EVERY: [Self; 5] = [Self::Hub, Self::Device, Self::Images, Self::Manifests, Self::Run];

    fn words(self) -> &'static str {
        match self {
            Self::Hub => "starting a hub",
            Self::Device => "starting a device, which tries its container runtimes",
            Self::Images => "pushing a WebAssembly module and a container image",
            Self::Manifests => "applying a manifest for each",
            Self::Run => "waiting until both run",
        }
    }
}

/// Says what is done next, before it takes its time.
pub fn begin(ui: &mut Ui, step: Step) {
    let number = Step::EVERY.iter().position(|every| *every == step).unwrap_or_default() + 1;
    let lead = ui.tinted(&format!("[{number}/{}]", Step::EVERY.len()), Tone::Bold);
    say(ui, &format!("{lead} {}", step.words()));
}

/// Says what came of it.
pub fn tell(ui: &mut Ui, text: &str) {
    say(ui, &format!("      {}", plain(text)));
}

fn say(ui: &mut Ui, text: &str) {
    if ui.level > Level::Quiet {
        // What was said is shown again with the next error, if stdout can't be written.
        let _ = ui.line(text);
    }
}

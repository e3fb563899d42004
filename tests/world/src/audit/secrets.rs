//! Checks that what is secret is in clear nowhere but under the seals: not in frames, not on disks, not in the story.
//! Every value begins with the same mark, which stands for nothing else in the world.

use firmware_compat::v1::owned::{ConfigData, Secret};
use lichen_agent_core::PodSpec;
use lichen_hub_core::{effect::Record, record};

use crate::{
    World,
    declared::{Spec, Thing},
    manifests::{MARK, MARK_IN_BASE64, secret_value},
};

/// Whether a value is there, as it is or as the API writes it.
fn shows(bytes: &[u8]) -> bool {
    let found = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    found(MARK.as_bytes()) || found(MARK_IN_BASE64.as_bytes())
}

impl World {
    /// Something passes by that anybody may see.
    pub(crate) fn judge_openness(&mut self, what: &str, bytes: &[u8]) {
        if self.has_secrets && shows(bytes) {
            self.fail("secrets-stay-sealed", &format!("{what} shows one"));
        }
    }

    /// A hub writes records: its shell encrypts those that are confidential.
    pub(crate) fn judge_records(&mut self, records: &[Record]) {
        let open = records.iter().filter(|record| !record::is_confidential(&record.key));
        let mut shown = open.filter(|record| record.value.as_deref().is_some_and(shows));
        if self.has_secrets
            && let Some(shown) = shown.next()
        {
            let what = format!("record {} shows one and is not encrypted", shown.key);
            self.fail("secrets-stay-sealed", &what);
        }
    }

    /// After a step: every disk.
    pub(crate) fn look_at_disks(&mut self) {
        let shown = self.boards.iter().filter(|_| self.has_secrets).find_map(|board| {
            Some(format!("file {} of {} shows one", board.disk.find(shows)?, board.label))
        });
        if let Some(shown) = shown {
            self.fail("secrets-stay-sealed", &shown);
        }
    }

    /// What a Pod on a board sees that is not what an operator last wrote.
    pub(crate) fn stale_secret(&self, board: usize, pod: &PodSpec) -> Option<String> {
        let (label, name) = (&self.boards[board].label, &pod.name);
        let opened = match self.boards[board].secrets(pod) {
            Ok(opened) => opened,
            Err(why) => return Some(format!("{name} on {label}: {why}")),
        };
        let stale = |secret: &Secret, seen: &ConfigData| {
            let declared = self.declared.certain(&Thing::Secret(secret.name.to_string()));
            let Some(Spec::Secret(version)) = declared else { return false };
            let value = secret_value(*version);
            !seen.files.iter().any(|file| file.data[..] == *value.as_bytes())
        };
        let stale = pod.secrets.iter().zip(&opened).find(|(secret, seen)| stale(secret, seen));
        stale.map(|(secret, _)| format!("{name} on {label} sees an old Secret {}", secret.name))
    }
}

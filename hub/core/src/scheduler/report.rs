//! Why Pods could not be placed, in one sentence.

use alloc::{collections::BTreeMap, format, vec::Vec};
use core::cmp::Reverse;

use super::filter::FilterReason;
use crate::pod::Waiting;

/// Names shown per reason; the rest is counted.
const SHOWN: usize = 3;

/// Reasons as one sentence: `0 of 3 devices can take it: a, b (lacks label site=x); c (is not connected)`.
#[must_use]
pub fn summarise(refused: &[(&str, FilterReason)], devices: usize) -> Waiting {
    if devices == 0 {
        return Waiting::new(
            "NoDevices",
            "no device has joined this hub; start one with: lichen-agent --hub URL",
        );
    }
    let mut by_reason: BTreeMap<&FilterReason, Vec<&str>> = BTreeMap::new();
    for (name, reason) in refused {
        by_reason.entry(reason).or_default().push(name);
    }
    let mut groups: Vec<_> = by_reason.into_iter().collect();
    for (_, names) in &mut groups {
        names.sort_unstable();
    }
    groups.sort_by_key(|(_, names)| Reverse(names.len()));
    let preparing = groups.iter().any(|(reason, _)| matches!(reason, FilterReason::Preparing(_)));
    let mut message = format!("0 of {devices} devices can take it");
    for (index, (reason, names)) in groups.into_iter().enumerate() {
        message.push_str(if index == 0 { ": " } else { "; " });
        for (position, name) in names.iter().take(SHOWN).enumerate() {
            message.push_str(if position == 0 { "" } else { ", " });
            message.push_str(name);
        }
        if names.len() > SHOWN {
            message.push_str(&format!(" and {} more", names.len() - SHOWN));
        }
        message.push_str(&format!(" ({})", reason.describe()));
    }
    Waiting::new(if preparing { "PreparingImage" } else { "NoDeviceFits" }, message)
}

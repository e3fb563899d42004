//! The last words of containers, cut so that the status of their Pod fits a frame.

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{ContainerState, ContainerStatus, Exit, List, PodStatus, Text},
};

/// Gives every last word its share of what a Pod's status has room for, as Kubernetes does.
pub fn fit(status: &mut PodStatus) {
    let all = || status.init_containers.iter().chain(&status.containers[..]);
    let count = all().flat_map(exits).filter(|exit| !exit.message.is_empty()).count();
    let share = capacity::EXIT_MESSAGES / count.max(1);
    if all().flat_map(exits).all(|exit| exit.message.len() <= share) {
        return;
    }
    cut_each(&mut status.init_containers, share);
    cut_each(&mut status.containers, share);
}

fn exits(status: &ContainerStatus) -> impl Iterator<Item = &Exit> {
    let now = match &status.state {
        ContainerState::Terminated(exit) => Some(exit),
        _ => None,
    };
    now.into_iter().chain(&status.last_exit)
}

fn cut_each<const N: usize>(list: &mut List<ContainerStatus, N>, share: usize) {
    let mut all = core::mem::take(list).into_vec();
    for status in &mut all {
        if let ContainerState::Terminated(exit) = &mut status.state {
            cut(exit, share);
        }
        status.last_exit.iter_mut().for_each(|exit| cut(exit, share));
    }
    // As many as there were.
    *list = all.try_into().unwrap_or_default();
}

fn cut(exit: &mut Exit, share: usize) {
    let mut end = share.min(exit.message.len());
    while !exit.message.is_char_boundary(end) {
        end -= 1;
    }
    exit.message = Text::cut(&exit.message[..end]);
}

//! Probes, hooks and last words, as someone would write them who writes nothing that goes without saying.

use super::{
    super::{
        Container, Lifecycle, LifecycleHandler, Probe,
        probe::{HttpGet, TcpSocket},
    },
    unless,
};
use crate::resolve::supervision::{
    DEFAULT_FAILURES, DEFAULT_MESSAGE_PATH, DEFAULT_PERIOD_S, DEFAULT_SUCCESSES, DEFAULT_TIMEOUT_S,
};

/// What a field that is left out, or 0, means.
fn unless_usual(number: &mut Option<u32>, usual: u32) {
    number.take_if(|number| *number == 0 || *number == usual);
}

fn probe(probe: &mut Probe) {
    let Probe { http_get, tcp_socket, grpc, .. } = probe;
    handlers(http_get, tcp_socket);
    if let Some(grpc) = grpc {
        unless(&mut grpc.service, &[""]);
    }
    unless_usual(&mut probe.initial_delay_seconds, 0);
    unless_usual(&mut probe.timeout_seconds, DEFAULT_TIMEOUT_S);
    unless_usual(&mut probe.period_seconds, DEFAULT_PERIOD_S);
    unless_usual(&mut probe.success_threshold, DEFAULT_SUCCESSES);
    unless_usual(&mut probe.failure_threshold, DEFAULT_FAILURES);
}

fn handlers(http_get: &mut Option<HttpGet>, tcp_socket: &mut Option<TcpSocket>) {
    if let Some(get) = http_get {
        unless(&mut get.path, &["", "/"]);
        unless(&mut get.host, &[""]);
        unless(&mut get.scheme, &["", "HTTP"]);
    }
    if let Some(socket) = tcp_socket {
        unless(&mut socket.host, &[""]);
    }
}

pub(super) fn container(container: &mut Container) {
    for probe in [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ] {
        probe.iter_mut().for_each(self::probe);
    }
    let hooks = container.lifecycle.iter_mut().flat_map(|l| [&mut l.post_start, &mut l.pre_stop]);
    for LifecycleHandler { http_get, tcp_socket, .. } in hooks.flatten() {
        handlers(http_get, tcp_socket);
    }
    container.lifecycle.take_if(|lifecycle| *lifecycle == Lifecycle::default());
    unless(&mut container.termination_message_path, &["", DEFAULT_MESSAGE_PATH]);
    unless(&mut container.termination_message_policy, &["", "File"]);
}

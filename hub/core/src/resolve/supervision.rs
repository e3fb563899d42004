//! How containers are watched over: probes, hooks, sidecars, last words. The rules are Kubernetes'; what a Wasm module can't
//! do is refused here.

use alloc::{format, string::ToString, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{Handler, Header, Hook, List, Moment, Probe, Purpose, RuntimeClass, Supervision},
};

use super::{Check, Container, DEFAULT_GRACE_S, MAX_GRACE_S, is_no_path};
use crate::api::{
    core::pod::{
        self, LifecycleHandler, NumberOrName, PodSpec,
        probe::{Exec, Grpc, HttpGet, TcpSocket},
    },
    resource::RestartRule,
};

/// What goes without saying. Kubernetes' values.
pub(crate) const DEFAULT_TIMEOUT_S: u32 = 1;
pub(crate) const DEFAULT_PERIOD_S: u32 = 10;
pub(crate) const DEFAULT_SUCCESSES: u32 = 1;
pub(crate) const DEFAULT_FAILURES: u32 = 3;
pub(crate) const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";
/// Longest delay, period and timeout: more is a mistake in units.
const MAX_SECONDS: u32 = 24 * 3600;

const NO_PROGRAMS: &str =
    "a Wasm module has no programs beside it that could be run; use httpGet or tcpSocket";
const NO_NETWORK: &str =
    "a Wasm Pod without hostNetwork: true has no network on which it could be asked";

/// Whose handler it is.
struct Of<'a> {
    spec: &'a PodSpec,
    container: &'a pod::Container,
    engine: RuntimeClass,
}

/// A probe or a hook, whatever of the four it may have.
#[derive(Default)]
struct Handlers<'a> {
    exec: Option<&'a Exec>,
    http_get: Option<&'a HttpGet>,
    tcp_socket: Option<&'a TcpSocket>,
    grpc: Option<&'a Grpc>,
    sleep: Option<u32>,
}

impl Check {
    /// Adds to containers how they are watched over.
    pub(super) fn supervise(
        &mut self,
        at: &str,
        spec: &PodSpec,
        engine: RuntimeClass,
        (init, main): (&mut [Container], &mut [Container]),
    ) {
        let lists = [
            ("initContainers", &spec.init_containers, init),
            ("containers", &spec.containers, main),
        ];
        for (list, written, resolved) in lists {
            for (i, (container, resolved)) in written.iter().zip(resolved).enumerate() {
                let field = format!("{at}.{list}[{i}]");
                let sidecar = self.sidecar(&field, container, list == "initContainers");
                let of = Of { spec, container, engine };
                if list == "initContainers" && !sidecar {
                    self.ends(&field, container);
                }
                resolved.supervision = self.supervision(&field, &of, sidecar);
            }
        }
    }

    /// `activeDeadlineSeconds`; 0 for none.
    pub(super) fn active_deadline(&mut self, at: &str, spec: &PodSpec) -> u32 {
        let Some(seconds) = spec.active_deadline_seconds else { return 0 };
        let field = format!("{at}.activeDeadlineSeconds");
        if self.rule == RestartRule::Always {
            let cause = "is not possible here: Deployments and DaemonSets keep their Pods running; it is for Jobs and single Pods";
            self.error(field, cause);
        } else if seconds == 0 {
            self.error(field, "0 must be at least 1");
        }
        seconds
    }

    fn sidecar(&mut self, at: &str, container: &pod::Container, is_init: bool) -> bool {
        let field = format!("{at}.restartPolicy");
        match container.restart_policy.as_deref() {
            None => false,
            Some(other) if !is_init => {
                self.error(
                    field,
                    format!("\"{other}\" is not possible here: a container goes by the Pod's restartPolicy; only init containers may have one of their own, \"Always\""),
                );
                false
            }
            Some("Always") => true,
            Some(other) => {
                self.error(
                    field,
                    format!("\"{other}\" must be \"Always\", which makes the init container a sidecar, or left out"),
                );
                false
            }
        }
    }

    /// An init container that runs to its end has nothing to be asked.
    fn ends(&mut self, at: &str, container: &pod::Container) {
        let fields = [
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
            ("lifecycle", container.lifecycle.is_some()),
        ];
        for (name, _) in fields.into_iter().filter(|(_, given)| *given) {
            self.error(
                format!("{at}.{name}"),
                "is not possible for an init container, which runs to its end; restartPolicy: Always makes it a sidecar, which may have one",
            );
        }
    }

    fn supervision(&mut self, at: &str, of: &Of<'_>, sidecar: bool) -> Supervision {
        let container = of.container;
        let mut probes = List::default();
        for (name, purpose, probe) in [
            ("startupProbe", Purpose::Startup, &container.startup_probe),
            ("livenessProbe", Purpose::Liveness, &container.liveness_probe),
            ("readinessProbe", Purpose::Readiness, &container.readiness_probe),
        ] {
            let Some(probe) = probe else { continue };
            let probe = self.probe(&format!("{at}.{name}"), purpose, probe, of);
            // One for each purpose.
            let _ = probe.map(|probe| probes.push(probe));
        }
        let mut hooks = List::default();
        if let Some(lifecycle) = &container.lifecycle {
            for (name, moment, handler) in [
                ("postStart", Moment::PostStart, &lifecycle.post_start),
                ("preStop", Moment::PreStop, &lifecycle.pre_stop),
            ] {
                let Some(handler) = handler else { continue };
                let action = self.hook(&format!("{at}.lifecycle.{name}"), handler, of);
                let _ = action.map(|action| hooks.push(Hook { moment, action }));
            }
        }
        let (message_path, message_from_log) = self.last_word(at, of);
        Supervision { probes, hooks, sidecar, message_path, message_from_log }
    }

    fn last_word(
        &mut self,
        at: &str,
        of: &Of<'_>,
    ) -> (firmware_compat::v1::owned::Text<{ capacity::MESSAGE_PATH }>, bool) {
        let field = format!("{at}.terminationMessagePath");
        let written = of.container.termination_message_path.as_deref().unwrap_or_default();
        let path = if written == DEFAULT_MESSAGE_PATH { "" } else { written };
        if !path.is_empty() {
            if of.engine == RuntimeClass::Wasm {
                self.error(
                    field.clone(),
                    "a Wasm module is given directories, not single files; use terminationMessagePolicy: FallbackToLogsOnError",
                );
            } else if !path.starts_with('/') || is_no_path(path) || path.ends_with('/') {
                self.error(
                    field.clone(),
                    format!("\"{path}\" must be the absolute path of a file, without \"..\""),
                );
            }
        }
        let from_log = match of.container.termination_message_policy.as_deref() {
            None | Some("" | "File") => false,
            Some("FallbackToLogsOnError") => true,
            Some(other) => {
                self.error(
                    format!("{at}.terminationMessagePolicy"),
                    format!("\"{other}\" must be \"File\" or \"FallbackToLogsOnError\""),
                );
                false
            }
        };
        (self.text(&field, path), from_log)
    }

    fn probe(
        &mut self,
        at: &str,
        purpose: Purpose,
        probe: &pod::Probe,
        of: &Of<'_>,
    ) -> Option<Probe> {
        let success_threshold = given(probe.success_threshold, DEFAULT_SUCCESSES);
        if purpose != Purpose::Readiness && success_threshold != 1 {
            self.error(
                format!("{at}.successThreshold"),
                format!("{success_threshold} must be 1: one good answer is enough here"),
            );
        }
        let grace_s = probe.termination_grace_period_seconds;
        let field = format!("{at}.terminationGracePeriodSeconds");
        match grace_s {
            Some(_) if purpose == Purpose::Readiness => {
                self.error(field, "a readiness probe stops nothing; leave it out");
            }
            Some(0) => self.error(field, "0 must be at least 1"),
            Some(grace_s) if grace_s > MAX_GRACE_S => {
                self.error(field, format!("{grace_s} is over a day; give at most {MAX_GRACE_S}"));
            }
            Some(_) | None => {}
        }
        let mut seconds = |name: &str, value: Option<u32>, default: u32| {
            let value = given(value, default);
            if value > MAX_SECONDS {
                self.error(
                    format!("{at}.{name}"),
                    format!("{value} is over a day; give at most {MAX_SECONDS}"),
                );
            }
            value
        };
        let initial_delay_s = seconds("initialDelaySeconds", probe.initial_delay_seconds, 0);
        let period_s = seconds("periodSeconds", probe.period_seconds, DEFAULT_PERIOD_S);
        let timeout_s = seconds("timeoutSeconds", probe.timeout_seconds, DEFAULT_TIMEOUT_S);
        let handlers = Handlers {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: None,
        };
        let action = self.handler(at, "exec, httpGet, tcpSocket or grpc", &handlers, of)?;
        Some(Probe {
            purpose,
            action,
            initial_delay_s,
            period_s,
            timeout_s,
            success_threshold,
            failure_threshold: given(probe.failure_threshold, DEFAULT_FAILURES),
            grace_ms: grace_s.unwrap_or(0).min(MAX_GRACE_S) * 1000,
        })
    }

    fn hook(&mut self, at: &str, hook: &LifecycleHandler, of: &Of<'_>) -> Option<Handler> {
        let grace_s = of.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_S);
        let sleep = hook.sleep.as_ref().map(|sleep| sleep.seconds);
        if let Some(seconds) = sleep.filter(|seconds| *seconds > grace_s) {
            self.error(
                format!("{at}.sleep.seconds"),
                format!("{seconds} must not be more than the Pod's terminationGracePeriodSeconds, which is {grace_s}"),
            );
        }
        let handlers = Handlers {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep,
        };
        self.handler(at, "exec, httpGet, tcpSocket or sleep", &handlers, of)
    }

    /// The one handler that is given.
    fn handler(
        &mut self,
        at: &str,
        all: &str,
        handlers: &Handlers<'_>,
        of: &Of<'_>,
    ) -> Option<Handler> {
        let mut found = Vec::new();
        if let Some(exec) = handlers.exec {
            found.push(self.exec(&format!("{at}.exec"), exec, of));
        }
        if let Some(get) = handlers.http_get {
            found.push(self.http_get(&format!("{at}.httpGet"), get, of));
        }
        if let Some(TcpSocket { port, host }) = handlers.tcp_socket {
            let at = format!("{at}.tcpSocket");
            self.has_network(&at, of);
            let port = self.port(&format!("{at}.port"), port, of);
            let host = host.as_deref().unwrap_or_default();
            self.is_host(&format!("{at}.host"), host);
            found.push(Handler::TcpSocket { host: self.text(&format!("{at}.host"), host), port });
        }
        if let Some(Grpc { port, service }) = handlers.grpc {
            let at = format!("{at}.grpc");
            self.has_network(&at, of);
            let port = self.port(&format!("{at}.port"), &NumberOrName::Number(*port), of);
            let service = service.as_deref().unwrap_or_default();
            found.push(Handler::Grpc {
                port,
                service: self.text(&format!("{at}.service"), service),
            });
        }
        if let Some(seconds) = handlers.sleep {
            found.push(Handler::Sleep { seconds });
        }
        match found.len() {
            0 => self.error(at, format!("must say how: {all}")),
            1 => {}
            many => self.error(at, format!("says how in {many} ways; give one of {all}")),
        }
        found.pop()
    }

    fn exec(&mut self, at: &str, exec: &Exec, of: &Of<'_>) -> Handler {
        let field = format!("{at}.command");
        if of.engine == RuntimeClass::Wasm {
            self.error(at, NO_PROGRAMS);
        }
        if exec.command.is_empty() {
            self.error(field.clone(), "must name a program");
        }
        self.count(&field, exec.command.len(), capacity::ARGUMENTS);
        let command = self.words(&field, &exec.command);
        Handler::Exec { command: command.try_into().unwrap_or_default() }
    }

    fn http_get(&mut self, at: &str, get: &HttpGet, of: &Of<'_>) -> Handler {
        self.has_network(at, of);
        let path = match get.path.as_deref().unwrap_or_default() {
            "" => "/".to_string(),
            path if path.starts_with('/') => path.to_string(),
            path => format!("/{path}"),
        };
        if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            self.error(
                format!("{at}.path"),
                "must not contain spaces or control characters; write them as %20 and so on",
            );
        }
        let tls = match get.scheme.as_deref() {
            None | Some("" | "HTTP") => false,
            Some("HTTPS") => true,
            Some(other) => {
                self.error(
                    format!("{at}.scheme"),
                    format!("\"{other}\" must be \"HTTP\" or \"HTTPS\""),
                );
                false
            }
        };
        let field = format!("{at}.httpHeaders");
        self.count(&field, get.http_headers.len(), capacity::HEADERS);
        let mut headers = List::default();
        for (i, header) in get.http_headers.iter().enumerate() {
            let at = format!("{field}[{i}]");
            if header.name.is_empty() || !header.name.bytes().all(is_token) {
                let cause = format!("\"{}\" is not the name of a header", header.name);
                self.error(format!("{at}.name"), cause);
            }
            if header.value.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
                self.error(format!("{at}.value"), "must not contain control characters");
            }
            let name = self.text(&format!("{at}.name"), &header.name);
            let value = self.text(&format!("{at}.value"), &header.value);
            // Too many were refused above.
            let _ = headers.push(Header { name, value });
        }
        let host = get.host.as_deref().unwrap_or_default();
        self.is_host(&format!("{at}.host"), host);
        let port = self.port(&format!("{at}.port"), &get.port, of);
        let (host, path) =
            (self.text(&format!("{at}.host"), host), self.text(&format!("{at}.path"), &path));
        Handler::HttpGet { host, port, path, tls, headers }
    }

    fn has_network(&mut self, at: &str, of: &Of<'_>) {
        if of.engine == RuntimeClass::Wasm && of.spec.host_network != Some(true) {
            self.error(at, NO_NETWORK);
        }
    }

    fn is_host(&mut self, at: &str, host: &str) {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]%".contains(&b);
        if !host.bytes().all(is_part) {
            self.error(at, format!("\"{host}\" is not a host name or an address"));
        }
    }

    fn port(&mut self, at: &str, port: &NumberOrName, of: &Of<'_>) -> u16 {
        let number = match port {
            NumberOrName::Number(number) => *number,
            NumberOrName::Name(name) => {
                let ports = &of.container.ports;
                let named = ports.iter().find(|port| port.name.as_ref() == Some(name));
                let Some(named) = named else {
                    let cause = match name.bytes().all(|b| b.is_ascii_digit()) {
                        true => format!(
                            "\"{name}\" in quotes is the name of a port; write {name} for the number"
                        ),
                        false => format!("no port of the container has the name \"{name}\""),
                    };
                    self.error(at, cause);
                    return 1;
                };
                named.container_port
            }
        };
        match u16::try_from(number) {
            Ok(number) if number > 0 => number,
            _ => {
                self.error(at, format!("{number} must be 1 to 65535"));
                1
            }
        }
    }
}

/// What is written, unless it is 0, which says nothing.
fn given(value: Option<u32>, default: u32) -> u32 {
    value.filter(|value| *value != 0).unwrap_or(default)
}

/// RFC 9110, `tchar`.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests;

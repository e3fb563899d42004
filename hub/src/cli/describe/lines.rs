//! Fields in columns, and the parts that several kinds share: containers, volumes, placement.

use lichen_hub_core::api::{
    core::pod::{Container, ContainerState, ContainerStatus, PodSpec, PodTemplate, Volume},
    meta::Map,
};

use crate::cli::ui::plain;

/// Column of the values.
const VALUES: usize = 15;

/// Lines of a description. Empty values are left out.
#[derive(Default)]
pub struct Lines(Vec<String>);

impl Lines {
    pub fn field(&mut self, name: &str, value: &str) {
        self.at("", name, value);
    }

    pub fn inner(&mut self, name: &str, value: &str) {
        self.at("  ", name, value);
    }

    pub fn heading(&mut self, name: &str) {
        self.0.push(format!("{}:", plain(name)));
    }

    /// A line of somebody's text.
    pub fn raw(&mut self, line: &str) {
        self.0.push(format!("    {}", plain(line)));
    }

    /// A field with several values, one per line.
    pub fn list(&mut self, name: &str, values: &[String]) {
        let mut label = name;
        for value in values {
            self.at("", label, value);
            label = "";
        }
    }

    pub fn map(&mut self, name: &str, map: &Map) {
        let values: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.list(name, &values);
    }

    /// A text of several lines keeps them, below each other.
    fn at(&mut self, margin: &str, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let label =
            if name.is_empty() { String::new() } else { format!("{margin}{}:", plain(name)) };
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        self.0.push(format!("{label:VALUES$} {}", plain(first)));
        self.0.extend(lines.map(|line| format!("{:VALUES$} {}", "", plain(line))));
    }

    pub fn into_text(self) -> Vec<String> {
        self.0
    }
}

pub fn template(template: &PodTemplate, lines: &mut Lines) {
    let spec = &template.spec;
    lines.field("Runtime", spec.runtime_class_name.as_deref().unwrap_or("container"));
    for spec in &spec.containers {
        lines.heading(&format!("Container {}", spec.name));
        container(spec, lines);
    }
    volumes(spec, lines);
    placement(spec, lines);
}

pub fn container(spec: &Container, lines: &mut Lines) {
    lines.inner("Image", &spec.image);
    lines.inner("Command", &spec.command.join(" "));
    lines.inner("Args", &spec.args.join(" "));
    lines.inner("Directory", spec.working_dir.as_deref().unwrap_or_default());
    for variable in &spec.env {
        lines.inner("Env", &format!("{}={}", variable.name, variable.value));
    }
    for port in &spec.ports {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        lines.inner("Port", &format!("{}/{protocol}", port.container_port));
    }
    for (name, amounts) in
        [("Requests", &spec.resources.requests), ("Limits", &spec.resources.limits)]
    {
        let amounts: Vec<String> =
            amounts.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
        lines.inner(name, &amounts.join(", "));
    }
    for mount in &spec.volume_mounts {
        let access = if mount.read_only == Some(true) { " (read only)" } else { "" };
        lines.inner("Mount", &format!("{} from {}{access}", mount.mount_path, mount.name));
    }
}

pub fn container_status(status: &ContainerStatus, lines: &mut Lines) {
    lines.inner("State", &state(&status.state));
    lines.inner("Last state", &state(&status.last_state));
    lines.inner("Ready", if status.ready { "yes" } else { "no" });
    lines.inner("Restarts", &status.restart_count.to_string());
    lines.inner("Image id", &status.image_id);
}

fn state(state: &ContainerState) -> String {
    let because =
        |message: &str| if message.is_empty() { String::new() } else { format!(": {message}") };
    if let Some(running) = &state.running {
        let since = running.started_at.as_deref().map(|at| format!(" since {at}"));
        return format!("running{}", since.unwrap_or_default());
    }
    if let Some(ended) = &state.terminated {
        let at = ended.finished_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        return format!(
            "ended with code {} ({}){at}{}",
            ended.exit_code,
            ended.reason,
            because(&ended.message)
        );
    }
    match &state.waiting {
        Some(waiting) => format!("waiting ({}){}", waiting.reason, because(&waiting.message)),
        None => String::new(),
    }
}

pub fn volumes(spec: &PodSpec, lines: &mut Lines) {
    if spec.volumes.is_empty() {
        return;
    }
    lines.heading("Volumes");
    for volume in &spec.volumes {
        lines.inner(&volume.name, &source(volume));
    }
}

fn source(volume: &Volume) -> String {
    if let Some(map) = &volume.config_map {
        return format!("configmap/{}", map.name);
    }
    if let Some(host) = &volume.host_path {
        return format!("{} of the device", host.path);
    }
    match volume.empty_dir.as_ref().and_then(|empty| empty.medium.as_deref()) {
        Some("Memory") => "an empty directory in memory".to_owned(),
        _ => "an empty directory".to_owned(),
    }
}

pub fn placement(spec: &PodSpec, lines: &mut Lines) {
    lines.map("Node selector", &spec.node_selector);
    let tolerations: Vec<String> = spec
        .tolerations
        .iter()
        .map(|toleration| {
            let key = if toleration.key.is_empty() { "every taint" } else { &toleration.key };
            let value = if toleration.value.is_empty() {
                String::new()
            } else {
                format!("={}", toleration.value)
            };
            let effect = if toleration.effect.is_empty() {
                String::new()
            } else {
                format!(":{}", toleration.effect)
            };
            let time =
                toleration.toleration_seconds.map(|s| format!(" for {s} s")).unwrap_or_default();
            format!("{key}{value}{effect}{time}")
        })
        .collect();
    lines.list("Tolerates", &tolerations);
}

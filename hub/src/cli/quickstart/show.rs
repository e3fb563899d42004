//! How far the workloads of a quickstart are, and the table that shows it.

use lichen_hub_core::api::{Key, Kind};
use serde_json::Value;

use super::{DEVICE, MANIFESTS};
use crate::{
    cli::{
        Context,
        client::{Form, Item, Listing, Selectors},
        discovery::{ApiResource, ObjectRef},
        error::CliError,
        explain, get,
        kinds::DEFAULT_NAMESPACE,
        table::{Cell, Table},
        ui::{Tone, Ui},
        workload::pods_of,
    },
    manifest::decode::kind_of,
};

/// How agents begin the reason of a runtime that isn't there.
const NOT_INSTALLED: &str = "not installed";

/// How far a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Runs,
    /// It is on its way.
    OnItsWay,
    /// This machine can't run it.
    CannotRun,
}

/// One workload.
pub struct Row {
    /// Its kind and name.
    pub workload: ObjectRef,
    /// `deployment/hello-wasm`.
    pub name: String,
    /// What runs it.
    pub runtime: String,
    /// How far it is.
    pub state: State,
    /// One word for that, or why it waits.
    pub text: String,
    /// Its Pod.
    pub pod: Option<ObjectRef>,
}

/// How far all workloads are.
pub struct Progress {
    /// One for each.
    pub rows: Vec<Row>,
}

impl Progress {
    /// Asks the hub.
    ///
    /// # Errors
    /// It can't be reached.
    pub fn read(context: &Context) -> Result<Self, CliError> {
        let node = ObjectRef::known(&Key::new(Kind::Node, "", DEVICE));
        let node = context.client.read(&node)?.unwrap_or_default();
        let pods = context.client.list(
            &ApiResource::known(Kind::Pod),
            Some(DEFAULT_NAMESPACE),
            &Selectors::default(),
            Form::RowsAndObjects,
        )?;
        let rows = workloads().into_iter().map(|workload| row(context, workload, &node, &pods));
        Ok(Self { rows: rows.collect::<Result<_, _>>()? })
    }

    /// Whether everything runs that can.
    pub fn is_settled(&self) -> bool {
        self.rows.iter().all(|row| row.state != State::OnItsWay)
            && self.rows.iter().any(|row| row.state == State::Runs)
    }
}

/// What the manifests declare.
fn workloads() -> Vec<ObjectRef> {
    let mut keys = Vec::new();
    for (_, text) in MANIFESTS {
        let document = crate::manifest::value(text).unwrap_or_default();
        if let (Some(Ok(kind)), Some(name)) =
            (document.as_object().map(kind_of), document["metadata"]["name"].as_str())
        {
            keys.push(ObjectRef::known(&Key::new(kind, DEFAULT_NAMESPACE, name)));
        }
    }
    keys
}

fn row(
    context: &Context,
    workload: ObjectRef,
    node: &Value,
    pods: &Listing,
) -> Result<Row, CliError> {
    let value = context.client.read(&workload)?.unwrap_or_default();
    let class = value["spec"]["template"]["spec"]["runtimeClassName"].as_str().unwrap_or("crun");
    let runtime = if class == "crun" { "container" } else { class }.to_owned();
    let name = workload.label();
    // While a template is replaced, the old Pod may still be there: the newest one counts.
    let owned = pods_of(context, &workload)?;
    let is_own = |pod: &&Item| {
        owned.iter().any(|own| own["metadata"]["uid"] == pod.object["metadata"]["uid"])
            && pod.object["metadata"]["deletionTimestamp"].is_null()
    };
    let own = pods.items.iter().filter(is_own);
    let newest = own.max_by_key(|pod| pod.meta("creationTimestamp").to_owned());
    if let Some(text) = unusable(node, class) {
        return Ok(Row { workload, name, runtime, state: State::CannotRun, text, pod: None });
    }
    let Some(item) = newest else {
        let text = reason(context, &workload);
        return Ok(Row { workload, name, runtime, state: State::OnItsWay, text, pod: None });
    };
    let status = &item.object["status"];
    let containers = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let runs = !containers.is_empty() && containers.iter().all(|one| one["ready"] == true);
    let word = word(pods, item);
    let text = match status["message"].as_str() {
        Some(message) if !runs && !message.is_empty() => format!("{word}: {message}"),
        _ => word,
    };
    let state = if runs { State::Runs } else { State::OnItsWay };
    let key = Key::new(Kind::Pod, item.meta("namespace"), item.name());
    Ok(Row { workload, name, runtime, state, text, pod: Some(ObjectRef::known(&key)) })
}

/// The one word that the hub has for a Pod's state.
fn word(pods: &Listing, pod: &Item) -> String {
    let cells = pods.columns.iter().zip(&pod.cells);
    let mut states = cells.filter(|(column, _)| column.name == "Status");
    states.next().map(|(_, cell)| get::text(cell)).unwrap_or_default()
}

/// Why the device can't run a class of workloads at all; `None` if it can.
fn unusable(node: &Value, class: &str) -> Option<String> {
    let runtimes = node["status"]["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_class = || runtimes.iter().filter(|runtime| runtime["class"] == class);
    if of_class().any(|runtime| runtime["usable"] == true) {
        return None;
    }
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for runtime in of_class() {
        let word = |name: &str| runtime[name].as_str().unwrap_or_default();
        match reasons.iter_mut().find(|(reason, _)| *reason == word("reason")) {
            Some((_, names)) => names.push(word("name")),
            None => reasons.push((word("reason").to_owned(), vec![word("name")])),
        }
    }
    // One that is there says more than one that isn't.
    if reasons.iter().any(|(reason, _)| !reason.starts_with(NOT_INSTALLED)) {
        reasons.retain(|(reason, _)| !reason.starts_with(NOT_INSTALLED));
    }
    Some(match reasons.is_empty() {
        true if class == "crun" => {
            "this device has no OCI runtime; install crun, runc or youki".to_owned()
        }
        true => format!("this device has no runtime for {class}"),
        false => {
            let said =
                reasons.iter().map(|(reason, names)| format!("{}: {reason}", names.join(", ")));
            said.collect::<Vec<_>>().join("; ")
        }
    })
}

/// Why a workload has no Pod yet.
fn reason(context: &Context, workload: &ObjectRef) -> String {
    let lines = explain::lines(context, workload).unwrap_or_default();
    let why = lines.iter().skip(1).find(|line| !line.good);
    why.map_or_else(|| "waiting for a device".to_owned(), |line| line.text.clone())
}

/// Whether a device is connected.
pub fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Architecture and usable runtimes.
pub fn abilities(node: &Value) -> String {
    let arch = node["status"]["nodeInfo"]["architecture"].as_str().unwrap_or("unknown");
    let runtimes = node["status"]["runtimes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let usable: Vec<&str> = runtimes
        .iter()
        .filter(|runtime| runtime["usable"] == true)
        .filter_map(|runtime| runtime["name"].as_str())
        .collect();
    match usable.is_empty() {
        true => format!("{arch}, without a runtime"),
        false => format!("{arch} with {}", usable.join(", ")),
    }
}

/// The table as it was drawn last.
#[derive(Default)]
pub struct Drawing {
    lines: Vec<String>,
}

impl Drawing {
    /// Draws the table: over the last one on a terminal; elsewhere only lines that changed.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn draw(&mut self, ui: &mut Ui, progress: &Progress) -> std::io::Result<()> {
        let lines = table(progress).lines(ui);
        if ui.terminal {
            if lines != self.lines {
                let mut text = match self.lines.len() {
                    0 => String::new(),
                    // Up to the first line, and everything below it is cleared.
                    above => format!("\u{1b}[{above}A\u{1b}[J"),
                };
                for line in &lines {
                    text.push_str(line);
                    text.push('\n');
                }
                ui.write(text.as_bytes())?;
            }
        } else {
            for (index, line) in lines.iter().enumerate() {
                let said =
                    self.lines.get(index).is_some_and(|before| squeezed(before) == squeezed(line));
                if !said {
                    ui.line(line)?;
                }
            }
        }
        self.lines = lines;
        Ok(())
    }

    /// Something else was written below: the next table stands for itself.
    pub fn forget(&mut self) {
        self.lines.clear();
    }
}

/// A line without what only lines it up.
fn squeezed(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn table(progress: &Progress) -> Table {
    let mut table = Table::new(&["WORKLOAD", "RUNTIME", "DEVICE", "STATUS"]);
    for row in &progress.rows {
        let (tone, device) = match row.state {
            State::Runs => (Tone::Good, DEVICE),
            State::OnItsWay => (Tone::Warn, if row.pod.is_some() { DEVICE } else { "-" }),
            State::CannotRun => (Tone::Bad, "-"),
        };
        table.add(vec![
            row.name.as_str().into(),
            row.runtime.as_str().into(),
            device.into(),
            Cell::toned(&row.text, tone),
        ]);
    }
    table
}

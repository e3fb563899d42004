//! Objects as rows, for `kubectl get`: Kubernetes' `Table`. Which columns a kind has is [`columns`]' business.

mod columns;
mod pod;

use lichen_hub_core::api::{Kind, Object, ObjectMeta};
use serde::Serialize;
use serde_json::Value;

/// How much of its object a row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// Its metadata; the default.
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    Nothing,
}

impl Include {
    /// From `includeObject`.
    pub(crate) fn of(parameter: Option<&str>) -> Self {
        match parameter {
            Some("Object") => Self::Object,
            Some("None") => Self::Nothing,
            _ => Self::Metadata,
        }
    }
}

/// A table of one kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Table<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: TableMeta,
    column_definitions: Vec<ColumnDefinition>,
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TableMeta {
    resource_version: String,
}

#[derive(Debug, Serialize)]
struct ColumnDefinition {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    priority: u8,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    cells: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<RowObject<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RowObject<'a> {
    Whole(&'a Object),
    #[serde(rename_all = "camelCase")]
    Partial {
        kind: &'static str,
        api_version: &'static str,
        metadata: &'a ObjectMeta,
    },
}

/// One column of a kind.
struct Column {
    name: &'static str,
    /// 0 is shown always, 1 with `-o wide`.
    priority: u8,
    /// Whether the cells are numbers.
    number: bool,
    description: &'static str,
}

/// Builds the table. A watch sends the columns with its first row only (`with_columns`).
pub(crate) fn table<'a>(
    kind: Kind,
    objects: &[&'a Object],
    include: Include,
    resource_version: String,
    with_columns: bool,
    now_ms: u64,
) -> Table<'a> {
    let definitions = columns::of(kind).iter().map(ColumnDefinition::new);
    Table {
        kind: "Table",
        api_version: "meta.k8s.io/v1",
        metadata: TableMeta { resource_version },
        column_definitions: if with_columns { definitions.collect() } else { Vec::new() },
        rows: objects.iter().map(|object| row(object, include, now_ms)).collect(),
    }
}

fn row(object: &Object, include: Include, now_ms: u64) -> Row<'_> {
    let shown = match include {
        Include::Nothing => None,
        Include::Object => Some(RowObject::Whole(object)),
        Include::Metadata => Some(RowObject::Partial {
            kind: "PartialObjectMetadata",
            api_version: "meta.k8s.io/v1",
            metadata: object.meta(),
        }),
    };
    Row { cells: columns::cells(object, now_ms), object: shown }
}

impl ColumnDefinition {
    fn new(column: &Column) -> Self {
        Self {
            name: column.name,
            r#type: if column.number { "integer" } else { "string" },
            // kubectl's `--no-headers` and sorting look for the name by its format.
            format: if column.name == "Name" { "name" } else { "" },
            description: column.description,
            priority: column.priority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as text: what kubectl would print with `-o wide`.
    fn check(kind: Kind, json: &str, expected: &str) {
        let object = Object::from_json(kind, json.as_bytes()).expect("object");
        let table = table(kind, &[&object], Include::Nothing, "1".into(), true, 1_600_000_000_000);
        let names: Vec<_> = table.column_definitions.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), table.rows[0].cells.len());
        let cells: Vec<String> = table.rows[0]
            .cells
            .iter()
            .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
            .collect();
        let shown: Vec<String> =
            names.iter().zip(&cells).map(|(name, cell)| format!("{name}={cell}")).collect();
        assert_eq!(shown.join(" | "), expected);
    }

    #[test]
    fn a_pod_shows_what_matters() {
        check(
            Kind::Pod,
            r#"{"apiVersion":"v1","kind":"Pod",
                "metadata":{"name":"web-1","creationTimestamp":"2020-09-13T12:20:00Z"},
                "spec":{"nodeName":"pi","containers":[{"name":"a","image":"web:1"}]},
                "status":{"phase":"Running","containerStatuses":[
                    {"name":"a","ready":true,"restartCount":3,"state":{"running":{}}}]}}"#,
            "Name=web-1 | Ready=1/1 | Status=Running | Restarts=3 | Age=6m40s | Node=pi | Runtime=crun | Images=web:1",
        );
    }

    #[test]
    fn workloads_show_their_figures() {
        check(
            Kind::Deployment,
            r#"{"apiVersion":"apps/v1","kind":"Deployment",
                "metadata":{"name":"web","creationTimestamp":"2020-09-11T12:26:40Z"},
                "spec":{"replicas":3,"selector":{"matchLabels":{"app":"web","tier":"x"}},
                    "template":{"spec":{"containers":[{"name":"a","image":"web:1"}]}}},
                "status":{"readyReplicas":1,"updatedReplicas":2,"availableReplicas":1}}"#,
            "Name=web | Ready=1/3 | Up-to-date=2 | Available=1 | Age=2d | Containers=a | Images=web:1 | \
             Selector=app=web,tier=x",
        );
        check(
            Kind::DaemonSet,
            r#"{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"web"},
                "spec":{"selector":{},"template":{"spec":{"nodeSelector":{"a":"b"},
                    "containers":[{"name":"a","image":"web:1"}]}}},
                "status":{"desiredNumberScheduled":4,"currentNumberScheduled":3,"numberReady":2,
                    "updatedNumberScheduled":1,"numberAvailable":2}}"#,
            "Name=web | Desired=4 | Current=3 | Ready=2 | Up-to-date=1 | Available=2 | Node Selector=a=b | \
             Age=<unknown> | Containers=a | Images=web:1 | Selector=<none>",
        );
    }

    #[test]
    fn a_device_shows_its_state_and_its_engines() {
        check(
            Kind::Node,
            r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"pi","labels":{"lichen.dev/site":"barn"}},
                "spec":{"unschedulable":true},
                "status":{"conditions":[{"type":"Ready","status":"False"}],
                    "nodeInfo":{"architecture":"arm64","kubeletVersion":"0.1.0","operatingSystem":"linux",
                        "kernelVersion":"6.1"},
                    "runtimes":[{"class":"crun","name":"crun","version":"1.8","usable":true},
                        {"class":"wasm","name":"wasmtime","version":"48","usable":true},
                        {"class":"firmware","usable":false}]}}"#,
            "Name=pi | Status=NotReady,SchedulingDisabled | Arch=arm64 | Runtimes=crun,wasm | Age=<unknown> | \
             Version=0.1.0 | Site=barn | OS=linux | Kernel=6.1",
        );
    }

    #[test]
    fn the_other_kinds_show_what_they_hold() {
        check(
            Kind::Namespace,
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"status":{"phase":"Active"}}"#,
            "Name=a | Status=Active | Age=<unknown>",
        );
        check(
            Kind::ConfigMap,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1"},
                "binaryData":{"y":"AA=="}}"#,
            "Name=a | Data=2 | Age=<unknown>",
        );
        check(
            Kind::Event,
            r#"{"apiVersion":"v1","kind":"Event","metadata":{"name":"a"},
                "involvedObject":{"kind":"Pod","name":"web-1"},"reason":"Started","message":"it runs",
                "type":"Normal","lastTimestamp":"2020-09-13T12:26:30Z","count":2,
                "source":{"component":"agent","host":"pi"}}"#,
            "Last Seen=10s | Type=Normal | Reason=Started | Object=pod/web-1 | Message=it runs | \
             Source=agent, pi | Count=2 | Name=a",
        );
    }
}

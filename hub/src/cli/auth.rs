//! `lichen auth`: who one is, and what one may do.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Context,
    args::{AuthCommand, CanIArgs},
    discovery::ApiResource,
    error::CliError,
    table::Table,
    ui::plain,
};

const AUTHORIZATION: &str = "authorization.k8s.io/v1";
const AUTHENTICATION: &str = "authentication.k8s.io/v1";

/// Runs the command.
///
/// # Errors
/// The hub can't be reached, or the answer is no.
pub fn run(context: &mut Context, command: &AuthCommand) -> Result<(), CliError> {
    match command {
        AuthCommand::Whoami => whoami(context),
        AuthCommand::CanI(args) if args.list => list(context, args),
        AuthCommand::CanI(args) => can_i(context, args),
    }
}

fn whoami(context: &mut Context) -> Result<(), CliError> {
    let answer = ask(context, AUTHENTICATION, "SelfSubjectReview", json!({}))?;
    let user = &answer["status"]["userInfo"];
    let mut table = Table::new(&["ATTRIBUTE", "VALUE"]);
    for (name, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(value) = user[field].as_str() {
            table.add(vec![name.into(), value.into()]);
        }
    }
    let groups = texts(&user["groups"]);
    if !groups.is_empty() {
        table.add(vec!["Groups".into(), groups.join(", ").into()]);
    }
    print(context, &table)
}

fn can_i(context: &mut Context, args: &CanIArgs) -> Result<(), CliError> {
    let asked = match args.words.as_slice() {
        [verb, path] if path.starts_with('/') => {
            json!({"nonResourceAttributes": {"verb": verb, "path": path}})
        }
        [verb, what, rest @ ..] => {
            json!({"resourceAttributes": resource(context, verb, what, rest.first(), args)?})
        }
        // The grammar lets nothing else through.
        _ => return Err(CliError::Usage("write: lichen auth can-i VERB KIND [NAME]".to_owned())),
    };
    let answer = ask(context, AUTHORIZATION, "SelfSubjectAccessReview", asked)?;
    if answer["status"]["allowed"] != true {
        context.ui.line("no")?;
        return Err(CliError::No);
    }
    context.ui.line("yes")?;
    if let Some(reason) = answer["status"]["reason"].as_str() {
        context.ui.note(&plain(reason));
    }
    Ok(())
}

/// What is asked about objects. Rules may be about kinds that the hub does not have.
fn resource(
    context: &mut Context,
    verb: &str,
    what: &str,
    name: Option<&String>,
    args: &CanIArgs,
) -> Result<Value, CliError> {
    let (word, named) = match what.split_once('/') {
        Some((word, named)) if name.is_none() => (word, named),
        Some(_) => return Err(CliError::Usage(format!("{what:?} names an object already"))),
        None => (what, name.map_or("", String::as_str)),
    };
    let (group, plural, namespaced) = match context.discovery()?.find(word) {
        Ok(found) => (found.group().to_owned(), found.plural.clone(), found.namespaced),
        Err(_) => {
            let (plural, group) = word.split_once('.').unwrap_or((word, ""));
            if word != "*" {
                context.ui.warn(&format!(
                    "the hub has no kind {word:?}; the rules are asked all the same"
                ));
            }
            let group = if word == "*" { "*" } else { group };
            (group.to_owned(), plural.to_owned(), true)
        }
    };
    let namespace = match namespaced && !args.all_namespaces {
        true => context.namespace(&args.namespace),
        false => String::new(),
    };
    Ok(json!({
        "verb": verb, "group": group, "resource": plural, "name": named, "namespace": namespace,
        "subresource": args.subresource.as_deref().unwrap_or_default(),
    }))
}

/// Everything that may be done: one line for each resource, as kubectl shows it.
fn list(context: &mut Context, args: &CanIArgs) -> Result<(), CliError> {
    let namespace = context.namespace(&args.namespace);
    let asked = json!({"namespace": namespace});
    let answer = ask(context, AUTHORIZATION, "SelfSubjectRulesReview", asked)?;
    let mut lines: BTreeMap<[String; 3], Vec<String>> = BTreeMap::new();
    let mut add = |line: [String; 3], rule: &Value| {
        let verbs = lines.entry(line).or_default();
        verbs.extend(texts(&rule["verbs"]));
        verbs.sort();
        verbs.dedup();
    };
    let rules = |field: &str| answer["status"][field].as_array().cloned().unwrap_or_default();
    for rule in rules("resourceRules") {
        let names = texts(&rule["resourceNames"]).join(",");
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let resource = match group.as_str() {
                    "" => resource,
                    group => format!("{resource}.{group}"),
                };
                add([resource, String::new(), names.clone()], &rule);
            }
        }
    }
    for rule in rules("nonResourceRules") {
        for url in texts(&rule["nonResourceURLs"]) {
            add([String::new(), url, String::new()], &rule);
        }
    }
    let mut table = Table::new(&["RESOURCES", "PATHS", "NAMES", "VERBS"]);
    for ([resource, path, names], verbs) in lines {
        table.add([resource, path, names, verbs.join(",")].iter().map(Into::into).collect());
    }
    print(context, &table)
}

fn print(context: &mut Context, table: &Table) -> Result<(), CliError> {
    for line in table.lines(&context.ui) {
        context.ui.line(&line)?;
    }
    Ok(())
}

/// Asks the hub a question: an object that is answered when it is created.
fn ask(context: &Context, version: &str, kind: &str, spec: Value) -> Result<Value, CliError> {
    let resource = ApiResource {
        group_version: version.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
        ..ApiResource::default()
    };
    let mut question = json!({"apiVersion": version, "kind": kind});
    if spec.as_object().is_some_and(|fields| !fields.is_empty()) {
        question["spec"] = spec;
    }
    let path = resource.collection(None);
    let (_, answer) = context.client.call(Method::POST, &path, Some(&question))?;
    Ok(answer)
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

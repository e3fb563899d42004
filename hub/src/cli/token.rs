//! `lichen token`: the tokens by which devices join. A token is shown once, when it is made.

use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::{
    Context,
    args::{GetArgs, LabelArgs, NamespaceArg, Output, TokenArgs, TokenCommand},
    client::{Client, ClientError},
    error::CliError,
    get,
    ui::{Level, plain},
};

/// The kind, as it is asked for.
const KIND: &str = "jointokens";
const PATH: &str = "/lichen/v1/jointokens";
/// The label of a device's site.
const SITE: &str = "lichen.dev/site";

/// Runs the command.
///
/// # Errors
/// The hub can't be reached, or refuses.
pub fn run(context: &mut Context, command: &TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => create(context, args),
        TokenCommand::List { output } => list(context, KIND, *output),
        TokenCommand::Delete { names } => {
            for token in context.objects(&words(KIND, names), "", "token delete")? {
                match context.client.call(Method::DELETE, &token.path(), None) {
                    Ok(_) => context.ui.line(&format!("{} deleted", token.label()))?,
                    Err(error) if error.is_not_found() => {
                        return Err(CliError::Failed(format!(
                            "there is no token {:?}; see all with: lichen token list",
                            token.name
                        )));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
    }
}

/// The objects of a kind, as `lichen get` shows them.
pub(super) fn list(
    context: &mut Context,
    kind: &str,
    output: Option<Output>,
) -> Result<(), CliError> {
    let args = GetArgs {
        words: vec![kind.to_owned()],
        namespace: NamespaceArg { namespace: None },
        all_namespaces: false,
        selector: None,
        field_selector: None,
        output,
        watch: false,
    };
    get::run(context, &args)
}

/// `KIND NAME…`.
pub(super) fn words(kind: &str, names: &[String]) -> Vec<String> {
    std::iter::once(kind.to_owned()).chain(names.iter().cloned()).collect()
}

/// The labels that devices get.
///
/// # Errors
/// One is given twice.
pub(super) fn labels(args: &LabelArgs) -> Result<Value, CliError> {
    let site = args.site.iter().map(|site| (SITE.to_owned(), site.clone()));
    let mut labels = Map::new();
    for (name, value) in args.labels.iter().cloned().chain(site) {
        if labels.insert(name.clone(), value.into()).is_some() {
            return Err(CliError::Usage(format!("the label {name} is given twice")));
        }
    }
    Ok(labels.into())
}

fn create(context: &mut Context, args: &TokenArgs) -> Result<(), CliError> {
    let mut body = json!({
        "ttlS": args.ttl.as_secs(),
        "uses": args.uses,
        "labels": labels(&args.labels)?,
    });
    if let Some(pattern) = &args.name {
        body["namePattern"] = pattern.as_str().into();
    }
    let (answer, token) = ask(&context.client, &body)?;
    let text = |name: &str| plain(answer[name].as_str().unwrap_or_default());
    context.ui.line(&format!("lichen-agent join {token}"))?;
    if context.ui.err_terminal && context.ui.level > Level::Quiet {
        let often = match args.uses {
            1 => "once".to_owned(),
            uses => format!("{uses} times"),
        };
        let (until, name) = (text("expirationTime"), text("name"));
        context.ui.note(&format!(
            "run this on the device; it is good {often}, until {until} (lichen token delete {name} ends it before)"
        ));
    }
    Ok(())
}

/// A token for one device, with the hub's own settings.
///
/// # Errors
/// The hub can't be reached, or refuses.
pub(super) fn make(client: &Client) -> Result<String, CliError> {
    Ok(ask(client, &json!({}))?.1)
}

/// The hub's answer, and the token in it.
fn ask(client: &Client, body: &Value) -> Result<(Value, String), ClientError> {
    let (_, answer) = client.call(Method::POST, PATH, Some(body))?;
    let token = plain(answer["token"].as_str().unwrap_or_default());
    // It is pasted into a shell.
    if token.is_empty() || token.contains(|letter: char| !is_of_token(letter)) {
        let cause = "it holds no token".to_owned();
        return Err(ClientError::Answer { url: client.url(PATH), cause });
    }
    Ok((answer, token))
}

fn is_of_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_')
}

//! `lichen login`: gets to know a hub, or takes in a kubeconfig that somebody has handed over. Nothing is written before the
//! hub has been asked who is asking.

mod entry;

use std::io::{self, BufRead, IsTerminal};

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Context,
    args::LoginArgs,
    client::{
        Authorities, Client, ClientError, Connection, Credentials, DEFAULT_PORT, Introduction,
        Server, introduce,
    },
    config::tell_who_decides,
    error::CliError,
    kubeconfig::{self, Choice, Found, Section, portable},
    ui::{Ui, plain},
};
use entry::NewContext;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Runs the command.
///
/// # Errors
/// The hub is not the one that is meant, does not know who is asking, or the kubeconfig can't be written.
pub fn run(context: &mut Context, args: LoginArgs) -> Result<(), CliError> {
    let choice = context.client.choice().clone();
    let (connection, mut new) = match (args.hub, &choice.kubeconfig) {
        (Some(_), Some(_)) => {
            let cause = "name a hub or a kubeconfig, not both; LICHEN_KUBECONFIG says where a login is kept";
            return Err(CliError::Usage(cause.to_owned()));
        }
        (Some(server), None) => {
            let Some(token) = choice.token.clone() else {
                return Err(CliError::Usage("say who you are with --token TOKEN".to_owned()));
            };
            let introduction = introduce(&server)?;
            let fingerprint = introduction.fingerprint();
            match args.fingerprint {
                Some(expected) if expected == fingerprint => {}
                Some(expected) => {
                    return Err(CliError::Failed(format!(
                        "the authority of what answers at {server} has the fingerprint {fingerprint}, not {expected}: \
                         somebody else may be answering, or the hub was set up anew; nothing was sent to it"
                    )));
                }
                None => confirm(&mut context.ui, &choice, &server, &introduction)?,
            }
            let name = choice.context.clone().unwrap_or_else(|| usual_name(&server));
            let new = NewContext::of_hub(name, &server, &introduction, &token);
            (first_connection(server, &introduction, Credentials::Token(token)), new)
        }
        (None, Some(_)) => handed_over(&choice)?,
        (None, None) => {
            let cause = "name the hub: lichen login HUB --token TOKEN; or a kubeconfig: lichen login --kubeconfig FILE";
            return Err(CliError::Usage(cause.to_owned()));
        }
    };
    if args.namespace.namespace.is_some() {
        new.namespace = args.namespace.namespace;
    }
    let server = connection.server.clone();
    let client = Client::to(connection, context.client.trace())?;
    let who = who_am_i(&client)?;
    let Some(own) = choice.own() else {
        let cause = "there is no home directory; say where to keep it with LICHEN_KUBECONFIG=FILE";
        return Err(CliError::Usage(cause.to_owned()));
    };
    kubeconfig::file::edit(own, |document| new.put_into(document, own))?;
    let who = who.map(|who| format!(" as {}", plain(&who))).unwrap_or_default();
    let name = plain(&new.name);
    context
        .ui
        .line(&format!("logged in to {server}{who}; context {name} is in {}", own.display()))?;
    let choice = Choice { kubeconfig: None, context: None, ..choice };
    tell_who_decides(&mut context.ui, &choice, &new.name)
}

/// `hub.example`, with its port if that is not the usual one.
fn usual_name(server: &Server) -> String {
    match server.port() {
        DEFAULT_PORT => server.host().to_owned(),
        port => format!("{}:{port}", server.host()),
    }
}

fn first_connection(
    server: Server,
    introduction: &Introduction,
    credentials: Credentials,
) -> Connection {
    let name = introduction.server_name.map(ServerName::try_from);
    Connection {
        server,
        server_name: name.and_then(Result::ok),
        authorities: Authorities::one(introduction.authority.clone()),
        credentials,
        origin: "the command line".to_owned(),
        namespace: None,
    }
}

/// Asks whether an authority is the right one.
fn confirm(
    ui: &mut Ui,
    choice: &Choice,
    server: &Server,
    introduction: &Introduction,
) -> Result<(), CliError> {
    let fingerprint = introduction.fingerprint();
    if !ui.err_terminal || !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "the authority of the hub at {server} has the fingerprint {fingerprint}; if `lichen version` shows the same \
             on the hub's machine, say so with --fingerprint {fingerprint}"
        )));
    }
    ui.ask(&format!("the authority of the hub at {server} has the fingerprint\n  {fingerprint}\n"));
    if let Some(known) =
        known_authorities(choice, server).filter(|known| !known.contains(&fingerprint))
    {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        ui.warn(&format!("until now it was {}", known.join(" or ")));
    }
    ui.ask("does `lichen version` show the same on the hub's machine? [y/N] ");
    match is_yes(&mut io::stdin().lock())? {
        true => Ok(()),
        false => Err(CliError::Failed("nothing was sent to the hub".to_owned())),
    }
}

/// The authorities that are known of the hub at an address.
fn known_authorities(choice: &Choice, server: &Server) -> Option<Vec<super::client::Fingerprint>> {
    let found = Found::look(choice).ok()?;
    let all =
        found.groups.iter().flat_map(|group| group.contexts().map(move |known| (group, known)));
    let mut known = all.filter_map(|(group, context)| {
        kubeconfig::resolve(group, context.name, &Choice::default()).ok()
    });
    known.find(|known| known.server == *server).map(|known| known.authorities.fingerprints())
}

fn is_yes(input: &mut impl BufRead) -> io::Result<bool> {
    /// Longer than any yes.
    const MAX: u64 = 64;
    let mut line = String::new();
    io::Read::take(input, MAX).read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The current context of a kubeconfig that somebody has handed over.
fn handed_over(choice: &Choice) -> Result<(Connection, NewContext), CliError> {
    let found = Found::look(choice)?;
    let only = match found.groups.first().map(|group| group.contexts().collect::<Vec<_>>()) {
        Some(contexts) if contexts.len() == 1 => contexts.first().map(|context| context.name),
        _ => None,
    };
    let (group, name) = found.context(found.current().map(|(_, name)| name).or(only))?;
    let connection = kubeconfig::resolve(group, &name, choice)?;
    let context = group.entry(Section::Contexts, &name).map(|entry| entry.value.clone());
    let context = context.unwrap_or_default();
    let part = |section: Section| -> Result<Value, CliError> {
        let name = context[section.one()].as_str().unwrap_or_default();
        match group.entry(section, name) {
            Some(entry) => Ok(portable(&entry, true)?),
            None => Ok(json!({})),
        }
    };
    let user = match &choice.token {
        Some(token) => json!({"token": token.secret()}),
        None => part(Section::Users)?,
    };
    let mut cluster = part(Section::Clusters)?;
    cluster["server"] = connection.server.to_string().into();
    let name = choice.context.clone().unwrap_or(name);
    let namespace = connection.namespace.clone();
    Ok((connection, NewContext::new(name, cluster, user, namespace)))
}

/// Who the hub takes the asker for; `None` from a hub that does not say.
fn who_am_i(client: &Client) -> Result<Option<String>, ClientError> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    match client.call(Method::POST, REVIEWS, Some(&review)) {
        Ok((_, answer)) => Ok(answer["status"]["userInfo"]["username"].as_str().map(str::to_owned)),
        Err(error) if error.is_not_found() => client.get("/version").map(|_| None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (said, expected) in [
            ("y\n", true),
            ("Yes\n", true),
            ("", false),
            ("\n", false),
            ("n\n", false),
            ("yep\n", false),
        ] {
            assert_eq!(is_yes(&mut said.as_bytes()).expect("readable"), expected, "{said:?}");
        }
        assert!(!is_yes(&mut "y".repeat(1000).as_bytes()).expect("readable"));
    }

    #[test]
    fn a_context_is_called_after_its_hub() {
        for (server, name) in [("hub.example", "hub.example"), ("hub:1", "hub:1"), ("[::1]", "::1")]
        {
            assert_eq!(usual_name(&server.parse().expect("a server")), name);
        }
    }
}

//! What was tried: every change that was answered, and everything that was refused, with who, from where, what, and how it
//! ended. All of it passes through [`Attempt::note`], which writes it into the log.

use std::net::SocketAddr;

use axum::http::StatusCode;
use lichen_hub_core::{
    actor::Actor,
    authorizer::{Attributes, Target},
};

/// Groups whose objects are questions: to create one changes nothing.
const QUESTIONS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// A request and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// Names the request, in the answer's headers too.
    pub(super) id: &'a str,
    /// Whoever was recognised.
    pub(super) actor: Option<&'a Actor>,
    /// From where.
    pub(super) from: Option<SocketAddr>,
    /// What was to be done: the first says it best.
    pub(super) wanted: &'a [Attributes],
    /// How it ended.
    pub(super) code: StatusCode,
}

impl Attempt<'_> {
    /// Takes note of it, if it is worth that.
    pub(super) fn note(&self) {
        let Some(first) = self.wanted.first() else { return };
        if !self.is_refused() && !is_change(first) {
            return;
        }
        let Self { id, code, .. } = *self;
        let actor = self.actor.map_or("?", |actor| actor.name.as_str());
        let from = self.from.map(tracing::field::display);
        let (code, verb) = (code.as_u16(), first.verb.as_ref());
        match &first.target {
            Target::Path(path) => tracing::debug!(id, actor, from, verb, path, code, "asked"),
            Target::Resource(target) => {
                let (resource, group) = (target.combined(), target.group.as_ref());
                let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
                tracing::debug!(
                    id, actor, from, verb, %resource, group, namespace, name, code, "asked"
                );
            }
        }
    }

    fn is_refused(&self) -> bool {
        matches!(self.code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

fn is_change(asked: &Attributes) -> bool {
    let reads = matches!(asked.verb.as_ref(), "get" | "list" | "watch" | "options");
    let asks = match &asked.target {
        Target::Resource(target) => QUESTIONS.contains(&target.group.as_ref()),
        Target::Path(_) => false,
    };
    !reads && !asks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_refusals_are_worth_a_note() {
        let asked = |verb: &'static str, path: &str| Attributes::path(verb, path);
        assert!(is_change(&asked("post", "/x")) && !is_change(&asked("get", "/x")));
        let noted = |code: StatusCode| {
            let wanted = [asked("get", "/x")];
            Attempt { id: "1", actor: None, from: None, wanted: &wanted, code }.is_refused()
        };
        assert!(noted(StatusCode::FORBIDDEN) && noted(StatusCode::UNAUTHORIZED));
        assert!(!noted(StatusCode::OK) && !noted(StatusCode::NOT_FOUND));
    }
}

//! What was tried, for the audit log: every change that was answered, and everything that was refused, with who, from
//! where, what, and how it ended. The engine's part, too, may refuse: whoever gives a role away that they don't have.

use std::net::SocketAddr;

use axum::{http::StatusCode, response::Response};
use lichen_hub_core::{
    actor::Actor,
    authorizer::{Attributes, Target},
};

use crate::{
    audit::Entry,
    server::{
        api::Refusal,
        audit::{Pending, Recorder, Told, entry_of},
    },
};

/// Groups whose objects are questions: to create one changes nothing.
const QUESTIONS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];
/// What is read, and is as good as everything that the hub has.
const EVERYTHING: (&str, &str) = ("lichen.dev", "backups");

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// Where it is noted.
    pub(super) audit: &'a Recorder,
    /// Names the request, in the answer's headers too.
    pub(super) id: &'a str,
    /// From where.
    pub(super) from: Option<SocketAddr>,
    /// What was to be done: the first says it best.
    pub(super) wanted: &'a [Attributes],
}

/// One that has been let through.
pub(super) enum Begun<'a> {
    /// It may change something.
    Change(Box<Pending>, Attempt<'a>, &'a Actor),
    /// It only reads; but that may be refused further inside.
    Read(Attempt<'a>, &'a Actor),
}

impl<'a> Attempt<'a> {
    /// It was allowed, and is going to be carried out.
    pub(super) async fn begin(self, actor: &'a Actor) -> Result<Begun<'a>, Refusal> {
        if !self.wanted.first().is_some_and(is_change) {
            return Ok(Begun::Read(self, actor));
        }
        let room = self.audit.room().await?;
        let pending = Pending::new(room, self.entry(Some(actor))).into();
        Ok(Begun::Change(pending, self, actor))
    }

    /// It was not.
    pub(super) fn refused(self, actor: Option<&Actor>, refusal: &Refusal) {
        let code = refusal.code();
        if !is_refusal(code) {
            return;
        }
        let known = actor.filter(|actor| !actor.is_anonymous());
        let mut entry = self.entry(known);
        entry.code = code.as_u16();
        if known.is_none() {
            // Whom nobody is forbidden what.
            refusal.message().clone_into(&mut entry.note);
        }
        self.audit.refused(&self.sender(known), entry);
    }

    fn sender(&self, known: Option<&Actor>) -> String {
        match known {
            Some(actor) => actor.name.clone(),
            None => self.from.map(|from| from.ip().to_canonical().to_string()).unwrap_or_default(),
        }
    }

    fn entry(&self, actor: Option<&Actor>) -> Entry {
        let mut entry = Entry { request: self.id.to_owned(), ..entry_of(actor, self.from) };
        let Some(first) = self.wanted.first() else { return entry };
        entry.verb = first.verb.to_string();
        match &first.target {
            Target::Path(path) => entry.path.clone_from(path),
            Target::Resource(target) => {
                entry.resource = target.combined().to_string();
                entry.group = target.group.to_string();
                entry.namespace.clone_from(&target.namespace);
                entry.name.clone_from(&target.name);
            }
        }
        entry
    }
}

impl Begun<'_> {
    /// It was answered.
    pub(super) fn end(self, response: &Response) {
        let code = response.status();
        match self {
            // What was tried in vain can be tried as often as one likes, and must not push out what was done.
            Self::Change(pending, attempt, actor) if code.is_client_error() => {
                let (sender, told) = (attempt.sender(Some(actor)), response.extensions().get());
                pending.refused(attempt.audit, &sender, code, told);
            }
            Self::Change(pending, ..) => {
                pending.ended(code, response.extensions().get::<Told>());
            }
            Self::Read(attempt, actor) if is_refusal(code) => {
                let mut entry = attempt.entry(Some(actor));
                entry.code = code.as_u16();
                attempt.audit.refused(&attempt.sender(Some(actor)), entry);
            }
            Self::Read(..) => {}
        }
    }
}

fn is_refusal(code: StatusCode) -> bool {
    matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn is_change(asked: &Attributes) -> bool {
    let reads = matches!(asked.verb.as_ref(), "get" | "list" | "watch" | "options");
    match &asked.target {
        Target::Resource(target) if (&*target.group, &*target.resource) == EVERYTHING => true,
        Target::Resource(target) => !reads && !QUESTIONS.contains(&target.group.as_ref()),
        Target::Path(_) => !reads,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::server::authz::wanted;

    #[test]
    fn changes_and_backups_are_worth_a_note_and_questions_are_not() {
        for (request, expected) in [
            ("POST /x", true),
            ("GET /x", false),
            ("POST /api/v1/namespaces/a/configmaps", true),
            ("PATCH /apis/apps/v1/namespaces/a/deployments/web/scale", true),
            ("DELETE /api/v1/nodes/pi", true),
            ("GET /api/v1/secrets", false),
            ("GET /api/v1/pods?watch=1", false),
            ("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false),
            ("GET /lichen/v1/backup?keys=only", true),
            ("POST /lichen/v1/trust/rotate-ca", true),
        ] {
            let (method, uri) = request.split_once(' ').expect("method and path");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let asked = wanted(&method, &uri.parse().expect("a path"));
            assert_eq!(is_change(&asked[0]), expected, "{request}");
        }
        assert!(is_refusal(StatusCode::FORBIDDEN) && is_refusal(StatusCode::UNAUTHORIZED));
        assert!(!is_refusal(StatusCode::OK) && !is_refusal(StatusCode::NOT_FOUND));
    }
}

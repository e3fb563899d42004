//! Answers to the questions of `authorization.k8s.io` and `authentication.k8s.io`: pure functions of the question, of
//! whoever asks, and of the rules. Nothing is stored; whether somebody may ask at all has been decided before.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use crate::{
    actor::{Actor, Origin},
    api::{
        ApiError, FieldError, Key, Object,
        authentication::{UserInfo, token_review::TokenReviewStatus},
        authorization::{
            AccessStatus, SubjectAccessReviewSpec,
            access::Asked,
            self_subject_rules_review::{NonResourceRule, ResourceRule, RulesStatus},
        },
    },
    authorizer::{Attributes, Rules, Target},
};

/// Most groups of whoever a question is about.
const MAX_GROUPS: usize = 1_000;

/// Whose a token is, and for whom; or why it is not good.
pub type Recognised = Result<(Actor, Vec<String>), String>;

/// What a question needs to be answered.
pub struct Asking<'a> {
    /// Who asks.
    pub actor: &'a Actor,
    /// What there is.
    pub rules: &'a Rules,
    /// Looks at a token, which should be for one of these audiences; for the hub, if there are none.
    pub recognise: &'a dyn Fn(&str, &[String]) -> Recognised,
}

impl Asking<'_> {
    /// The question with its answer.
    ///
    /// # Errors
    /// The question makes no sense, or the object is none.
    pub fn answer(&self, mut question: Object) -> Result<Object, ApiError> {
        let key = question.key();
        match &mut question {
            Object::SelfSubjectAccessReview(review) => {
                let (resource, path) =
                    (&review.spec.resource_attributes, &review.spec.non_resource_attributes);
                let asked = attributes(Asked::one_of(resource.as_ref(), path.as_ref())?);
                review.status = self.decide(self.actor, &asked);
            }
            Object::SubjectAccessReview(review) => {
                review.status = self.decide_for(&key, &review.spec, None)?;
            }
            Object::LocalSubjectAccessReview(review) => {
                let namespace = &review.metadata.namespace;
                review.status = self.decide_for(&key, &review.spec, Some(namespace))?;
            }
            Object::SelfSubjectRulesReview(review) => {
                if review.spec.namespace.is_empty() {
                    let cause = FieldError::new("spec.namespace", "is missing");
                    return Err(ApiError::Invalid { key, causes: Vec::from([cause]) });
                }
                review.status = self.held(&review.spec.namespace);
            }
            Object::SelfSubjectReview(review) => review.status.user_info = self.actor.into(),
            Object::TokenReview(review) => {
                let answer = (self.recognise)(&review.spec.token, &review.spec.audiences);
                review.status = whose(answer);
            }
            _ => return Err(ApiError::BadRequest(format!("a {} is no question", key.kind))),
        }
        Ok(question)
    }

    fn decide(&self, actor: &Actor, asked: &Attributes) -> AccessStatus {
        let decision = self.rules.decide(actor, asked);
        AccessStatus { allowed: decision.is_allowed(), reason: decision.reason() }
    }

    fn decide_for(
        &self,
        key: &Key,
        spec: &SubjectAccessReviewSpec,
        namespace: Option<&str>,
    ) -> Result<AccessStatus, ApiError> {
        let (resource, path) = (&spec.resource_attributes, &spec.non_resource_attributes);
        let asked = attributes(Asked::one_of(resource.as_ref(), path.as_ref())?);
        let mut causes = Vec::new();
        if spec.user.is_empty() && spec.groups.is_empty() {
            causes.push(FieldError::new("spec.user", "is missing: give a user, groups, or both"));
        }
        if spec.groups.len() > MAX_GROUPS {
            causes.push(FieldError::new("spec.groups", format!("at most {MAX_GROUPS} are taken")));
        }
        if let Some(namespace) = namespace {
            let same =
                matches!(&asked.target, Target::Resource(target) if target.namespace == namespace);
            if !same {
                let cause = format!("must be {namespace:?}, that of the path");
                causes.push(FieldError::new("spec.resourceAttributes.namespace", cause));
            }
        }
        if !causes.is_empty() {
            return Err(ApiError::Invalid { key: key.clone(), causes });
        }
        let somebody = Actor {
            name: spec.user.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            from: Origin::Hub,
        };
        Ok(self.decide(&somebody, &asked))
    }

    /// Everything that whoever asks may do in a namespace.
    fn held(&self, namespace: &str) -> RulesStatus {
        let mut resources = BTreeSet::new();
        let mut paths = BTreeSet::new();
        let all = || Vec::from([String::from("*")]);
        if self.actor.is_master() {
            let (verbs, api_groups) = (all(), all());
            resources.insert(ResourceRule {
                verbs,
                api_groups,
                resources: all(),
                resource_names: Vec::new(),
            });
            paths.insert(NonResourceRule { verbs: all(), non_resource_urls: all() });
        }
        for rule in self.rules.held(self.actor, namespace) {
            if rule.non_resource_urls.is_empty() {
                resources.insert(ResourceRule {
                    verbs: rule.verbs.clone(),
                    api_groups: rule.api_groups.clone(),
                    resources: rule.resources.clone(),
                    resource_names: rule.resource_names.clone(),
                });
            }
        }
        // Paths count where they are bound everywhere.
        for rule in self.rules.held(self.actor, "") {
            if !rule.non_resource_urls.is_empty() {
                let non_resource_urls = rule.non_resource_urls.clone();
                paths.insert(NonResourceRule { verbs: rule.verbs.clone(), non_resource_urls });
            }
        }
        RulesStatus {
            resource_rules: resources.into_iter().collect(),
            non_resource_rules: paths.into_iter().collect(),
            incomplete: false,
        }
    }
}

fn attributes(asked: Asked<'_>) -> Attributes {
    match asked {
        Asked::Resource(resource) => resource.into(),
        Asked::Path(path) => path.into(),
    }
}

fn whose(answer: Recognised) -> TokenReviewStatus {
    match answer {
        Ok((actor, audiences)) => TokenReviewStatus {
            authenticated: true,
            user: UserInfo::from(&actor),
            audiences,
            error: String::new(),
        },
        Err(error) => TokenReviewStatus { error, ..TokenReviewStatus::default() },
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, sync::Arc};

    use serde_json::{Value, json};

    use super::*;
    use crate::{api::Kind, authorizer::defaults};

    /// The question's status, or why there is no answer. There are the default roles, and `ann` may view `shop`.
    fn ask(actor: &Actor, kind: Kind, mut json: Value) -> Value {
        let mut rules = Rules::default();
        defaults::all().into_iter().for_each(|object| rules.put(&Arc::new(object)));
        let binding = json!({
            "metadata": {"name": "b", "namespace": "shop"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "ann"}],
        });
        rules.put(&Arc::new(Object::from_value(Kind::RoleBinding, binding).expect("a binding")));
        if json.get("metadata").is_none() {
            json["metadata"] = json!({});
        }
        let recognise = |token: &str, audiences: &[String]| match token {
            "good" => {
                Ok((Actor::service_account("shop", "ci", "1", Origin::Hub), audiences.to_vec()))
            }
            _ => Err(String::from("it is damaged")),
        };
        let asking = Asking { actor, rules: &rules, recognise: &recognise };
        match asking.answer(Object::from_value(kind, json).expect("a question")) {
            Ok(answer) => serde_json::to_value(answer).expect("JSON")["status"].clone(),
            Err(error) => Value::String(error.to_string()),
        }
    }

    fn ann() -> Actor {
        Actor::user("ann", &[], Origin::Hub)
    }

    #[test]
    fn one_asks_about_oneself() {
        let may = |resource: Value| {
            ask(
                &ann(),
                Kind::SelfSubjectAccessReview,
                json!({"spec": {"resourceAttributes": resource}}),
            )
        };
        let yes = may(
            json!({"namespace": "shop", "verb": "get", "resource": "pods", "subresource": "log"}),
        );
        let reason =
            "RBAC: allowed by RoleBinding \"b/shop\" of ClusterRole \"view\" to User \"ann\"";
        assert_eq!(yes, json!({"allowed": true, "reason": reason}));
        let no = json!({"allowed": false});
        assert_eq!(may(json!({"namespace": "shop", "verb": "get", "resource": "secrets"})), no);
        assert_eq!(may(json!({"verb": "list", "resource": "pods"})), no);
        let path = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/api"}}});
        assert_eq!(ask(&ann(), Kind::SelfSubjectAccessReview, path)["allowed"], true);
        let both = json!({"spec": {}});
        let said = ask(&ann(), Kind::SelfSubjectAccessReview, both);
        assert!(said.as_str().is_some_and(|said| said.starts_with("exactly one of")), "{said}");
    }

    #[test]
    fn one_asks_about_others() {
        let pods = json!({"namespace": "shop", "verb": "list", "resource": "pods"});
        let about = |kind: Kind, who: Value| {
            let mut json = json!({"metadata": {"namespace": "shop"}, "spec": who});
            json["spec"]["resourceAttributes"] = pods.clone();
            ask(&Actor::hub(), kind, json)
        };
        for kind in [Kind::SubjectAccessReview, Kind::LocalSubjectAccessReview] {
            assert_eq!(about(kind, json!({"user": "ann"}))["allowed"], true);
            assert_eq!(about(kind, json!({"user": "ben"}))["allowed"], false);
            assert_eq!(about(kind, json!({"groups": ["system:masters"]}))["allowed"], true);
            let said = about(kind, json!({}));
            assert!(
                said.as_str().is_some_and(|said| said.contains("spec.user: is missing")),
                "{said}"
            );
        }
        let elsewhere = json!({"metadata": {"namespace": "farm"}, "spec": {"user": "ann", "resourceAttributes": pods}});
        let said = ask(&Actor::hub(), Kind::LocalSubjectAccessReview, elsewhere);
        assert!(said.as_str().is_some_and(|said| said.contains("must be \"farm\"")), "{said}");
    }

    #[test]
    fn one_sees_all_that_one_may_do() {
        let rules =
            ask(&ann(), Kind::SelfSubjectRulesReview, json!({"spec": {"namespace": "shop"}}));
        let of = |rules: &Value, field: &str| rules[field].as_array().cloned().unwrap_or_default();
        let has = |rules: &Value, resource: &str| {
            of(rules, "resourceRules").iter().any(|rule| {
                rule["resources"].as_array().is_some_and(|list| list.contains(&json!(resource)))
            })
        };
        assert!(
            has(&rules, "pods/log") && has(&rules, "selfsubjectreviews") && !has(&rules, "secrets")
        );
        assert_eq!(of(&rules, "nonResourceRules").len(), 2, "{rules}");
        let elsewhere =
            ask(&ann(), Kind::SelfSubjectRulesReview, json!({"spec": {"namespace": "farm"}}));
        assert!(!has(&elsewhere, "pods/log") && has(&elsewhere, "selfsubjectreviews"));
        let all = ask(
            &Actor::hub(),
            Kind::SelfSubjectRulesReview,
            json!({"spec": {"namespace": "farm"}}),
        );
        assert!(has(&all, "*"), "{all}");
        let said = ask(&ann(), Kind::SelfSubjectRulesReview, json!({}));
        assert!(
            said.as_str().is_some_and(|said| said.contains("spec.namespace: is missing")),
            "{said}"
        );
    }

    #[test]
    fn one_asks_who_somebody_is() {
        let me = ask(&ann(), Kind::SelfSubjectReview, json!({}));
        assert_eq!(
            me,
            json!({"userInfo": {"username": "ann", "groups": ["system:authenticated"]}})
        );
        let whose = |token: &str| {
            ask(
                &Actor::hub(),
                Kind::TokenReview,
                json!({"spec": {"token": token, "audiences": ["x"]}}),
            )
        };
        let good = whose("good");
        assert_eq!((&good["authenticated"], &good["audiences"]), (&json!(true), &json!(["x"])));
        assert_eq!(good["user"]["username"], "system:serviceaccount:shop:ci");
        assert_eq!(
            whose("bad"),
            json!({"authenticated": false, "user": {}, "error": "it is damaged"})
        );
        let pod = json!({"metadata": {"name": "x"}, "data": {}});
        let said = ask(&ann(), Kind::ConfigMap, pod);
        assert_eq!(said, "a ConfigMap is no question");
    }
}

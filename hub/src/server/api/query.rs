//! Query strings. Parameters that Lichen does not know are left alone, as Kubernetes does; those that would change the
//! meaning of a request and are not supported are refused by name.

use super::status::Refusal;

/// A query string, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// A parameter's value; an empty one counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        values.next().map(|(_, value)| value.as_str())
    }

    /// Kubernetes' reading of a boolean: present means true, unless it is `false` or `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        !matches!(value, None | Some("false" | "0"))
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Refusal::bad_request(format!("{name} must be a whole number, not {text:?}"))
        })
    }

    /// Refuses parameters that are not supported and would be missed.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<(), Refusal> {
        match names.iter().find(|name| self.text(name).is_some()) {
            Some(name) => Err(Refusal::bad_request(format!(
                "Lichen does not support the parameter {name}; leave it out"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("", false),
            ("watch=true", true),
            ("watch=1", true),
            ("watch", true),
            ("watch=", true),
            ("watch=false", false),
            ("watch=0", false),
            ("watches=true", false),
        ] {
            assert_eq!(Query::parse(Some(text)).flag("watch"), expected, "{text}");
        }
    }

    #[test]
    fn values_are_decoded_and_numbers_are_checked() {
        let query = Query::parse(Some("labelSelector=a%3Db%2Cc&limit=500&tailLines=x&continue="));
        assert_eq!(query.text("labelSelector"), Some("a=b,c"));
        assert_eq!(query.number("limit").ok().flatten(), Some(500));
        assert_eq!(query.text("continue"), None);
        assert!(query.number("tailLines").is_err());
        assert!(query.refuse(&["dryRun"]).is_ok());
        assert!(query.refuse(&["limit"]).is_err());
    }
}

//! Kubernetes' rules for commands, arguments and variables.
//!
//! `$(NAME)` is replaced where the container's own `env` defines NAME, and left as it is otherwise; `$$` is one dollar,
//! so `$$(NAME)` is never replaced. The image's variables are not seen by the expansion, exactly as in Kubernetes.
//! Source: kubernetes.io "Define Dependent Environment Variables" and "Define a Command and Arguments".

use std::collections::BTreeMap;

/// Longest text after expansion; the kernel refuses an argument or variable above 128 KiB. Without a bound, variables
/// that each repeat the one before them grow without end.
pub const MAX_EXPANDED_BYTES: usize = 128 << 10;

/// The text would exceed [`MAX_EXPANDED_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("longer than {MAX_EXPANDED_BYTES} bytes after expansion, which the kernel refuses")]
pub struct TooLong;

/// Replaces the references in one text.
pub fn expand(text: &str, env: &BTreeMap<&str, String>) -> Result<String, TooLong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let reference = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
        bounded(&out)?;
    }
    out.push_str(rest);
    bounded(&out)?;
    Ok(out)
}

/// The first reference in a text to a variable that is not there.
pub fn unknown<'a>(text: &'a str, env: &BTreeMap<&str, String>) -> Option<&'a str> {
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            if !env.contains_key(name) {
                return Some(name);
            }
            rest = after;
        }
    }
    None
}

fn bounded(text: &str) -> Result<(), TooLong> {
    if text.len() > MAX_EXPANDED_BYTES { Err(TooLong) } else { Ok(()) }
}

/// Expands the container's variables in order: each sees those before it.
pub fn expand_env(env: &[(String, String)]) -> Result<BTreeMap<&str, String>, TooLong> {
    let mut expanded = BTreeMap::new();
    for (name, value) in env {
        let value = expand(value, &expanded)?;
        expanded.insert(name.as_str(), value);
    }
    Ok(expanded)
}

/// What to run, each word with whether its references are replaced: only the manifest's own words have any.
/// `command` replaces the image's entrypoint and its cmd, `args` replaces cmd alone.
pub(crate) fn command_line<'a>(
    command: &'a [String],
    args: &'a [String],
    entrypoint: &'a [String],
    cmd: &'a [String],
) -> Vec<(&'a str, bool)> {
    let manifest = |words: &'a [String]| words.iter().map(|word| (word.as_str(), true));
    let image = |words: &'a [String]| words.iter().map(|word| (word.as_str(), false));
    match (command, args) {
        ([], []) => image(entrypoint).chain(image(cmd)).collect(),
        ([], args) => image(entrypoint).chain(manifest(args)).collect(),
        (command, args) => manifest(command).chain(manifest(args)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_as_kubernetes_defines() {
        let env = BTreeMap::from([("A", "1".to_owned()), ("B_2", "two".to_owned())]);
        // The table of Kubernetes' own expansion tests, in our variables.
        let table = [
            ("$(A)", "1"),
            ("___$(B_2)___", "___two___"),
            ("$(A)$(B_2)", "1two"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(NONE)", "$(NONE)"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$", "$"),
            ("a$", "a$"),
            ("$$", "$"),
            ("$()", "$()"),
            ("$é(A)", "$é(A)"),
            ("$(A$(B_2)", "$(A$(B_2)"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_reference_to_nothing_is_found() {
        let env = BTreeMap::from([("A", "1".to_owned())]);
        assert_eq!(unknown("$(A)/$$(B)/$x", &env), None);
        assert_eq!(unknown("$(A)/$(B)/$(C)", &env), Some("B"));
        assert_eq!(unknown("$()", &env), Some(""));
    }

    #[test]
    fn a_variable_sees_only_those_before_it() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = [pair("A", "$(B)"), pair("B", "x"), pair("C", "$(B)$(A)"), pair("B", "y$(B)")];
        let expanded = expand_env(&env).expect("short");
        assert_eq!(expanded["A"], "$(B)");
        assert_eq!(expanded["C"], "x$(B)");
        assert_eq!(expanded["B"], "yx");
    }

    #[test]
    fn growth_without_end_is_refused() {
        let mut env = vec![("V0".to_owned(), "0123456789".to_owned())];
        for i in 1..40 {
            let before = format!("$(V{})", i - 1);
            env.push((format!("V{i}"), before.repeat(10)));
        }
        assert_eq!(expand_env(&env), Err(TooLong));
    }
}

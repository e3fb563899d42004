//! What a Pod tells its containers of itself: fields as text, and its names.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt::Write;

use firmware_compat::v1::owned::{self as wire, Fact, PodNames, Text};

use super::{Pod, Waiting, hostname, over};
use crate::{
    api::meta::Map,
    recorder::uuid,
    resolve::{Told, names::domain},
};

/// What is told.
pub(super) enum Telling {
    /// This.
    Text(String),
    /// What its device says.
    Fact(Fact),
}

impl Pod {
    /// What its containers see as their host's name.
    pub(super) fn hostname(&self) -> String {
        let own = self.revision.resolved.names.hostname.as_deref();
        own.map_or_else(|| hostname(&self.host()).to_owned(), ToOwned::to_owned)
    }

    pub(super) fn names(&self) -> Result<PodNames, Waiting> {
        let names = &self.revision.resolved.names;
        let domain = domain(&names.subdomain, self.namespace());
        let domain = Text::try_from(domain).map_err(|_| over("the whole name"))?;
        Ok(PodNames { domain, aliases: names.aliases.clone(), dns: names.dns.clone() })
    }

    /// `device` is where it is.
    pub(super) fn tell(&self, told: &Told, device: &str) -> Telling {
        let one = |map: Map, key: &String| map.get(key).cloned().unwrap_or_default();
        Telling::Text(match told {
            Told::Text(text) => text.clone(),
            Told::Name => self.name.clone(),
            Told::Namespace => self.namespace().to_owned(),
            Told::Uid => uuid(self.id),
            Told::NodeName => device.to_owned(),
            Told::Label(key) => one(self.labels(), key),
            Told::Annotation(key) => one(self.annotations(), key),
            Told::Labels => lines(&self.labels()),
            Told::Annotations => lines(&self.annotations()),
            Told::Fact(fact) => return Telling::Fact(*fact),
        })
    }

    /// The same as a variable's value.
    pub(super) fn variable(&self, told: &Told, device: &str) -> Result<wire::Value, Waiting> {
        match self.tell(told, device) {
            Telling::Fact(fact) => Ok(wire::Value::Fact(fact)),
            // It is taken as it is: only what a template writes is expanded.
            Telling::Text(text) => Text::try_from(text.replace('$', "$$"))
                .map(wire::Value::Text)
                .map_err(|_| over("a variable of an annotation")),
        }
    }
}

/// `key="value"` for each, as Kubernetes writes them into a file.
fn lines(map: &Map) -> String {
    let lines: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}={}", Quoted(value))).collect();
    lines.join("\n")
}

/// A text between quotes, as Go's `%q` writes it.
struct Quoted<'a>(&'a str);

impl core::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x0b' => f.write_str("\\v")?,
                ' ' => f.write_char(' ')?,
                _ if letter.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(letter))?,
                _ if is_invisible(letter) => match u32::from(letter) {
                    code @ ..=0xffff => write!(f, "\\u{code:04x}")?,
                    code => write!(f, "\\U{code:08x}")?,
                },
                _ => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

/// Spaces but the one, controls, marks of direction and private letters: what Go does not call printable.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || letter.is_whitespace()
        || matches!(letter,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
            | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_quoted_as_kubernetes_quotes_them() {
        let pairs = [
            ("b", "plain text"),
            ("a", "say \"hi\"\\\n\tand\r"),
            ("c/d", "Grüße \u{85}\u{2028}\u{feff}\u{7f}\0"),
        ];
        let map = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(
            lines(&map),
            "a=\"say \\\"hi\\\"\\\\\\n\\tand\\r\"\nb=\"plain text\"\n\
             c/d=\"Grüße \\u0085\\u2028\\ufeff\\x7f\\x00\""
        );
        assert_eq!(lines(&Map::new()), "");
    }
}

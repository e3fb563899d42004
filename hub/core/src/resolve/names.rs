//! By which names a Pod is known in itself, and whom it asks for those of others.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{Dns, HostAlias, List, Text},
};

use super::Check;
use crate::api::{
    core::pod::{DnsConfig, PodSpec},
    validate::{check_label_name, check_subdomain},
};

/// Names as the template has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Instead of the Pod's name.
    pub hostname: Option<String>,
    /// Makes its whole name, if it is not empty.
    pub subdomain: String,
    /// More lines of `/etc/hosts`.
    pub aliases: List<HostAlias, { capacity::HOST_ALIASES }>,
    /// What differs from the device's `/etc/resolv.conf`.
    pub dns: Dns,
}

/// Bytes of all domains that are looked in: Kubernetes' bound.
const MAX_SEARCHES_BYTES: usize = 2048;

impl Check {
    pub(super) fn host_names(&mut self, at: &str, spec: &PodSpec) -> Names {
        let hostname = spec.hostname.clone().filter(|name| !name.is_empty());
        let subdomain = spec.subdomain.clone().unwrap_or_default();
        for (field, name) in
            [("hostname", hostname.as_deref().unwrap_or_default()), ("subdomain", &subdomain)]
        {
            if !name.is_empty() {
                self.keep(check_label_name(&format!("{at}.{field}"), name));
            }
        }
        Names { hostname, subdomain, aliases: self.aliases(at, spec), dns: self.dns(at, spec) }
    }

    fn aliases(&mut self, at: &str, spec: &PodSpec) -> List<HostAlias, { capacity::HOST_ALIASES }> {
        let at = format!("{at}.hostAliases");
        let mut aliases = Vec::new();
        for (i, alias) in spec.host_aliases.iter().enumerate() {
            let at = format!("{at}[{i}]");
            self.address(&format!("{at}.ip"), &alias.ip);
            let mut names = Vec::new();
            for (i, name) in alias.hostnames.iter().enumerate() {
                let at = format!("{at}.hostnames[{i}]");
                self.keep(check_subdomain(&at, name, capacity::NAME));
                names.push(Text::cut(name));
            }
            let names = self.list(&format!("{at}.hostnames"), names);
            aliases.push(HostAlias { ip: Text::cut(&alias.ip), names });
        }
        self.list(&at, aliases)
    }

    fn dns(&mut self, at: &str, spec: &PodSpec) -> Dns {
        let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
        self.word(at, "dnsPolicy", spec.dns_policy.as_ref(), &policies);
        let own = spec.dns_policy.as_deref() == Some("None");
        let nothing = DnsConfig::default();
        let config = spec.dns_config.as_ref().unwrap_or(&nothing);
        let at = format!("{at}.dnsConfig");
        if own && config.nameservers.is_empty() {
            self.error(
                format!("{at}.nameservers"),
                "must name at least one: dnsPolicy is \"None\"",
            );
        }
        for (i, address) in config.nameservers.iter().enumerate() {
            self.address(&format!("{at}.nameservers[{i}]"), address);
        }
        let mut bytes = 0;
        for (i, domain) in config.searches.iter().enumerate() {
            bytes += domain.len() + 1;
            // A dot alone, or one at the end, is the root.
            let name = domain.strip_suffix('.').unwrap_or(domain);
            if domain != "." {
                self.keep(check_subdomain(&format!("{at}.searches[{i}]"), name, capacity::NAME));
            }
        }
        if bytes > MAX_SEARCHES_BYTES {
            self.error(
                format!("{at}.searches"),
                format!("are over {MAX_SEARCHES_BYTES} bytes in all"),
            );
        }
        let options = self.options(&at, config);
        let texts = |texts: &[String]| texts.iter().map(|text| Text::cut(text)).collect();
        Dns {
            own,
            nameservers: self.list(
                &format!("{at}.nameservers"),
                config.nameservers.iter().map(|text| Text::cut(text)).collect(),
            ),
            searches: self.list(&format!("{at}.searches"), texts(&config.searches)),
            options: self.list(&format!("{at}.options"), texts(&options)),
        }
    }

    fn options(&mut self, at: &str, config: &DnsConfig) -> Vec<String> {
        let mut options = Vec::new();
        for (i, option) in config.options.iter().enumerate() {
            let text = match option.value.as_deref() {
                None | Some("") => option.name.clone(),
                Some(value) => format!("{}:{value}", option.name),
            };
            let is_word = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b';');
            if option.name.is_empty() || text.len() > capacity::NAME || !text.bytes().all(is_word) {
                self.error(
                    format!("{at}.options[{i}]"),
                    format!("\"{text}\" is no option of a resolver, such as \"ndots:2\""),
                );
            }
            options.push(text);
        }
        options
    }

    fn address(&mut self, at: &str, address: &str) {
        if address.parse::<IpAddr>().is_err() {
            self.error(at.to_owned(), format!("\"{address}\" is not an IP address"));
        }
    }

    fn list<T, const N: usize>(&mut self, at: &str, items: Vec<T>) -> List<T, N> {
        self.count(at, items.len(), N);
        List::try_from(items).unwrap_or_default()
    }
}

/// What follows the hostname in a Pod's whole name.
#[must_use]
pub fn domain(subdomain: &str, namespace: &str) -> String {
    match subdomain {
        "" => String::new(),
        _ => [subdomain, namespace, "svc.cluster.local"].join(".").to_string(),
    }
}

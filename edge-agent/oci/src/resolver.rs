//! `/etc/resolv.conf` of a Pod: the device's, with what the Pod adds, or the Pod's alone. How both are merged is the kubelet's
//! way: more servers and domains behind the device's, options by their names.

/// What differs from the device's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Nothing is taken from the device's.
    pub own: bool,
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Domains in which short names are looked for.
    pub searches: Vec<String>,
    /// `name` or `name:value`.
    pub options: Vec<String>,
}

/// Servers that a resolver asks: the C library's bound.
const MAX_SERVERS: usize = 3;

/// The file. What the device's says is given as it is if the Pod adds nothing.
#[must_use]
pub fn resolv_conf(device: Vec<u8>, dns: &Dns) -> Vec<u8> {
    if *dns == Dns::default() {
        return device;
    }
    let mut all = match dns.own {
        true => Dns::default(),
        false => read(&String::from_utf8_lossy(&device)),
    };
    add(&mut all.nameservers, &dns.nameservers);
    all.nameservers.truncate(MAX_SERVERS);
    add(&mut all.searches, &dns.searches);
    all.options.retain(|known| !dns.options.iter().any(|option| name(option) == name(known)));
    add(&mut all.options, &dns.options);
    let mut file: String =
        all.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (word, values) in [("search", &all.searches), ("options", &all.options)] {
        if !values.is_empty() {
            file.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    file.into_bytes()
}

fn add(all: &mut Vec<String>, more: &[String]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

fn name(option: &str) -> &str {
    option.split(':').next().unwrap_or_default()
}

/// The lines that count, as resolv.conf(5) has them: of `search` and `domain` the last one.
fn read(file: &str) -> Dns {
    let mut dns = Dns::default();
    for line in file.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.extend(words.next()),
            Some("search" | "domain") => dns.searches = words.collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "# by hand\nnameserver 10.0.0.1\nsearch lan\noptions ndots:1 rotate\n";

    fn check(dns: Dns, expected: &str) {
        let file = resolv_conf(DEVICE.as_bytes().to_vec(), &dns);
        assert_eq!(String::from_utf8(file).expect("text"), expected);
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_a_pod_adds_comes_behind_the_devices() {
        check(Dns::default(), DEVICE);
        let dns = Dns {
            own: false,
            nameservers: texts(&["10.0.0.1", "1.1.1.1", "8.8.8.8", "9.9.9.9"]),
            searches: texts(&["shop.lan"]),
            options: texts(&["ndots:5", "edns0"]),
        };
        check(
            dns.clone(),
            "nameserver 10.0.0.1\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch lan shop.lan\n\
             options rotate ndots:5 edns0\n",
        );
        let own = Dns { own: true, nameservers: texts(&["1.1.1.1"]), ..Dns::default() };
        check(own, "nameserver 1.1.1.1\n");
    }
}

//! EMQX 5: the same as for Mosquitto, in its own words: HOCON, and rules as terms of Erlang.

use std::path::Path;

use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    topic::{ALL, Direction, HUB_FILTER, PREFIX},
};
use lichen_trust::HUB_USER;

use super::{CA, CERTIFICATE, ConfigFile, KEY, MOST_CONNECTIONS};
use crate::cli::args::Listen;

const RULES: &str = "acl.conf";

/// The files, as they lie at `place`.
pub(super) fn files(listen: Listen, place: &Path) -> Vec<ConfigFile> {
    vec![
        ConfigFile { name: "emqx.conf", text: config(listen, place) },
        ConfigFile { name: RULES, text: rules() },
    ]
}

fn config(listen: Listen, place: &Path) -> String {
    let bind = match listen {
        Listen::Everywhere(port) => format!("[::]:{port}"),
        Listen::At(address) => address.to_string(),
    };
    // A string of JSON is one of HOCON.
    let file = |name: &str| serde_json::Value::from(place.join(name).display().to_string());
    let (ca, certificate, key, rules) = (file(CA), file(CERTIFICATE), file(KEY), file(RULES));
    let packet = MAX_FRAME_BYTES + 1024;
    format!(
        "# EMQX 5 for a Lichen hub and its devices: merge it into etc/emqx.conf. Made by lichen broker config.

# Who connects is whom its certificate names, by the hub's CA; nobody comes in without one.
listeners.ssl.default {{
  bind = \"{bind}\"
  max_connections = {MOST_CONNECTIONS}
  max_conn_rate = \"500/s\"
  ssl_options {{
    cacertfile = {ca}
    certfile = {certificate}
    keyfile = {key}
    verify = verify_peer
    fail_if_no_peer_cert = true
    handshake_timeout = 15s
    versions = [\"tlsv1.3\", \"tlsv1.2\"]
  }}
}}
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false

mqtt {{
  peer_cert_as_username = cn
  # Nobody can end another one's session by taking its client id.
  peer_cert_as_clientid = cn
  max_packet_size = {packet}
  max_qos_allowed = 1
  max_topic_alias = 0
  max_inflight = 64
  max_mqueue_len = 100000
}}

authorization {{
  no_match = deny
  deny_action = ignore
  sources = [
    {{ type = file, enable = true, path = {rules} }}
  ]
}}
"
    )
}

fn rules() -> String {
    let up = Kind::EVERY.into_iter().filter(|kind| kind.direction() == Direction::Up);
    let up: Vec<String> =
        up.map(|kind| format!("\"{PREFIX}${{username}}/up/{}\"", kind.topic_level())).collect();
    let up = up.join(",\n    ");
    format!(
        "%% What nobody allows is refused. A device that was revoked is put before everything:
%% {{deny, {{username, \"NAME\"}}, all, [\"#\"]}}.

{{allow, {{username, \"{HUB_USER}\"}}, subscribe, [\"{HUB_FILTER}\"]}}.
{{allow, {{username, \"{HUB_USER}\"}}, publish, [\"{PREFIX}+/down/+\"]}}.
{{allow, all, publish, [
    {up}
]}}.
{{allow, all, subscribe, [\"{PREFIX}${{username}}/down/#\", \"{PREFIX}{ALL}/down/#\"]}}.
{{deny, all}}.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether brackets and quotes are closed in the order in which they were opened.
    fn is_balanced(text: &str, comment: &str) -> bool {
        let mut open = Vec::new();
        for line in text.lines().filter(|line| !line.trim_start().starts_with(comment)) {
            let mut quoted = false;
            for sign in line.chars() {
                match sign {
                    '"' => quoted = !quoted,
                    _ if quoted => {}
                    '{' => open.push('}'),
                    '[' => open.push(']'),
                    '}' | ']' if open.pop() != Some(sign) => return false,
                    _ => {}
                }
            }
            if quoted {
                return false;
            }
        }
        open.is_empty()
    }

    #[test]
    fn what_is_opened_is_closed_and_every_rule_is_a_term() {
        let config = config(Listen::Everywhere(8883), Path::new("/etc/a \"b\""));
        assert!(config.contains(r#"keyfile = "/etc/a \"b\"/broker.key""#), "{config}");
        assert!(is_balanced(&config.replace("\\\"", ""), "#"), "{config}");
        let rules = rules();
        assert!(is_balanced(&rules, "%%"), "{rules}");
        let terms = rules.lines().filter(|line| line.ends_with("}.") && !line.starts_with("%%"));
        assert_eq!(terms.count(), 5, "{rules}");
        assert!(rules.contains("\"lichen/1/${username}/up/hello\""), "{rules}");
        assert!(!rules.contains("/up/head"), "{rules}");
    }
}

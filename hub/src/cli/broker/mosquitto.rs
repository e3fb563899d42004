//! Mosquitto 2: one listener with TLS, names from certificates, and rules by name.

use std::path::Path;

use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    topic::{ALL, Direction, HUB_FILTER, PREFIX},
};
use lichen_trust::HUB_USER;

use super::{CA, CERTIFICATE, CRL, ConfigFile, KEY, MOST_CONNECTIONS};
use crate::cli::args::Listen;

const RULES: &str = "acl";

/// The files, as they lie at `place`.
pub(super) fn files(listen: Listen, place: &Path) -> Vec<ConfigFile> {
    vec![
        ConfigFile { name: "mosquitto.conf", text: config(listen, place) },
        ConfigFile { name: RULES, text: rules() },
    ]
}

fn config(listen: Listen, place: &Path) -> String {
    let listener = match listen {
        Listen::Everywhere(port) => port.to_string(),
        Listen::At(address) => format!("{} {}", address.port(), address.ip()),
    };
    let file = |name: &str| place.join(name).display().to_string();
    let (ca, certificate, key, crl, rules) =
        (file(CA), file(CERTIFICATE), file(KEY), file(CRL), file(RULES));
    let packet = MAX_FRAME_BYTES + 1024;
    format!(
        "# Mosquitto 2 for a Lichen hub and its devices. Made by lichen broker config; made anew when that is run again.

listener {listener}

# Who connects is whom its certificate names, by the hub's CA; nobody comes in without one, or with one on the list.
# The list is read at the start and at SIGHUP.
cafile {ca}
certfile {certificate}
keyfile {key}
crlfile {crl}
require_certificate true
use_identity_as_username true
# Nobody can end another one's session by taking its client id.
use_username_as_clientid true
allow_anonymous false
acl_file {rules}

# Bounds. What Lichen needs of each is less; a larger frame is no frame of ours.
max_connections {MOST_CONNECTIONS}
max_packet_size {packet}
max_keepalive 3600
max_qos 1
max_topic_alias 0
max_inflight_messages 64
# The hub hears every device by one connection: when all report at once, that many wait for it.
max_queued_messages 100000
max_queued_bytes 67108864

# Nothing here needs to outlive the broker: hub and devices say again what matters.
persistence false
set_tcp_nodelay true
sys_interval 0
"
    )
}

fn rules() -> String {
    let mut text = format!(
        "# What nobody allows is refused. %u is the name in the certificate.

user {HUB_USER}
topic read {HUB_FILTER}
topic write {PREFIX}+/down/+

# A device says what devices say, below its own topic alone. Each topic is named: so it can keep nothing else here.
"
    );
    for kind in Kind::EVERY.into_iter().filter(|kind| kind.direction() == Direction::Up) {
        text += &format!("pattern write {PREFIX}%u/up/{}\n", kind.topic_level());
    }
    text + &format!(
        "
# It reads what is for it, and what is for all. (Mosquitto notes that the last one is the same for everybody; so it is.)
pattern read {PREFIX}%u/down/+
pattern read {PREFIX}{ALL}/down/+
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_say_every_kind_of_frame_that_devices_say_and_no_other() {
        let rules = rules();
        for kind in Kind::EVERY {
            let rule = format!("pattern write lichen/1/%u/up/{}\n", kind.topic_level());
            assert_eq!(rules.contains(&rule), kind.direction() == Direction::Up, "{rule}");
        }
        assert!(
            !rules.contains('#')
                || rules
                    .lines()
                    .all(|line| { !line.starts_with("pattern") || !line.contains('#') })
        );
    }

    #[test]
    fn it_listens_where_it_is_told_to() {
        let place = Path::new("/etc/x");
        let at = "127.0.0.1:8884".parse().expect("an address");
        for (listen, line) in [
            (Listen::Everywhere(8883), "listener 8883\n"),
            (Listen::At(at), "listener 8884 127.0.0.1\n"),
        ] {
            let config = config(listen, place);
            assert!(config.contains(line), "{config}");
            assert!(config.contains("crlfile /etc/x/crl.pem\n"), "{config}");
        }
    }
}

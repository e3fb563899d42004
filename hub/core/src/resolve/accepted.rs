//! Fields that are accepted without an effect, because API servers write them into what they give back: only those of their
//! values that need none. The tables of fields say why.

use alloc::{format, string::String};

use super::Check;
use crate::api::{
    core::pod::{self, PodSpec},
    validate::check_subdomain,
};

impl Check {
    pub(super) fn pod_without_effect(&mut self, at: &str, spec: &PodSpec) {
        let accounts = [
            ("serviceAccountName", &spec.service_account_name),
            ("serviceAccount", &spec.service_account),
        ];
        for (name, account) in accounts {
            if let Some(account) = account.as_deref().filter(|account| !account.is_empty()) {
                self.keep(check_subdomain(&format!("{at}.{name}"), account, 253));
            }
        }
        self.word(at, "schedulerName", spec.scheduler_name.as_ref(), &["default-scheduler"]);
        let os = spec.os.as_ref().map(|os| &os.name);
        self.word(&format!("{at}.os"), "name", os, &["linux"]);
        self.must_be(at, "setHostnameAsFQDN", spec.set_hostname_as_fqdn, false);
        self.must_be(at, "hostUsers", spec.host_users, true);
    }

    pub(super) fn container_without_effect(
        &mut self,
        at: &str,
        container: &pod::Container,
        spec: &PodSpec,
    ) {
        let policy = container.image_pull_policy.as_ref();
        self.word(at, "imagePullPolicy", policy, &["Always", "IfNotPresent", "Never"]);
        self.must_be(at, "stdin", container.stdin, false);
        self.must_be(at, "stdinOnce", container.stdin_once, false);
        self.must_be(at, "tty", container.tty, false);
        for (i, policy) in container.resize_policy.iter().enumerate() {
            let at = format!("{at}.resizePolicy[{i}]");
            self.word(&at, "resourceName", Some(&policy.resource_name), &["cpu", "memory"]);
            let words = ["NotRequired", "RestartContainer"];
            self.word(&at, "restartPolicy", Some(&policy.restart_policy), &words);
        }
        for (i, port) in container.ports.iter().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else { continue };
            if spec.host_network != Some(true) || host != port.container_port {
                self.error(
                    format!("{at}.ports[{i}].hostPort"),
                    format!(
                        "{host} can't be given to it: with hostNetwork: true a container has the device's network, and hostPort is its containerPort"
                    ),
                );
            }
        }
        for (i, mount) in container.volume_mounts.iter().enumerate() {
            let at = format!("{at}.volumeMounts[{i}]");
            let recursive = mount.recursive_read_only.as_ref();
            self.word(&at, "recursiveReadOnly", recursive, &["Disabled", "IfPossible"]);
        }
    }

    /// A field that has only these values here. Empty is absent.
    pub(super) fn word(&mut self, at: &str, name: &str, value: Option<&String>, words: &[&str]) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if !words.contains(&value.as_str()) {
            let known = words.join("\", \"");
            let one_of = if words.len() == 1 { "" } else { "one of " };
            self.error(
                format!("{at}.{name}"),
                format!("\"{value}\" must be {one_of}\"{known}\", or left out"),
            );
        }
    }

    fn must_be(&mut self, at: &str, name: &str, value: Option<bool>, only: bool) {
        if let Some(value) = value.filter(|value| *value != only) {
            self.error(format!("{at}.{name}"), format!("{value} is not supported; leave it out"));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        string::{String, ToString},
        vec::Vec,
    };

    use serde_json::{Value, json};

    use crate::{api::resource::RestartRule, resolve::resolve};

    fn check(pod: &Value, container: &Value, expected: &[&str]) {
        let mut spec = json!({"containers": [{"name": "a", "image": "a"}]});
        let of = |value: &Value| value.as_object().cloned().expect("fields");
        spec["containers"][0].as_object_mut().expect("fields").extend(of(container));
        spec.as_object_mut().expect("fields").extend(of(pod));
        let template = serde_json::from_value(json!({"spec": spec})).expect("a template");
        let errors = resolve("t", &template, RestartRule::Always).err().unwrap_or_default();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected);
    }

    #[test]
    fn values_that_would_need_an_effect_are_refused() {
        let none = json!({});
        check(
            &json!({"schedulerName": "mine", "os": {"name": "windows"}, "hostUsers": false,
                "setHostnameAsFQDN": true, "serviceAccountName": "A_b"}),
            &none,
            &[
                "t.spec.serviceAccountName: \"A_b\" must be at most 253 lower-case letters, digits, '-' or '.', with a letter or digit at both ends of each part",
                "t.spec.schedulerName: \"mine\" must be \"default-scheduler\", or left out",
                "t.spec.os.name: \"windows\" must be \"linux\", or left out",
                "t.spec.setHostnameAsFQDN: true is not supported; leave it out",
                "t.spec.hostUsers: false is not supported; leave it out",
            ],
        );
        check(
            &none,
            &json!({"imagePullPolicy": "Sometimes", "stdin": true, "tty": true,
                "ports": [{"containerPort": 80, "hostPort": 80}]}),
            &[
                "t.spec.containers[0].imagePullPolicy: \"Sometimes\" must be one of \"Always\", \"IfNotPresent\", \"Never\", or left out",
                "t.spec.containers[0].stdin: true is not supported; leave it out",
                "t.spec.containers[0].tty: true is not supported; leave it out",
                "t.spec.containers[0].ports[0].hostPort: 80 can't be given to it: with hostNetwork: true a container has the device's network, and hostPort is its containerPort",
            ],
        );
        let port = json!({"ports": [{"containerPort": 80, "hostPort": 80}]});
        check(&json!({"hostNetwork": true}), &port, &[]);
    }
}

//! A device's key and certificate in the hands of whoever wants to try something with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lichen_tests::{agent::Agent, hub::Hub};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A longer one has got stuck: each of these talks to a hub on the same machine.
const TIME: &str = "60";

/// Runs a program to its end, in a directory. All that it printed.
///
/// # Panics
/// If it is not installed, or does not end.
pub fn run(dir: &Path, program: &str, words: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args([TIME, program]).args(words).current_dir(dir).stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let code = output.status.code();
    assert!(!matches!(code, Some(124..=127)), "{program} {words:?} ({code:?}): {printed}");
    printed
}

/// What curl was answered.
#[derive(Debug)]
pub struct Answer {
    /// 0 if there was none.
    pub status: u16,
    pub body: String,
}

/// Asks with curl. `words`: what is asked for and how.
pub fn curl(dir: &Path, words: &[&str]) -> Answer {
    let mut all =
        vec!["-sS", "--path-as-is", "-o", "answer", "-w", "%{http_code}", "--cacert", "ca.pem"];
    all.extend(words);
    let _ = fs::remove_file(dir.join("answer"));
    // The status, and behind it why there is no answer.
    let printed = run(dir, "curl", &all);
    let (status, why) = printed.split_at(3);
    let body = fs::read(dir.join("answer")).unwrap_or_default();
    let body = format!("{}{why}", String::from_utf8_lossy(&body));
    Answer { status: status.parse().unwrap(), body }
}

/// A directory with `key.pem`, `card.pem` and the authority, `ca.pem`, and the hub that it is for.
#[derive(Debug)]
pub struct Card {
    pub dir: TempDir,
    pub name: String,
    port: u16,
}

impl Card {
    /// What somebody has who has come by no more than the hub's certificate, which it shows to everybody.
    pub fn none(hub: &Hub) -> Self {
        let dir = TempDir::with_prefix("lt-card-").unwrap();
        let kubeconfig = fs::read_to_string(hub.kubeconfig()).unwrap();
        let field = "certificate-authority-data:";
        let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(field)).unwrap();
        fs::write(dir.path().join("ca.pem"), BASE64.decode(line.trim()).unwrap()).unwrap();
        Self { dir, name: "nobody".to_owned(), port: hub.device_address().port() }
    }

    /// A copy of what is on a device's card.
    pub fn copied(agent: &Agent, hub: &Hub) -> Self {
        let card = Self { name: agent.name().to_owned(), ..Self::none(hub) };
        let identity = agent.state().join("identity");
        fs::copy(identity.join("key.pem"), card.path("key.pem")).unwrap();
        fs::copy(identity.join("certificate.pem"), card.path("card.pem")).unwrap();
        card
    }

    /// A device that joined as any does, and is not an agent.
    pub fn joined(name: &str, hub: &Hub) -> Self {
        let mut card = Self { name: name.to_owned(), ..Self::none(hub) };
        card.make_key();
        let answer = card.enrol(&card.request(name, Some(&secret_of(&hub.token()))));
        assert_eq!(answer.status, 200, "{answer:?}");
        card.keep(&answer);
        card
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn openssl(&self, line: &str) -> String {
        run(self.dir.path(), "openssl", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn make_key(&self) {
        self.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    }

    /// A request for a certificate in this name.
    pub fn csr(&self, name: &str) -> String {
        self.openssl(&format!("req -new -key key.pem -subj /CN={name} -out csr.pem"));
        fs::read_to_string(self.path("csr.pem")).unwrap()
    }

    /// What a board sends that wants to join. `token`: its `ID.SECRET`.
    pub fn request(&self, name: &str, token: Option<&str>) -> Value {
        let mut request = json!({
            "name": name,
            "csr": self.csr("somebody"),
            "sealingKey": BASE64.encode([9; 32]),
            "agent": format!("{:032x}", fastrand::u128(..)),
            "boot": format!("{:032x}", fastrand::u128(..)),
        });
        if let Some(token) = token {
            request["token"] = json!(token);
        }
        request
    }

    /// Asks to be let in.
    pub fn enrol(&self, request: &Value) -> Answer {
        self.post("/lichen/v1/enrol", request, &[])
    }

    /// POSTs to the devices' port.
    pub fn post(&self, path: &str, body: &Value, words: &[&str]) -> Answer {
        fs::write(self.path("body.json"), body.to_string()).unwrap();
        let post = ["-H", "content-type: application/json", "--data-binary", "@body.json"];
        self.ask(path, &[&post, words].concat())
    }

    /// Asks the devices' port with curl, as nobody.
    pub fn ask(&self, path: &str, words: &[&str]) -> Answer {
        let there = format!("lichen-hub:{0}:127.0.0.1:{0}", self.port);
        let url = format!("https://lichen-hub:{}{path}", self.port);
        let to = ["--connect-to", &there, &url];
        curl(self.dir.path(), &[words, &to].concat())
    }

    /// Asks the devices' port with curl, showing the card.
    pub fn ask_as_device(&self, path: &str) -> Answer {
        self.ask(path, &["--cert", "card.pem", "--key", "key.pem"])
    }

    /// Publishes as the device and says what became of it.
    pub fn publish(&self, topic: &str, words: &[&str]) -> String {
        let said = ["-q", "1", "-t", topic, "-m", "something"];
        self.mosquitto("mosquitto_pub", &[&said, words].concat())
    }

    /// Runs one of Mosquitto's clients with the card, under its name.
    pub fn mosquitto(&self, client: &str, words: &[&str]) -> String {
        let own = ["-i", &self.name, "--cert", "card.pem", "--key", "key.pem"];
        self.mosquitto_as(client, &[&own, words].concat())
    }

    /// Runs one of Mosquitto's clients with these words alone.
    pub fn mosquitto_as(&self, client: &str, words: &[&str]) -> String {
        let port = self.port.to_string();
        let hub = ["-d", "-V", "5", "-h", "localhost", "-p", &port, "--cafile", "ca.pem"];
        run(self.dir.path(), client, &[&hub, words].concat())
    }

    /// Keeps what the hub issued.
    pub fn keep(&mut self, answer: &Answer) {
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        document["name"].as_str().unwrap().clone_into(&mut self.name);
        fs::write(self.path("card.pem"), document["certificate"].as_str().unwrap()).unwrap();
    }
}

/// `ID.SECRET` of a token's word.
pub fn secret_of(token: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let word = token.trim().rsplit(['.', ' ']).next().unwrap();
    let document: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(word).unwrap()).unwrap();
    document["t"].as_str().unwrap().to_owned()
}

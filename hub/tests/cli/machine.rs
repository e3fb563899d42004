//! A hub with its state on disk, which can be stopped and started again, and written to.

use std::{fs, net::SocketAddr, path::Path};

use lichen_hub::{
    cli::kubeconfig::Places,
    server::{self, HubConfig, Running},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Said, lichen};

/// A hub in this process, with its state on disk.
pub struct Machine {
    runtime: Runtime,
    running: Option<Running>,
    places: Places,
}

impl Machine {
    pub fn start(state: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let any = "127.0.0.1:0".parse().expect("an address");
        let config = HubConfig::new(state.to_owned(), any, any);
        let running = runtime.block_on(server::start(config)).expect("a hub");
        let places = Places { hubs: vec![running.kubeconfig().to_owned()], ..Places::default() };
        Self { runtime, running: Some(running), places }
    }

    /// Where operators connect.
    pub fn api(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").api()
    }

    /// Where devices connect.
    pub fn devices(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").devices()
    }

    pub fn lichen(&self, line: &str) -> Said {
        lichen(&self.places, line)
    }

    pub fn apply(&self, dir: &Path, number: u32) {
        let file = dir.join("map.yaml");
        let text = |name: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{n: '{number}'}}\n---\n"
            )
        };
        fs::write(&file, text("a") + &text("b")).expect("a file");
        self.lichen(&format!("apply -f {}", file.display())).well();
    }

    /// What the ConfigMaps `a` and `b` hold.
    pub fn numbers(&self) -> [u32; 2] {
        ["a", "b"].map(|name| {
            let map = self.lichen(&format!("get configmap {name} -o json")).well();
            let map: Value = serde_json::from_str(&map).expect("JSON");
            map["data"]["n"].as_str().and_then(|n| n.parse().ok()).expect("a number")
        })
    }

    pub fn version(&self) -> String {
        self.lichen("version").well()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop()).expect("it stops");
        }
    }
}

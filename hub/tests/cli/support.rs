//! A hub to talk to, and a way to run commands on it.

use std::path::Path;

use clap::Parser;
use lichen_hub::{
    cli::{
        Context,
        args::Cli,
        client::Client,
        run,
        ui::{Captured, Ui},
    },
    server::{self, Broker, HubConfig, Running},
    store::MemoryStore,
};
use tokio::runtime::Runtime;

/// What a command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: u8,
}

impl Said {
    /// Its output; it must have ended well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// Its errors; it must have failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.code, 0, "{self:#?}");
        self.err
    }
}

/// Runs a command line, without the program's name, against a hub.
pub fn lichen(server: &str, line: &str) -> Said {
    lichen_words(server, &line.split_whitespace().collect::<Vec<_>>())
}

/// Runs a command line that has spaces in its words.
pub fn lichen_words(server: &str, words: &[&str]) -> Said {
    let words = ["lichen", "--server", server].into_iter().chain(words.iter().copied());
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            return Said { out: String::new(), err: error.to_string(), code: 2 };
        }
    };
    let (ui, out, err): (Ui, Captured, Captured) = Ui::captured();
    let mut context = Context::new(Client::new(cli.server, false).with_token(cli.token), ui);
    let code = match run(&mut context, cli.command) {
        Ok(()) => 0,
        Err(error) => {
            error.print(&mut context.ui);
            error.exit_code()
        }
    };
    Said { out: out.text(), err: err.text(), code }
}

/// A hub in this process, with a directory for a test's files. Its broker is not there, so that no device can be.
pub struct Hub {
    runtime: Runtime,
    running: Option<Running>,
    dir: tempfile::TempDir,
    url: String,
}

impl Hub {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let api = "127.0.0.1:0".parse().expect("an address");
        let broker = Broker::External("mqtt://127.0.0.1:1".to_owned());
        let config = HubConfig::new(dir.path().join("state"), api, broker);
        let store = Box::new(MemoryStore::default());
        let running = runtime.block_on(server::start_on(config, store)).expect("a hub");
        let url = format!("http://{}", running.api());
        Self { runtime, running: Some(running), dir, url }
    }

    pub fn lichen(&self, line: &str) -> Said {
        lichen(&self.url, line)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop()).expect("it stops");
        }
    }
}

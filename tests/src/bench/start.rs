//! Sizes on disk, and how long the hub takes to answer.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::{
    Plan,
    figures::{Row, mebibytes, milliseconds},
};
use crate::{hub::Hub, programs::workspace_program, samples::config_map};

/// Between two attempts to reach a hub that starts: a part of what is to be measured.
const PAUSE: Duration = Duration::from_micros(200);

/// The programs' sizes.
#[must_use]
pub fn sizes() -> Vec<Row> {
    let size = |name: &str, goal: &str| {
        let bytes = fs::metadata(workspace_program(name)).map_or(0, |file| file.len());
        #[expect(clippy::cast_precision_loss, reason = "programs are small")]
        let figure = mebibytes(bytes as f64);
        Row::new(&format!("`{name}` on disk"), figure, goal, "file size, release build".into())
    };
    vec![
        size("lichen-agent", "≤ 5 MiB"),
        size("lichen-shim", ""),
        size("lichen", ""),
        size("lichen-wasmc", ""),
    ]
}

/// From the start of the process to the answer of `/healthz`.
#[must_use]
pub fn hub_start(plan: &Plan) -> Vec<Row> {
    let mut hub = Hub::start_quietly();
    for number in 0..10 {
        hub.api().apply("configmaps", &config_map(&format!("map-{number}"), "key", "value"));
    }
    let tls = Arc::new(hub.admin_tls());
    let mut took = Vec::with_capacity(plan.starts);
    for _ in 0..plan.starts {
        hub.stop();
        let start = Instant::now();
        hub.launch();
        while !answers(hub.address(), &tls) {
            thread::sleep(PAUSE);
        }
        took.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let how = format!(
        "process start to `GET /healthz` answered over TLS, on its state, {} starts",
        plan.starts
    );
    vec![Row::new("hub start to API answering", milliseconds(&took), "≤ 50 ms", how)]
}

fn answers(address: SocketAddr, tls: &Arc<ClientConfig>) -> bool {
    let ask = || -> std::io::Result<bool> {
        let stream = TcpStream::connect(address)?;
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

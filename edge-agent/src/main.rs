//! The program `lichen-agent`: flags, logging, signals. What it does is in the library.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use lichen_agent::{
    Options,
    args::{self, Command as Asked, HELP, Join},
    join::{self, JoinError},
    local::{self, client::LocalError},
    state::StateDir,
};
use tokio::signal::unix::{SignalKind, signal};

/// Stack of the threads for blocking work. They decode gzip and write files; nothing nests deeply.
const THREAD_STACK_BYTES: usize = 512 * 1024;
/// Blocking work at a time: what `run` lets happen at once, and some for starting, saving and logs.
const THREADS: usize = 16;
/// Idle threads end soon: an idle agent has one.
const THREAD_KEEP_ALIVE: std::time::Duration = std::time::Duration::from_millis(200);

fn main() -> ExitCode {
    // The keys of the device will be in this process.
    if let Err(error) = lichen_shim::keep_out_of_cores() {
        return fail(&error);
    }
    // What containers are to see is made with these bits, whatever the service manager has set; what is nobody's business has
    // narrower ones, or is in a directory that has.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Run(options)) => run(*options),
        Ok(Asked::Join(join)) => match joined(&join) {
            Ok(()) if join.exit => ExitCode::SUCCESS,
            Ok(()) => {
                let error = run_instead(&join);
                tracing::debug!(%error, "could not start anew without the token on the command line");
                run(join.options)
            }
            Err(error) => fail(&error),
        },
        Ok(Asked::Local(asked)) => {
            match local::client::ask(&asked, &mut std::io::stdout().lock()) {
                Ok(()) => ExitCode::SUCCESS,
                // Whoever reads has seen enough.
                Err(LocalError::Print(_)) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
        Ok(Asked::WasmRun(spec)) => {
            let code = lichen_agent::wasm_run(&spec);
            // Codes are a byte for the system; anything else is kept from reading as success.
            ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Ok(Asked::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            println!("lichen-agent {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// Returns once the device is a hub's, which may take days. Until then a signal ends the program, and nothing is lost.
fn joined(asked: &Join) -> Result<(), JoinError> {
    start_logging();
    let state = StateDir::open(&asked.options.state)?;
    let mut tell = |line: &str| println!("{line}");
    let name = asked.name.as_deref();
    join::join(&state, &asked.invitation, name, &mut tell, &mut std::thread::sleep).map(drop)
}

/// Puts an agent with another command line in the place of this process. Returns only if that can't be done.
fn run_instead(join: &Join) -> std::io::Error {
    let mut agent = Command::new(&join.options.wasm_program);
    agent.args(&join.afterwards).env_remove(args::JOIN_TOKEN).exec()
}

fn run(options: Options) -> ExitCode {
    start_logging();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_stack_size(THREAD_STACK_BYTES)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(lichen_agent::run(options, asked_to_end()));
    // A download that is under way is continued by the next agent.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// SIGTERM or SIGINT; a second one ends the program at once.
async fn asked_to_end() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        // Without handlers the signals end the program by themselves, which leaves Pods running too.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
}

fn start_logging() {
    use tracing::level_filters::LevelFilter;
    // An empty text would parse as a level, and not as the one that is meant by saying nothing.
    let wanted = std::env::var("LICHEN_LOG").ok().filter(|word| !word.is_empty());
    let level = match wanted.as_deref().map(str::parse::<LevelFilter>) {
        Some(Ok(level)) => level,
        None => LevelFilter::INFO,
        Some(Err(_)) => {
            let word = wanted.unwrap_or_default();
            eprintln!(
                "LICHEN_LOG={word} is not off, error, warn, info, debug or trace: using info"
            );
            LevelFilter::INFO
        }
    };
    let logs = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    // Joining has started them already.
    let _ = logs.with_writer(std::io::stderr).try_init();
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("lichen-agent: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}

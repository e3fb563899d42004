//! One run of a compiler. The module is untrusted and the compiler may crash on it, hang or grow: it limits itself,
//! and this side takes whatever end it comes to.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use lichen_hub_core::event::ImageError;
use lichen_images::{Digest, Store, distribution::chain};
use tokio::{io::AsyncReadExt, process::Command};

/// The compiler ends itself long before.
const MAX_TIME: Duration = Duration::from_secs(300);
/// Of what it prints; one line is expected.
const MAX_COMPLAINT_BYTES: u64 = 4096;

/// What to compile, and with what.
pub(super) struct Job {
    pub(super) compiler: PathBuf,
    pub(super) class: String,
    pub(super) module: Digest,
    pub(super) images: Store,
    pub(super) workshop: PathBuf,
}

/// How a compiler ended.
enum End {
    Exit(ExitStatus, String),
    TooLong,
}

/// Compiles a module, and keeps the code in the artefact store. Gives its digest and size.
pub(super) async fn run(job: Job) -> Result<(Digest, u64), ImageError> {
    let files = Files::new(&job.workshop).map_err(|error| ours("prepare a directory", &error))?;
    let (images, module, input) = (job.images.clone(), job.module, files.input.clone());
    blocking(move || copy_out(&images, &module, &input)).await?;
    let end = compile(&job, &files)
        .await
        .map_err(|error| ours(&format!("run {}", job.compiler.display()), &error))?;
    judge(&job, end)?;
    let images = job.images.clone();
    blocking(move || {
        let kept =
            keep(&images, &files.output).map_err(|error| ours("keep the compiled code", &error));
        drop(files);
        kept
    })
    .await
}

async fn compile(job: &Job, files: &Files) -> io::Result<End> {
    let mut child = Command::new(&job.compiler)
        .arg("compile")
        .args(["--class", &job.class])
        .arg("--output")
        .arg(&files.output)
        .arg(&files.input)
        // It compiles what strangers wrote, and the hub's environment may hold its key.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stderr = child.stderr.take();
    let ended = async {
        let mut complaint = Vec::new();
        if let Some(stderr) = stderr {
            // More than that is not read; the compiler then ends on a broken pipe.
            stderr.take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await?;
        }
        let status = child.wait().await?;
        let complaint = String::from_utf8_lossy(&complaint);
        let line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        io::Result::Ok(End::Exit(status, line))
    };
    tokio::time::timeout(MAX_TIME, ended).await.unwrap_or(Ok(End::TooLong))
}

/// The exit codes are documented with `lichen-wasmc`.
fn judge(job: &Job, end: End) -> Result<(), ImageError> {
    let (status, complaint) = match end {
        End::Exit(status, _) if status.success() => return Ok(()),
        End::Exit(status, complaint) => (status, complaint),
        End::TooLong => {
            let message =
                format!("compiling took more than {} s and was ended", MAX_TIME.as_secs());
            return Err(ImageError { reason: "CompileLimit".into(), message, retry: false });
        }
    };
    let (reason, retry) = match status.code() {
        Some(2) => ("WasmRefused", false),
        Some(3) | None => ("CompileLimit", false),
        Some(_) => ("CompilerFailed", true),
    };
    let complaint = match complaint.as_str() {
        "" => format!("{} ended with {status}", job.compiler.display()),
        complaint => complaint.to_owned(),
    };
    let message = format!("could not compile the module for {}: {complaint}", job.class);
    Err(ImageError { reason: reason.into(), message, retry })
}

fn copy_out(images: &Store, module: &Digest, to: &Path) -> Result<(), ImageError> {
    let missing = |cause: String| ImageError {
        reason: "ArtefactMissing".into(),
        message: format!("could not read the module {module}: {cause}; push the image again"),
        retry: true,
    };
    let opened = images.get(module).map_err(|error| missing(chain(&error)))?;
    let mut opened = opened.ok_or_else(|| missing("it is not in the store".to_owned()))?;
    let copied = File::create(to).and_then(|mut file| io::copy(&mut opened.file, &mut file));
    copied.map(drop).map_err(|error| ours("copy the module", &error))
}

fn keep(images: &Store, from: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(from)?;
    let mut upload = images.begin().map_err(io::Error::other)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            got => upload.append(&buffer[..got]).map_err(io::Error::other)?,
        }
    }
    let size = upload.offset();
    let digest = upload.finish(None).map_err(io::Error::other)?;
    Ok((digest, size))
}

fn ours(what: &str, error: &io::Error) -> ImageError {
    let message = format!("the hub could not {what}: {}", chain(error));
    ImageError { reason: "CompilerFailed".into(), message, retry: true }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let panicked = |panic: tokio::task::JoinError| ours("finish", &io::Error::other(panic));
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

/// The files of one run, in a directory that goes away with it.
struct Files {
    input: PathBuf,
    output: PathBuf,
    _dir: tempfile::TempDir,
}

impl Files {
    fn new(workshop: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir_in(workshop)?;
        let (input, output) = (dir.path().join("module.wasm"), dir.path().join("module.cwasm"));
        Ok(Self { input, output, _dir: dir })
    }
}

//! `image`: what goes into the catalogue and out of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

/// What to do with images.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
pub enum ImageCommand {
    /// Put an image or a Wasm module into the hub's catalogue
    #[command(
        after_help = "PATH is an OCI layout directory, an OCI or docker archive (.tar, .tar.gz), a .wasm or a .wat file.\nOnly what the hub does not have yet is sent.\n\nExamples:\n  lichen image push hello.wasm hello:1.0\n  docker save web:2 -o web.tar && lichen image push web.tar web:2"
    )]
    Push {
        /// What to push
        path: PathBuf,
        /// The name in the catalogue; the tag is latest if none is given
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// Of a source with several images, the one with this name
        #[arg(long, value_name = "NAME")]
        select: Option<String>,
    },
    /// Make an image of a static program or a directory, without a Dockerfile
    Pack(PackArgs),
    /// Show the images of the catalogue
    #[command(visible_alias = "ls")]
    List {
        /// Another form than a table
        #[arg(short, long, value_name = "FORM")]
        output: Option<Output>,
    },
    /// Remove names from the catalogue
    #[command(visible_alias = "remove")]
    Rm {
        /// The names
        #[arg(value_name = "NAME[:TAG]", required = true)]
        names: Vec<String>,
    },
}

/// Arguments of `image pack`.
#[derive(Debug, Args)]
#[command(
    after_help = "With -t and no -o the image is pushed to the hub; with -o it is written to a file (.tar) or directory.\n\nExamples:\n  lichen image pack target/aarch64-unknown-linux-musl/release/sensor -t sensor:1.2\n  lichen image pack rootfs/ -t web:1 --entrypoint /bin/web --env PORT=8080\n  lichen image pack sensor -o sensor.tar"
)]
pub struct PackArgs {
    /// A static program, or a directory that becomes the root file system
    pub path: PathBuf,
    /// The image's name
    #[arg(short, long, value_name = "NAME[:TAG]", required_unless_present = "output")]
    pub tag: Option<String>,
    /// Write it here and don't push it: an archive if it ends in .tar, else a directory
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// The program and its fixed arguments; may be repeated for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    /// Default arguments, which a workload's args replace; may be repeated
    #[arg(long = "arg", value_name = "WORD", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// An environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// The working directory
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// The user: uid, uid:gid or names of the image's own /etc/passwd
    #[arg(long)]
    pub user: Option<String>,
    /// The architecture (amd64, arm64, arm, riscv64), if the program does not tell
    #[arg(long, value_name = "ARCH")]
    pub platform: Option<lichen_images::Platform>,
    /// A label of the image; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
}

//! Pushes an image with the OCI distribution API: what the hub has already is not sent.

use std::io::{self, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lichen_images::{
    Descriptor, Digest, Reference,
    source::Pushable,
    walk::{Kind, Piece},
};
use ureq::{
    SendBody,
    http::{Method, header},
};

use crate::cli::{
    Context,
    client::{Client, ClientError, read_all, segment},
    error::CliError,
    ui::{Level, Tone},
};

/// Pushes an image under a name, and says what was sent.
///
/// # Errors
/// The image changed while it was read, or the hub does not take it.
pub fn push(context: &mut Context, image: &Pushable, name: &Reference) -> Result<(), CliError> {
    let registry = Registry { client: &context.client, name };
    let tag = name.tag.as_ref().map_or("latest", |tag| tag.as_str());
    let already =
        registry.digest_of(tag)?.as_deref() == Some(image.root.digest.to_string().as_str());
    if already {
        context.ui.line(&format!("{name} unchanged ({})", image.root.digest))?;
        return Ok(());
    }
    let missing = registry.missing(image)?;
    let bytes: u64 = missing.iter().map(|piece| piece.descriptor.size).sum();
    let visible = context.ui.err_terminal && context.ui.level > Level::Quiet;
    let bar = progress(bytes, visible, name);
    for piece in &missing {
        registry.send_blob(image, piece, &bar)?;
    }
    for piece in image.pieces().iter().filter(|piece| is_document(piece)) {
        let target = if piece.descriptor.digest == image.root.digest {
            tag.to_owned()
        } else {
            piece.descriptor.digest.to_string()
        };
        registry.send_document(image, piece, &target)?;
    }
    bar.finish_and_clear();
    let pushed = context.ui.tinted("pushed", Tone::Good);
    let sent = if missing.is_empty() { "nothing new".to_owned() } else { size(bytes) };
    context.ui.line(&format!("{name} {pushed} ({}, {sent} sent)", image.root.digest))?;
    Ok(())
}

fn progress(bytes: u64, visible: bool, name: &Reference) -> ProgressBar {
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    );
    let bar = ProgressBar::with_draw_target(Some(bytes), target).with_prefix(name.to_string());
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 10 << 20 => format!("{} MiB", b >> 20),
        b if b >= 10 << 10 => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

/// Manifests and indexes go where names are; everything else is a blob.
fn is_document(piece: &Piece) -> bool {
    matches!(piece.kind, Kind::Manifest)
}

struct Registry<'a> {
    client: &'a Client,
    name: &'a Reference,
}

impl Registry<'_> {
    fn path(&self, rest: &str) -> String {
        let name: Vec<String> = self.name.name.as_str().split('/').map(segment).collect();
        format!("/v2/{}/{rest}", name.join("/"))
    }

    /// The digest that a tag stands for, if it stands for anything.
    fn digest_of(&self, tag: &str) -> Result<Option<String>, CliError> {
        let target = self.path(&format!("manifests/{}", segment(tag)));
        let response = self.client.send(Method::HEAD, &target, &[("accept", "*/*")], None)?;
        let digest = response.headers().get("docker-content-digest");
        let found = response.status().is_success();
        Ok(digest.filter(|_| found).and_then(|digest| digest.to_str().ok()).map(str::to_owned))
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, CliError> {
        let target = self.path(&format!("blobs/{digest}"));
        Ok(self.client.send(Method::HEAD, &target, &[], None)?.status().is_success())
    }

    fn missing<'i>(&self, image: &'i Pushable) -> Result<Vec<&'i Piece>, CliError> {
        let mut missing = Vec::new();
        for piece in image.pieces().iter().filter(|piece| !is_document(piece)) {
            if !self.has_blob(&piece.descriptor.digest)? {
                missing.push(piece);
            }
        }
        Ok(missing)
    }

    /// Starts an upload, and finishes it with one request that has the whole blob.
    fn send_blob(
        &self,
        image: &Pushable,
        piece: &Piece,
        bar: &ProgressBar,
    ) -> Result<(), CliError> {
        let Descriptor { digest, size, .. } = &piece.descriptor;
        let target = self.path("blobs/uploads/");
        let empty = Some(SendBody::none());
        let response =
            self.client.send(Method::POST, &target, &[("content-length", "0")], empty)?;
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok()).map(str::to_owned);
        if !response.status().is_success() {
            return Err(self.refused(response));
        }
        let Some(location) = location else {
            let cause = "it names no place for the upload".to_owned();
            return Err(ClientError::Answer { url: target, cause }.into());
        };
        // A registry may answer with a whole URL; ours answers with a path.
        let base = self.client.url("");
        let path = location.strip_prefix(base.as_str()).unwrap_or(&location);
        let joint = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{joint}digest={}", segment(&digest.to_string()));
        let blob = image.open(piece).map_err(|error| self.unreadable(&error))?;
        let mut counted = Counted { reader: blob, bar };
        let length = size.to_string();
        let headers =
            [("content-type", "application/octet-stream"), ("content-length", length.as_str())];
        let body = SendBody::from_reader(&mut counted);
        let response = self.client.send(Method::PUT, &target, &headers, Some(body))?;
        if response.status().is_success() { Ok(()) } else { Err(self.refused(response)) }
    }

    fn send_document(&self, image: &Pushable, piece: &Piece, target: &str) -> Result<(), CliError> {
        let mut bytes = Vec::new();
        let mut blob = image.open(piece).map_err(|error| self.unreadable(&error))?;
        blob.read_to_end(&mut bytes).map_err(|error| self.unreadable(&error))?;
        let target = self.path(&format!("manifests/{}", segment(target)));
        let length = bytes.len().to_string();
        let headers = [
            ("content-type", piece.descriptor.media_type.as_str()),
            ("content-length", length.as_str()),
        ];
        let mut reader = bytes.as_slice();
        let body = SendBody::from_reader(&mut reader);
        let response = self.client.send(Method::PUT, &target, &headers, Some(body))?;
        if response.status().is_success() { Ok(()) } else { Err(self.refused(response)) }
    }

    fn refused(&self, response: ureq::http::Response<ureq::Body>) -> CliError {
        let code = response.status().as_u16();
        match read_all(response, "the registry") {
            Ok(bytes) => {
                let refused = self.client.refusal(code, &bytes);
                CliError::Failed(format!("could not push {}: {refused}", self.name))
            }
            Err(error) => error.into(),
        }
    }

    fn unreadable(&self, error: &dyn std::error::Error) -> CliError {
        CliError::Failed(format!("could not read the image for {}: {error}", self.name))
    }
}

/// A reader that moves the progress bar.
struct Counted<'b, R> {
    reader: R,
    bar: &'b ProgressBar,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

//! Finds or makes what a device needs of an image: the build for its architecture, or its Wasm module compiled for it.
//!
//! - [`compilers`]: which compiler makes code that a device accepts.
//! - [`compile`]: one run of a compiler, in a process of its own.
//! - [`cache`]: what was compiled before.

mod cache;
mod compile;
mod compilers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firmware_compat::{
    id::Hash,
    v1::owned::{Artefacts, Blob, Layer, List, Packing, WasmSupport},
};
use lichen_hub_core::event::{self, ImageError, ImageRequest};
use lichen_images::{
    Digest, Platform, Store,
    distribution::chain,
    document::MAX_LAYERS,
    media,
    resolve::{ResolveError, Resolved, resolve},
};
use tokio::sync::mpsc;
use tokio::{runtime, sync::Semaphore};

use super::{handle::Input, metrics::Counters};
use cache::Cache;
use compilers::Compilers;

/// Compilations at once. Each uses one core and up to 2 GiB.
const COMPILES: usize = 2;

/// Finds and makes artefacts. Clones share the work.
#[derive(Clone, Debug)]
pub(crate) struct Supplier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    images: Store,
    answers: mpsc::Sender<Input>,
    runtime: runtime::Handle,
    counters: Arc<Counters>,
    compilers: Compilers,
    cache: Cache,
    /// Inputs and outputs of compilers that run.
    workshop: PathBuf,
    slots: Semaphore,
    /// Needs that are being worked on: the same need again waits for the same answer.
    in_work: Mutex<BTreeSet<ImageRequest>>,
    /// Compilations that are wanted or running, by what they make.
    making: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Supplier {
    /// A supplier that keeps its files in the state directory.
    ///
    /// # Errors
    /// A directory can't be made.
    pub(crate) fn new(
        state: &Path,
        compiler: Option<PathBuf>,
        images: Store,
        answers: mpsc::Sender<Input>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let workshop = state.join("workshop");
        // What a crash left there is of no use.
        match fs::remove_dir_all(&workshop) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&workshop)?,
        }
        Ok(Self(Arc::new(Inner {
            images,
            answers,
            runtime: runtime::Handle::current(),
            counters,
            compilers: Compilers::new(compiler, state.join("compilers")),
            cache: Cache::open(&state.join("compiled"))?,
            workshop,
            slots: Semaphore::new(COMPILES),
            in_work: Mutex::default(),
            making: Mutex::default(),
        })))
    }

    /// Starts to find or make it. The answer comes as [`Input::Supplied`].
    pub(crate) fn supply(&self, need: ImageRequest) {
        if !lock(&self.0.in_work).insert(need.clone()) {
            return;
        }
        let inner = self.0.clone();
        self.0.runtime.spawn(async move {
            let result = inner.find(&need).await;
            if let Err(shortage) = &result {
                let image = Digest::from_bytes(need.root.0);
                tracing::warn!(%image, reason = shortage.reason, message = shortage.message, "image can't be supplied");
            }
            lock(&inner.in_work).remove(&need);
            let _engine_gone = inner.answers.send(Input::Supplied { need, result }).await;
        });
    }
}

impl Inner {
    async fn find(self: &Arc<Self>, need: &ImageRequest) -> Result<Artefacts, ImageError> {
        let root = Digest::from_bytes(need.root.0);
        match &need.target {
            event::Platform::Container { arch } => {
                match self.resolve(root, Platform::linux(arch, None)).await? {
                    Resolved::Container { config, layers, .. } => container(&config, &layers),
                    Resolved::Wasm { .. } => Err(no_build(
                        "the image is a Wasm module; set runtimeClassName: wasm in the template"
                            .to_owned(),
                    )),
                }
            }
            event::Platform::Wasm(support) => {
                let any =
                    Platform { architecture: "wasm".into(), os: "wasip1".into(), variant: None };
                match self.resolve(root, any).await? {
                    Resolved::Wasm { module, .. } => self.compiled(module, support).await,
                    Resolved::Container { .. } => Err(no_build(
                        "the image is a container image, not a Wasm module; leave runtimeClassName out of the template"
                            .to_owned(),
                    )),
                }
            }
        }
    }

    async fn resolve(&self, root: Digest, device: Platform) -> Result<Resolved, ImageError> {
        let images = self.images.clone();
        let resolved = tokio::task::spawn_blocking(move || resolve(&images, &root, &device)).await;
        match resolved {
            Ok(resolved) => resolved.map_err(|error| shortage_of(&error)),
            Err(panic) => Err(missing(format!("the hub failed on this image: {panic}"))),
        }
    }

    /// The module, compiled for a kind of device: from the cache, or made now.
    async fn compiled(
        self: &Arc<Self>,
        module: Digest,
        support: &WasmSupport,
    ) -> Result<Artefacts, ImageError> {
        let name = cache::name(&module, support).ok_or_else(|| ImageError {
            reason: "CompilerMissing".into(),
            message: format!(
                "the device reports the Wasm class {:?} and engine {:?}, which no compiler can have",
                support.class.as_str(),
                support.compatibility.as_str()
            ),
            retry: false,
        })?;
        let turn = lock(&self.making).entry(name.clone()).or_default().clone();
        let result = {
            let _turn = turn.lock().await;
            match self.cached(&name) {
                Some(compiled) => Ok(compiled),
                None => self.compile(&name, module, support).await,
            }
        };
        drop(turn);
        // Whoever still waits for the same has its own handle on it.
        lock(&self.making).retain(|_, turn| Arc::strong_count(turn) > 1);
        result.map(|compiled| Artefacts::Wasm { module: Hash(*module.as_bytes()), compiled })
    }

    /// What was compiled before, if it is still there.
    fn cached(&self, name: &str) -> Option<Blob> {
        let digest = self.cache.get(name)?;
        let size = self.images.has(&digest).ok()??;
        Some(Blob { digest: Hash(*digest.as_bytes()), size })
    }

    async fn compile(
        self: &Arc<Self>,
        name: &str,
        module: Digest,
        support: &WasmSupport,
    ) -> Result<Blob, ImageError> {
        let compiler = self.compilers.find(support).await?;
        let slot = self.slots.acquire().await;
        let job = compile::Job {
            compiler,
            class: support.class.as_str().to_owned(),
            module,
            images: self.images.clone(),
            workshop: self.workshop.clone(),
        };
        let started = std::time::Instant::now();
        let made = compile::run(job).await;
        drop(slot);
        self.counters.compiled(made.is_ok());
        let (digest, size) = made?;
        tracing::info!(%module, class = support.class.as_str(), size, ms = started.elapsed().as_millis(), "module compiled");
        if let Err(error) = self.cache.put(name, &digest) {
            tracing::warn!(%error, "could not remember a compiled module; it will be compiled again");
        }
        Ok(Blob { digest: Hash(*digest.as_bytes()), size })
    }
}

fn container(
    config: &lichen_images::resolve::Blob,
    layers: &[lichen_images::resolve::Blob],
) -> Result<Artefacts, ImageError> {
    let mut list = List::default();
    for layer in layers {
        let packing = packing(&layer.media_type);
        list.push(Layer { blob: blob(layer), packing })
            .map_err(|_| no_build(format!("the image has more than {MAX_LAYERS} layers")))?;
    }
    Ok(Artefacts::Image { config: blob(config), layers: list })
}

fn blob(blob: &lichen_images::resolve::Blob) -> Blob {
    Blob { digest: Hash(*blob.digest.as_bytes()), size: blob.size }
}

/// The resolver has refused every other type.
fn packing(media_type: &str) -> Packing {
    match media_type {
        media::OCI_LAYER | media::DOCKER_LAYER => Packing::Tar,
        media::OCI_LAYER_ZSTD => Packing::TarZstd,
        _ => Packing::TarGzip,
    }
}

fn shortage_of(error: &ResolveError) -> ImageError {
    let message = chain(error);
    match error {
        ResolveError::NoBuild { .. }
        | ResolveError::NotAnImage(_)
        | ResolveError::LayerType { .. }
        | ResolveError::WasmLayers(_)
        | ResolveError::Config(..) => no_build(message),
        ResolveError::Wasm(lichen_images::wasm::WasmError::Blob(_))
        | ResolveError::Blob(_)
        | ResolveError::Walk(_) => missing(format!("{message}; push the image again")),
        ResolveError::Wasm(_) => ImageError { reason: "WasmRefused".into(), message, retry: false },
    }
}

fn no_build(message: String) -> ImageError {
    ImageError { reason: "ImageHasNoBuild".into(), message, retry: false }
}

fn missing(message: String) -> ImageError {
    ImageError { reason: "ArtefactMissing".into(), message, retry: true }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

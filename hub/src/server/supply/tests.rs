//! The supplier with a real store and a compiler that ends in every way.

use std::time::Duration;

use lichen_images::{blobs::Memory, blobs::read_small, wasm};

use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

struct Bench {
    supplier: Supplier,
    images: Store,
    answers: mpsc::Receiver<Input>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let images = Store::open(&dir.path().join("artefacts")).expect("open");
        let (sender, answers) = mpsc::channel(16);
        let compiler =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/supply/testdata/compiler.sh");
        let counters = Arc::default();
        let supplier = Supplier::new(dir.path(), Some(compiler), images.clone(), sender, counters)
            .expect("supplier");
        Self { supplier, images, answers, dir }
    }

    /// Stores a Wasm artefact; `remark` makes its manifest a different one.
    fn wasm(&self, remark: &str) -> Hash {
        let mut blobs = Memory::default();
        let root = wasm::artefact(MODULE.to_vec(), &mut blobs).expect("artefact");
        self.images.put(MODULE, None).expect("put");
        let manifest = read_small(&blobs, &root.digest, 1 << 20).expect("manifest");
        let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("json");
        manifest["annotations"] = serde_json::json!({"remark": remark});
        let digest = self.images.put(manifest.to_string().as_bytes(), None).expect("put");
        let config =
            manifest["config"]["digest"].as_str().expect("a digest").parse().expect("digest");
        self.images.put(&read_small(&blobs, &config, 1 << 20).expect("config"), None).expect("put");
        Hash(*digest.as_bytes())
    }

    fn ask(&self, root: Hash, class: &str, compatibility: &str) -> ImageRequest {
        let support = WasmSupport {
            class: class.try_into().expect("short"),
            compatibility: compatibility.try_into().expect("short"),
        };
        let need = ImageRequest { root, target: event::Platform::Wasm(support) };
        self.supplier.supply(need.clone());
        need
    }

    async fn answer(&mut self) -> (ImageRequest, Result<Artefacts, ImageError>) {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.answers.recv()).await;
        match answer.expect("an answer in time") {
            Some(Input::Supplied { need, result }) => (need, result),
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// How often the compiler ran.
    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.dir.path().join("runs")).unwrap_or_default();
        runs.lines().count()
    }

    async fn shortage(&mut self, root: Hash, class: &str, compatibility: &str) -> String {
        self.ask(root, class, compatibility);
        let shortage = self.answer().await.1.expect_err("a shortage");
        let again = if shortage.retry { "again later" } else { "never again" };
        format!("{} ({again}): {}", shortage.reason, shortage.message)
    }
}

#[tokio::test]
async fn a_module_is_compiled_once_for_each_kind_of_device() {
    let mut bench = Bench::new();
    // Two images with the same module, wanted at the same time.
    let (first, second) = (bench.wasm("a"), bench.wasm("b"));
    let wanted = [bench.ask(first, "good", "1111"), bench.ask(second, "good", "1111")];
    let module = Digest::of(MODULE);
    for _ in &wanted {
        let (need, artefacts) = bench.answer().await;
        assert!(wanted.contains(&need));
        let blob = Blob { digest: Hash(*module.as_bytes()), size: MODULE.len() as u64 };
        let expected = Artefacts::Wasm { module: Hash(*module.as_bytes()), compiled: blob };
        assert_eq!(artefacts, Ok(expected));
    }
    assert_eq!(bench.runs(), 1);
    bench.ask(first, "good", "1111");
    bench.answer().await.1.expect("from the cache");
    assert_eq!(bench.runs(), 1);
}

#[tokio::test]
async fn a_compiled_module_that_is_gone_is_compiled_again() {
    let mut bench = Bench::new();
    let root = bench.wasm("a");
    bench.ask(root, "good", "1111");
    bench.answer().await.1.expect("compiled");
    let name = fs::read_dir(bench.dir.path().join("compiled")).expect("list").next();
    let name = name.expect("one file").expect("entry").path();
    fs::write(&name, Digest::of(b"collected").to_string()).expect("write");
    bench.ask(root, "good", "1111");
    bench.answer().await.1.expect("compiled again");
    assert_eq!(bench.runs(), 2);
}

#[tokio::test]
async fn every_end_of_a_compiler_has_its_reason() {
    let mut bench = Bench::new();
    let root = bench.wasm("a");
    let check = async |bench: &mut Bench, class: &str, expected: &str| {
        let shortage = bench.shortage(root, class, "1111").await;
        assert!(shortage.starts_with(expected), "{class}: {shortage}");
    };
    check(
        &mut bench,
        "refused",
        "WasmRefused (never again): could not compile the module for refused: it imports env.magic",
    )
    .await;
    check(
        &mut bench,
        "limit",
        "CompileLimit (never again): could not compile the module for limit: the time limit",
    )
    .await;
    check(
        &mut bench,
        "killed",
        "CompileLimit (never again): could not compile the module for killed: ",
    )
    .await;
    check(
        &mut bench,
        "fault",
        "CompilerFailed (again later): could not compile the module for fault: a fault",
    )
    .await;
    check(&mut bench, "sparc", "CompilerMissing (again later): no compiler makes sparc code").await;
    check(&mut bench, "../x", "CompilerMissing (never again): the device reports").await;
    let other = bench.shortage(root, "good", "2222").await;
    assert!(
        other.contains("for the device's engine 2222") && other.contains("makes 1111"),
        "{other}"
    );
    let leftovers = fs::read_dir(bench.dir.path().join("workshop")).expect("list").count();
    assert_eq!(leftovers, 0, "nothing of a run stays");
}

#[tokio::test]
async fn what_an_image_lacks_is_said() {
    let mut bench = Bench::new();
    let absent = Hash([7; 32]);
    let shortage = bench.shortage(absent, "good", "1111").await;
    assert!(shortage.starts_with("ArtefactMissing (again later): "), "{shortage}");
    assert!(shortage.ends_with("push the image again"), "{shortage}");
    let root = bench.wasm("a");
    bench
        .supplier
        .supply(ImageRequest { root, target: event::Platform::Container { arch: "arm64".into() } });
    let shortage = bench.answer().await.1.expect_err("no container");
    assert_eq!(shortage.reason, "ImageHasNoBuild");
    assert!(shortage.message.contains("set runtimeClassName: wasm"), "{}", shortage.message);
}

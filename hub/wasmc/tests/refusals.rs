//! Programs that do not compile, artefacts that do not run, and what is said about each.

mod support;

use lichen_wasm_host::{Class, EXIT_HOST, RunError, run};
use proptest::prelude::*;
use support::{Bench, plain, sample};

const PROGRAM: i32 = 2;
const LIMIT: i32 = 3;
const FAULT: i32 = 1;

fn check(source: &str, code: i32, expected: &[&str]) {
    let bench = Bench::new();
    let (actual, message) = bench.refuse(&bench.file("program.wat", source), &[]);
    for part in expected {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert_eq!(actual, code, "{message}");
}

#[test]
fn an_import_from_elsewhere_is_refused_by_name() {
    check(
        r#"(module (import "env" "gpio_write" (func (param i32)))
             (memory (export "memory") 1) (func (export "_start")))"#,
        PROGRAM,
        &["imports", "\"gpio_write\"", "\"env\""],
    );
}

#[test]
fn an_unknown_function_of_wasi_is_refused_by_name() {
    check(
        r#"(module (import "wasi_snapshot_preview1" "fd_teleport" (func (param i32)))
             (memory (export "memory") 1) (func (export "_start")))"#,
        PROGRAM,
        &["fd_teleport"],
    );
}

#[test]
fn a_function_of_wasi_with_other_types_is_refused_by_name() {
    check(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))
             (memory (export "memory") 1) (func (export "_start")))"#,
        PROGRAM,
        &["proc_exit", "i64"],
    );
}

#[test]
fn a_component_that_imports_from_elsewhere_is_refused_by_name() {
    check(
        r#"(component (import "acme:robot/arm@1.0.0" (instance (export "lift" (func))))
             (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
        PROGRAM,
        &["acme:robot/arm@1.0.0"],
    );
}

#[test]
fn a_component_that_imports_late_is_refused_by_name() {
    check(
        r#"(component (core module) (import "acme:robot/arm@1.0.0" (instance))
             (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
        PROGRAM,
        &["acme:robot/arm@1.0.0"],
    );
}

#[test]
fn a_program_without_an_entry_is_refused_with_the_way_to_build_one() {
    let module = r#"(module (memory (export "memory") 1) (func (export "add")))"#;
    check(module, PROGRAM, &["_start", "wasm32-wasip1"]);
    let library = r#"(module (memory (export "memory") 1) (func (export "_initialize")))"#;
    check(library, PROGRAM, &["_start", "library"]);
    check("(component)", PROGRAM, &["wasi:cli/run@0.2", "wasm32-wasip2"]);
}

#[test]
fn a_module_that_hides_its_memory_is_refused() {
    check(
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
             (memory 1) (func (export "_start")))"#,
        PROGRAM,
        &["memory"],
    );
}

#[test]
fn bytes_that_are_no_program_are_refused() {
    check("(module\n  (modul))", PROGRAM, &["not a valid WebAssembly program", "program.wat:2:4"]);
    check("\0asm\u{1}\0\0\0\u{1}\u{5}", PROGRAM, &["not a valid WebAssembly program"]);
    check("", PROGRAM, &["not a valid WebAssembly program"]);
    check("(module)", PROGRAM, &["_start"]);
    let invalid = r#"(module (memory (export "memory") 1) (func (export "_start") i32.add))"#;
    check(invalid, PROGRAM, &["not a valid WebAssembly program"]);
}

#[test]
fn vector_instructions_are_refused_only_where_the_class_has_none() {
    let source = r#"(module (memory (export "memory") 1) (func (export "_start")
        (v128.store (i32.const 0) (f64x2.ceil (v128.load (i32.const 16))))))"#;
    let bench = Bench::new();
    let input = bench.file("vector.wat", source);
    for class in Class::ALL {
        let (output, _) = bench.compile_with(&input, class, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        if class == Class::Riscv64 {
            assert_eq!(output.status.code(), Some(PROGRAM));
            assert!(message.contains("SIMD"), "{message}");
        } else {
            assert!(output.status.success(), "{class}: {message}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_not_the_programs_fault() {
    let bench = Bench::new();
    let (code, message) = bench.refuse(&bench.path("nowhere.wasm"), &[]);
    assert_eq!(code, FAULT);
    assert!(message.contains("nowhere.wasm"), "{message}");
}

/// A valid program whose compilation takes more than its size suggests: one function with many
/// branches between many variables.
fn heavy(statements: usize) -> String {
    let mut body = String::new();
    for at in 0..statements {
        let (a, b, c) = (at % 97, (at * 31) % 89, (at * 17) % 83);
        body.push_str(&format!(
            "(if (i64.lt_s (local.get {a}) (local.get {b})) (then (local.set {c} \
             (i64.mul (local.get {a}) (i64.add (local.get {b}) (local.get {c}))))))\n"
        ));
    }
    let locals = "i64 ".repeat(100);
    format!(
        r#"(module (memory (export "memory") 1)
             (func (export "_start") (local {locals}) {body}))"#
    )
}

#[test]
fn a_program_that_takes_too_long_hits_the_time_limit() {
    let bench = Bench::new();
    let input = bench.file("heavy.wasm", wat::parse_str(heavy(150_000)).expect("it is valid"));
    let (code, message) = bench.refuse(&input, &["--time-limit-s", "1"]);
    assert_eq!(code, LIMIT, "{message}");
    assert!(message.contains("limit of 1 s"), "{message}");
}

#[test]
fn a_program_that_takes_too_much_memory_hits_the_memory_limit() {
    let bench = Bench::new();
    let input = bench.file("heavy.wasm", wat::parse_str(heavy(100_000)).expect("it is valid"));
    let (code, message) = bench.refuse(&input, &["--memory-limit-mb", "96"]);
    assert_eq!(code, LIMIT, "{message}");
    assert!(message.contains("memory"), "{message}");
}

#[test]
fn a_program_above_the_size_limit_is_not_even_read() {
    let bench = Bench::new();
    let input = bench.path("huge.wasm");
    let file = std::fs::File::create(&input).expect("the temporary folder can be written");
    file.set_len((64 << 20) + 1).expect("a sparse file can be made");
    let (code, message) = bench.refuse(&input, &[]);
    assert_eq!(code, LIMIT, "{message}");
}

#[test]
fn a_refused_program_leaves_the_old_artefact_in_place() {
    let bench = Bench::new();
    let class = Class::of_this_machine();
    let input = bench.file("same.wat", "(module)");
    let before = bench.file(&format!("same.{class}.cwasm"), "the old artefact");
    let (output, artefact) = bench.compile_with(&input, class, &[]);
    assert_eq!(output.status.code(), Some(PROGRAM));
    assert_eq!(before, artefact);
    assert_eq!(std::fs::read(artefact).expect("it is there"), b"the old artefact");
}

#[test]
fn an_artefact_of_another_class_is_refused_with_both_names() {
    let bench = Bench::new();
    let here = Class::of_this_machine();
    for other in Class::ALL.into_iter().filter(|class| *class != here) {
        let run = plain(bench.compile(&sample("exit.wat"), other));
        let (code, _, message) = bench.run(&run, here);
        assert_eq!(code, EXIT_HOST, "{message}");
        for name in [here.as_str(), other.as_str(), "wasmtime", "does not fit this device"] {
            assert!(message.contains(name), "{name} is not in: {message}");
        }
    }
}

#[test]
fn a_program_that_was_not_compiled_is_refused() {
    let bench = Bench::new();
    let module = wat::parse_file(sample("exit.wat")).expect("samples are valid");
    let (code, _, message) =
        bench.run(&plain(bench.file("raw.wasm", module)), Class::of_this_machine());
    assert_eq!(code, EXIT_HOST);
    assert!(message.contains("raw.wasm is not a precompiled"), "{message}");
}

#[test]
fn a_missing_artefact_and_a_missing_directory_are_named() {
    let bench = Bench::new();
    let class = Class::of_this_machine();
    let (code, _, message) = bench.run(&plain(bench.path("gone.cwasm")), class);
    assert_eq!(code, EXIT_HOST);
    assert!(message.contains("gone.cwasm"), "{message}");

    let mut run = plain(bench.compile(&sample("exit.wat"), class));
    run.preopens.push(lichen_wasm_host::Preopen {
        host: bench.path("no-folder"),
        inner: std::path::PathBuf::new(),
        guest: "/data".into(),
        read_only: true,
    });
    let (code, _, message) = bench.run(&run, class);
    assert_eq!(code, EXIT_HOST);
    assert!(message.contains("no-folder") && message.contains("/data"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_without_the_compilers_mark_are_never_loaded(
        elf in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let bench = Bench::new();
        let content = if elf { [b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat() } else { bytes };
        // Byte 7 is the mark: it says that wasmtime has made the file.
        prop_assume!(content.get(7) != Some(&200));
        let result = run::run(&plain(bench.file("garbage", content)));
        prop_assert!(matches!(result, Err(RunError::NotPrecompiled { .. })), "{result:?}");
    }
}

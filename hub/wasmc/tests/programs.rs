//! Programs that compile, and how they run: each one as native code and interpreted.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use lichen_wasm_host::{Class, EXIT_OUT_OF_MEMORY, EXIT_TRAP, Preopen, Run};
use support::{Bench, Lines, componentize::componentize, plain, sample};

/// This machine's own class, and the interpreter, which runs on every machine.
fn runnable() -> [Class; 2] {
    let interpreted =
        if cfg!(target_pointer_width = "64") { Class::Pulley64 } else { Class::Pulley32 };
    [Class::of_this_machine(), interpreted]
}

/// Compiles and runs a program to its end, in both classes, and expects the same from both.
fn check(input: &Path, run: impl Fn(Run) -> Run, code: i32, stdout: &str, stderr: &str) {
    for class in runnable() {
        let bench = Bench::new();
        let run = run(plain(bench.compile(input, class)));
        let (actual, printed, error) = bench.run(&run, class);
        assert_eq!(printed, stdout, "{class}: {error}");
        assert!(error.contains(stderr), "{class}: {error}");
        assert_eq!(actual, code, "{class}: {error}");
        assert!(error.lines().count() <= 1, "{class}: {error}");
    }
}

fn as_component(bench: &Bench, name: &str) -> std::path::PathBuf {
    let module = wat::parse_file(sample(name)).expect("samples are valid");
    let component = componentize(&module).expect("samples become components");
    bench.file("component.wasm", component)
}

#[test]
fn a_module_chooses_its_exit_code() {
    check(&sample("exit.wat"), |run| run, 7, "leaving with 7\n", "");
}

#[test]
fn a_component_made_by_tools_chooses_its_exit_code() {
    let bench = Bench::new();
    // WASI 0.2 programs can only succeed or fail.
    check(&as_component(&bench, "exit.wat"), |run| run, 1, "leaving with 7\n", "");
}

#[test]
fn arguments_and_environment_arrive_and_nothing_else_does() {
    let given = |run| Run {
        args: vec!["program".into(), "-v".into(), "two words".into()],
        env: vec![("NAME".into(), "moss".into()), ("EMPTY".into(), String::new())],
        ..run
    };
    let expected = "program\n-v\ntwo words\nNAME=moss\nEMPTY=\n";
    check(&sample("echo.wat"), given, 0, expected, "");
    let bench = Bench::new();
    check(&as_component(&bench, "echo.wat"), given, 0, expected, "");
}

#[test]
fn a_trap_is_named_with_the_function_that_it_came_from() {
    let message = "trap: wasm trap: out of bounds memory access in read_too_far";
    check(&sample("trap.wat"), |run| run, EXIT_TRAP, "", message);
}

#[test]
fn memory_beyond_the_limit_is_refused_and_told_from_a_trap() {
    let limited = |run| Run { memory_limit_bytes: Some(8 << 20), ..run };
    let message = "out of memory: the guest wanted 8454144 bytes, its limit is 8388608";
    check(&sample("greedy.wat"), limited, EXIT_OUT_OF_MEMORY, "", message);
}

#[test]
fn a_program_that_starts_above_the_limit_does_not_start() {
    let limited = |run| Run { memory_limit_bytes: Some(1000), ..run };
    check(&sample("exit.wat"), limited, EXIT_OUT_OF_MEMORY, "", "wanted 65536 bytes");
}

#[test]
fn endless_recursion_is_a_trap_and_not_a_crash() {
    let bench = Bench::new();
    let input = bench.file(
        "deep.wat",
        r#"(module (memory (export "memory") 1)
             (func $deeper (param i64) (result i64)
               (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))
             (func (export "_start") (drop (call $deeper (i64.const 0)))))"#,
    );
    check(&input, |run| run, EXIT_TRAP, "", "trap: wasm trap: call stack exhausted in deeper");
}

#[test]
fn a_service_prints_each_line_at_once_and_ends_by_the_signal() {
    for input in ["hello.wat", "hello-component.wat"] {
        for class in runnable() {
            let bench = Bench::new();
            let run = Run {
                env: vec![("NAME".into(), "moss".into())],
                ..plain(bench.compile(&sample(input), class))
            };
            let mut child = bench.start(&run, class);
            let lines = Lines::of(&mut child);
            // It runs for ever: whatever arrives has not waited in a buffer for its end.
            assert_eq!(lines.next(), "hello from moss", "{input} {class}");
            assert_eq!(lines.next(), "moss: 1", "{input} {class}");
            let pid = rustix::process::Pid::from_child(&child);
            let term = rustix::process::Signal::TERM;
            rustix::process::kill_process(pid, term).expect("the process is alive");
            let status = child.wait().expect("the process can be awaited");
            assert_eq!(status.signal(), Some(term.as_raw()), "{input} {class}");
        }
    }
}

#[test]
fn a_read_only_directory_can_be_read_and_not_written() {
    // Opens "kept" below the first directory with the flags given: 1 creates it.
    let program = |creates: i32| {
        format!(
            r#"(module
              (import "wasi_snapshot_preview1" "path_open" (func $open
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "kept")
              (func (export "_start")
                (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)
                  (i32.const {creates}) (i64.const 2) (i64.const 2) (i32.const 0)
                  (i32.const 16)))))"#
        )
    };
    let bench = Bench::new();
    let folder = bench.path("data");
    std::fs::create_dir(&folder).expect("the folder is new");
    let with = |read_only| {
        let host = folder.clone();
        move |run| Run {
            preopens: vec![Preopen {
                host: host.clone(),
                inner: std::path::PathBuf::new(),
                guest: "/data".into(),
                read_only,
            }],
            ..run
        }
    };
    let (creating, reading) =
        (bench.file("create.wat", program(1)), bench.file("read.wat", program(0)));
    const NOT_PERMITTED: i32 = 63;
    const NO_ENTRY: i32 = 44;
    check(&creating, with(true), NOT_PERMITTED, "", "");
    check(&reading, with(true), NO_ENTRY, "", "");
    assert!(!folder.join("kept").exists());
    check(&creating, with(false), 0, "", "");
    assert!(folder.join("kept").exists());
    check(&reading, with(true), 0, "", "");
}

#[test]
fn sockets_exist_only_where_the_network_is_granted() {
    let bench = Bench::new();
    let input = bench.file("socket.wat", include_str!("socket.wat"));
    check(&input, |run| run, 1, "", "");
    check(&input, |run| Run { network: true, ..run }, 0, "", "");
}

#[test]
fn every_sample_compiles_for_every_class() {
    let samples = std::fs::read_dir(sample("")).expect("the samples are there");
    for input in samples.map(|entry| entry.expect("the folder can be read").path()) {
        for class in Class::ALL {
            let bench = Bench::new();
            bench.compile(&input, class);
        }
    }
}

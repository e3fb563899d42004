//! A program of about 150 bytes that prints `ok` and exits with 0, for the trial of a runtime.
//!
//! It needs no libraries and no files of the device, so a trial tells about the runtime and nothing else. The code is
//! two system calls, write(1, "ok\n", 3) and exit(0), written out for each architecture behind a minimal ELF header.
//! Sources: ELF specification 1.2 and each architecture's psABI; numbers from the kernel's system call tables.

/// What the program prints.
pub(crate) const OUTPUT: &[u8] = b"ok\n";

/// Where the program is loaded: above the kernel's lowest mappable address, on a border of the largest pages.
const BASE: u64 = 0x10_0000;
const PAGE: u64 = 0x1_0000;
/// Segment flags: readable and executable.
const READ_EXECUTE: u32 = 5;

/// The program as an ELF file for an architecture by Rust's name, if there is one.
pub(crate) fn elf(architecture: &str) -> Option<Vec<u8>> {
    let (machine, wide, flags, code) = match architecture {
        "x86_64" => (62, true, 0, X86_64.to_vec()),
        "aarch64" => (183, true, 0, words(&AARCH64)),
        "riscv64" => (243, true, 0, words(&RISCV64)),
        "arm" => (40, false, 0x0500_0000, words(&ARM)), // EABI version 5
        _ => return None,
    };
    let code = [code.as_slice(), OUTPUT].concat();
    Some(if wide { elf64(machine, flags, &code) } else { elf32(machine, flags, &code) })
}

/// The text is found relative to the instruction that loads its address; it follows the code.
const X86_64: [u8; 24] = [
    0x6a, 0x01, 0x58, // push 1; pop rax (write)
    0x89, 0xc7, // mov edi, eax (standard output)
    0x48, 0x8d, 0x35, 12, 0, 0, 0, // lea rsi, [rip + 12]
    0x6a, 0x03, 0x5a, // push 3; pop rdx
    0x0f, 0x05, // syscall
    0x6a, 0x3c, 0x58, // push 60; pop rax (exit)
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
];

const AARCH64: [u32; 8] = [
    0xd280_0020, // mov x0, 1
    0x1000_00e1, // adr x1, . + 28
    0xd280_0062, // mov x2, 3
    0xd280_0808, // mov x8, 64 (write)
    0xd400_0001, // svc 0
    0xd280_0000, // mov x0, 0
    0xd280_0ba8, // mov x8, 93 (exit)
    0xd400_0001, // svc 0
];

const RISCV64: [u32; 9] = [
    0x0010_0513, // li a0, 1
    0x0000_0597, // auipc a1, 0
    0x0205_8593, // addi a1, a1, 32
    0x0030_0613, // li a2, 3
    0x0400_0893, // li a7, 64 (write)
    0x0000_0073, // ecall
    0x0000_0513, // li a0, 0
    0x05d0_0893, // li a7, 93 (exit)
    0x0000_0073, // ecall
];

const ARM: [u32; 8] = [
    0xe3a0_0001, // mov r0, 1
    0xe28f_1014, // add r1, pc, 20
    0xe3a0_2003, // mov r2, 3
    0xe3a0_7004, // mov r7, 4 (write)
    0xef00_0000, // svc 0
    0xe3a0_0000, // mov r0, 0
    0xe3a0_7001, // mov r7, 1 (exit)
    0xef00_0000, // svc 0
];

fn words(code: &[u32]) -> Vec<u8> {
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const HEADER_64: u64 = 64;
const SEGMENT_64: u64 = 56;

fn elf64(machine: u16, flags: u32, code: &[u8]) -> Vec<u8> {
    let start = HEADER_64 + SEGMENT_64;
    let size = start + code.len() as u64;
    let mut file = identity(2, machine);
    for field in [BASE + start, HEADER_64, 0] {
        file.extend(field.to_le_bytes()); // entry point, segments at, no sections
    }
    file.extend(flags.to_le_bytes());
    for field in [HEADER_64 as u16, SEGMENT_64 as u16, 1, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes()); // a segment to load
    file.extend(READ_EXECUTE.to_le_bytes());
    for field in [0, BASE, BASE, size, size, PAGE] {
        file.extend(field.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    file.extend(code);
    file
}

const HEADER_32: u32 = 52;
const SEGMENT_32: u32 = 32;

fn elf32(machine: u16, flags: u32, code: &[u8]) -> Vec<u8> {
    let (base, page) = (BASE as u32, PAGE as u32);
    let start = HEADER_32 + SEGMENT_32;
    let size = start + code.len() as u32;
    let mut file = identity(1, machine);
    for field in [base + start, HEADER_32, 0, flags] {
        file.extend(field.to_le_bytes());
    }
    for field in [HEADER_32 as u16, SEGMENT_32 as u16, 1, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    for field in [1, 0, base, base, size, size, READ_EXECUTE, page] {
        file.extend(field.to_le_bytes());
    }
    file.extend(code);
    file
}

/// The first 24 bytes: magic, class, little-endian, version; an executable for the machine.
fn identity(class: u8, machine: u16) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the program for an architecture and runs it, through an emulator if one is given.
    fn check(architecture: &str, emulator: Option<&str>) {
        use std::os::unix::fs::OpenOptionsExt;
        let program = elf(architecture).expect("a program for this architecture");
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("ok");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(&path).expect("file");
        std::io::Write::write_all(&mut file, &program).expect("write");
        drop(file);
        let run = || match emulator {
            Some(emulator) => std::process::Command::new(emulator).arg(&path).output(),
            None => std::process::Command::new(&path).output(),
        };
        // Another test's child may hold the file open for writing in the moment between its fork and exec.
        let output = (0..1000).find_map(|_| run().ok()).expect("it runs");
        assert_eq!((output.stdout.as_slice(), output.status.code()), (OUTPUT, Some(0)));
    }

    #[test]
    fn the_program_prints_ok_and_exits_with_zero() {
        check(std::env::consts::ARCH, None);
    }

    #[test]
    #[ignore = "needs qemu-user-static: run by make test"]
    fn the_programs_of_other_architectures_do_the_same() {
        for architecture in ["aarch64", "arm", "riscv64", "x86_64"] {
            check(architecture, Some(&format!("qemu-{architecture}-static")));
        }
    }

    #[test]
    fn every_supported_architecture_has_one() {
        for (architecture, class) in [("x86_64", 2), ("aarch64", 2), ("riscv64", 2), ("arm", 1)] {
            let program = elf(architecture).expect("a program");
            assert_eq!(program[4], class);
            assert!(program.ends_with(OUTPUT) && program.len() < 200);
        }
        assert_eq!(elf("s390x"), None);
    }
}

//! The process's allocator: the system's, except that running out ends the process with exit code
//! 3 and a message, where Rust would abort with a signal.

#![expect(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

use crate::error::EXIT_LIMIT;

struct ExitWhenExhausted;

#[global_allocator]
static ALLOCATOR: ExitWhenExhausted = ExitWhenExhausted;

// SAFETY: every call goes to the system's allocator with the caller's own arguments, so its
// promises hold as the caller made them; the only change is that a null result never returns.
unsafe impl GlobalAlloc for ExitWhenExhausted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises, passed on.
        or_exit(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises, passed on.
        or_exit(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promises, passed on.
        or_exit(unsafe { System.realloc(block, layout, new_size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

fn or_exit(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        // Standard error has no buffer: this does not allocate.
        let _ = std::io::stderr().write_all(
            b"compiling needs more memory than the limit: simplify the program or raise the limit\n",
        );
        std::process::exit(i32::from(EXIT_LIMIT));
    }
    block
}

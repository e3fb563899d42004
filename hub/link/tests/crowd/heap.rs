//! Counts heap bytes by who asked for them: threads of the test say so, and what all others hold is the endpoint's.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

thread_local! {
    static IS_TESTS: Cell<bool> = const { Cell::new(false) };
}

static HELD: AtomicIsize = AtomicIsize::new(0);

/// This thread is the test's.
pub fn is_tests() {
    IS_TESTS.set(true);
}

/// Heap bytes that threads of the endpoint hold.
pub fn held_by_the_endpoint() -> isize {
    HELD.load(Relaxed)
}

struct Counting;

fn note(bytes: isize) {
    // Unreadable only while a thread ends.
    if !IS_TESTS.try_with(Cell::get).unwrap_or(true) {
        HELD.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

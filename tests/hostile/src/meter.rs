//! Counts the heap bytes of the current thread, so that a target can say how much an input may cost. The allocator
//! below is in force in every program that links this crate: the fuzz targets and the replay test.

#![expect(unsafe_code, reason = "a global allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Metered;

#[global_allocator]
static ALLOCATOR: Metered = Metered;

thread_local! {
    /// Bytes allocated less bytes freed by this thread since it began; what another thread frees is not seen.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Highest value of `LIVE` since the meter was last set.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is being torn down has no counters any more; nothing is measured then.
    let _ = LIVE.try_with(|live| {
        let now = live.get() + change;
        live.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments, so its promises hold as the
// caller made them. Counting touches two cells of the thread and never allocates.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may exist for a moment; that moment is not counted.
        count(signed(new_size) - signed(layout.size()));
        // SAFETY: the caller's promises, passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promises, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work` and asserts that this thread never held more than `limit` heap bytes beyond what it held before.
///
/// # Panics
/// If it did: with what was being done, and both figures.
pub fn bounded<T>(what: &str, limit: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    let outer = PEAK.replace(before);
    let result = work();
    let peak = PEAK.get();
    PEAK.set(outer.max(peak));
    let used = usize::try_from(peak - before).unwrap_or(0);
    assert!(used <= limit, "{what} took {used} bytes of memory, {limit} are allowed");
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_below_the_limit_passes() {
        assert_eq!(bounded("a small vector", 4096, || vec![1_u8; 1000].len()), 1000);
    }

    #[test]
    #[should_panic(expected = "a large vector took")]
    fn what_was_freed_again_counts_as_well() {
        bounded("a large vector", 4096, || drop(vec![1_u8; 10_000]));
    }
}

//! Bounded text, lists and bytes: the building blocks of the messages, once owned and once of fixed capacity.

/// On a microcontroller: everything in place, no allocator.
pub mod fixed {
    /// UTF-8 text of at most `N` bytes.
    pub type Text<const N: usize> = heapless::String<N>;
    /// At most `N` items.
    pub type List<T, const N: usize> = heapless::Vec<T, N>;
    /// At most `N` bytes.
    pub type Bytes<const N: usize> = heapless::Vec<u8, N>;
}

/// With an allocator: grows as needed, refuses what is over the bound.
#[cfg(feature = "alloc")]
pub mod owned;

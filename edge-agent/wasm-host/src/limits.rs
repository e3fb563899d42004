//! The guest's memory limit: counts linear memories and tables together, refuses what goes beyond,
//! and remembers the refusal so that the end of the guest can be told from an ordinary trap.
//!
//! It does not count the host's own memory; a hard limit on the process is the shim's business.

use wasmtime::{Error, ResourceLimiter, Result};

/// What one entry of a table costs: a pointer, whatever it points to.
const TABLE_ENTRY_BYTES: usize = size_of::<usize>();

/// Memory held and refused.
#[derive(Debug, Default)]
pub struct Memory {
    limit_bytes: Option<u64>,
    held_bytes: u64,
    last_growth_bytes: u64,
    refused: Option<Refusal>,
}

/// A request for memory that was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the guest would have held in all.
    pub wanted_bytes: u64,
    /// What it may hold.
    pub limit_bytes: u64,
}

impl Memory {
    /// Nothing held yet. No limit means: what the machine gives.
    pub fn new(limit_bytes: Option<u64>) -> Memory {
        Memory { limit_bytes, ..Memory::default() }
    }

    /// The first request that was refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let growth_bytes = desired.saturating_sub(current) as u64;
        let wanted_bytes = self.held_bytes.saturating_add(growth_bytes);
        let limit_bytes = self.limit_bytes.unwrap_or(u64::MAX);
        if wanted_bytes > limit_bytes {
            self.refused.get_or_insert(Refusal { wanted_bytes, limit_bytes });
            self.last_growth_bytes = 0;
            return false;
        }
        self.held_bytes = wanted_bytes;
        self.last_growth_bytes = growth_bytes;
        true
    }

    /// What was granted last could not be had from the machine after all.
    fn take_back(&mut self) {
        let refusal = Refusal { wanted_bytes: self.held_bytes, limit_bytes: self.held_bytes };
        self.held_bytes = self.held_bytes.saturating_sub(self.last_growth_bytes);
        if self.last_growth_bytes > 0 {
            self.refused.get_or_insert(Refusal { limit_bytes: self.held_bytes, ..refusal });
        }
        self.last_growth_bytes = 0;
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let bytes = |entries: usize| entries.saturating_mul(TABLE_ENTRY_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn table_grow_failed(&mut self, _: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_memories_share_one_limit() {
        let mut memory = Memory::new(Some(100));
        assert!(memory.grow(0, 60));
        assert!(!memory.grow(0, 60));
        assert_eq!(memory.refused(), Some(Refusal { wanted_bytes: 120, limit_bytes: 100 }));
        assert!(memory.grow(60, 100));
    }

    #[test]
    fn growth_that_the_machine_could_not_give_is_not_counted() {
        let mut memory = Memory::new(Some(100));
        assert!(memory.grow(0, 60));
        memory.take_back();
        assert!(memory.grow(0, 100));
        assert!(memory.refused().is_some());
    }
}

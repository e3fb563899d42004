//! Random numbers from a seed that the shell gives: ids and names differ between hubs, and a run can be repeated.

use firmware_compat::id::PodId;

/// xoshiro256**, by Blackman and Vigna. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator from 32 bytes of seed.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // The all-zero state is the one that this generator can't leave.
        state[0] |= 1;
        Self(state)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Sixteen bytes for an id, marked as a random UUID (RFC 9562, version 4).
    pub fn id(&mut self) -> PodId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_le_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_le_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        PodId(bytes)
    }

    /// Five characters for the end of a Pod's name, from Kubernetes' alphabet: no vowels, no look-alikes.
    pub fn suffix(&mut self) -> [u8; 5] {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut bits = self.bits();
        core::array::from_fn(|_| {
            let letter = ALPHABET[(bits % 27) as usize];
            bits /= 27;
            letter
        })
    }
}

//! Random numbers that are equal on every machine and in every version. They are not fit for
//! secrets.
//!
//! SplitMix64 (Steele, Lea, Flood 2014) only uses integers, so the numbers depend on no
//! mathematical library. The code is our own, so that no version of a dependency can change a data
//! set.

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The last step of SplitMix64: a bijection of 64 bits, so different numbers stay different.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Makes the seed for one purpose (`domain`) and one thing (`index`), independent of all other
/// seeds.
pub fn derive(seed: u64, domain: u64, index: u64) -> u64 {
    mix(mix(seed ^ mix(domain.wrapping_mul(STEP))).wrapping_add(index.wrapping_mul(STEP)))
}

/// A stream of random numbers from one seed.
pub struct Random(u64);

impl Random {
    /// Starts the stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A random number below `bound`, or 0 if `bound` is 0. Its bias is below 2^-32 for every bound
    /// in use.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// True with a probability of `per_mille` / 1000.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A random number with a long tail: in half of the cases below `first`, in a quarter below
    /// twice that, and so on. There are `doublings` doublings.
    pub fn long_tailed(&mut self, first: u64, doublings: u32) -> u64 {
        let doubled = self.next().trailing_zeros().min(doublings);
        self.below(first << doubled)
    }
}

/// The numbers below `length` in a random order, without a table. It is a Feistel network of four
/// rounds over the next power of four, which is repeated until the number is in range.
pub struct Permutation {
    seed: u64,
    length: u64,
    half_bits: u32,
}

impl Permutation {
    /// The random order that belongs to `seed`. `length` must be at least 1.
    pub fn new(seed: u64, length: u64) -> Self {
        let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
        Self { seed, length, half_bits: bits.div_ceil(2).max(1) }
    }

    /// The number at place `index` of the order. `index` must be below the length. Different places
    /// have different numbers.
    pub fn at(&self, index: u64) -> u64 {
        debug_assert!(index < self.length);
        let mut value = index;
        loop {
            value = self.encrypt(value);
            if value < self.length {
                return value;
            }
        }
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 1..=4_u64 {
            let key = self.seed.wrapping_add(round.wrapping_mul(STEP));
            (left, right) = (right, left ^ (mix(key ^ right) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_stream_is_the_published_splitmix64() {
        // The reference implementation gives these first numbers for the seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn permutations_hit_every_number_once() {
        for length in [1, 2, 3, 5, 64, 1000, 4097] {
            let order = Permutation::new(7, length);
            let seen: HashSet<u64> = (0..length).map(|index| order.at(index)).collect();
            assert_eq!(seen.len(), usize::try_from(length).unwrap());
            assert!(seen.iter().all(|value| *value < length));
        }
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.below(10) < 10));
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| random.long_tailed(10, 3) < 80));
    }
}

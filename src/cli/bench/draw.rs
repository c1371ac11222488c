//! Draws the keys of requests: all equally often, or some far more often than others.
//!
//! By Zipf's law, the n-th most popular key is drawn in proportion to `n^-s`. The method,
//! rejection-inversion (Hörmann and Derflinger, 1996), needs no table. So the load side needs no
//! memory and meets no cache misses, even for a hundred million keys.

use clap::ValueEnum;

use super::super::generate::random::{Permutation, Random, derive};

/// The exponent of Zipf's law, the `s` of `n^-s`; YCSB has the same value.
pub const ZIPF_EXPONENT: f64 = 0.99;

/// How often each key is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keys {
    /// All keys equally often
    Uniform,
    /// By Zipf's law, exponent 0.99
    Zipf,
}

/// Draws keys, which are numbers below a bound.
pub struct KeyDraw {
    bound: u64,
    zipf: Option<(Zipf, Permutation)>,
}

impl KeyDraw {
    /// Prepares to draw keys below `bound`, which is at least 1.
    pub fn new(keys: Keys, bound: u64) -> Self {
        // Popular keys are spread over all keys, as in real data. Otherwise they would be the keys
        // that were loaded first, which lie next to each other.
        let spread = || Permutation::new(derive(0, 40, bound), bound);
        let zipf = (keys == Keys::Zipf).then(|| (Zipf::new(bound, ZIPF_EXPONENT), spread()));
        Self { bound, zipf }
    }

    /// Draws the next key.
    pub fn next(&self, random: &mut Random) -> u64 {
        match &self.zipf {
            None => random.below(self.bound),
            Some((zipf, spread)) => spread.at(zipf.next(random) - 1),
        }
    }
}

/// Draws ranks from 1 to `count`; the first rank is the most frequent.
pub struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the density at the first and the last rank. Draws lie between both.
    first: f64,
    last: f64,
    /// A place that is at most this far before its rank is accepted without the exact test.
    near: f64,
}

impl Zipf {
    /// Prepares the draw of ranks from 1 to `count`. `exponent` must be above 0, and not 1.
    #[allow(clippy::cast_precision_loss, clippy::as_conversions)] // far fewer keys than 2^53
    pub fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count: count as f64, exponent, first: 0.0, last: 0.0, near: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.count + 0.5);
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// Draws the next rank.
    #[allow(clippy::cast_precision_loss, clippy::as_conversions)] // 53 bits are taken
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to count
    pub fn next(&self, random: &mut Random) -> u64 {
        const BITS: f64 = (1_u64 << 53) as f64;
        loop {
            let unit = (random.next() >> 11) as f64 / BITS;
            let area = self.last + unit * (self.first - self.last);
            let place = self.inverse(area);
            let rank = place.round().clamp(1.0, self.count);
            let is_near = rank - place <= self.near;
            if is_near || area >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64;
            }
        }
    }

    fn density(&self, place: f64) -> f64 {
        place.powf(-self.exponent)
    }

    /// The integral of the density from 1 to `place`.
    fn integral(&self, place: f64) -> f64 {
        (place.powf(1.0 - self.exponent) - 1.0) / (1.0 - self.exponent)
    }

    fn inverse(&self, area: f64) -> f64 {
        (area * (1.0 - self.exponent) + 1.0).max(0.0).powf(1.0 / (1.0 - self.exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 200_000;

    /// For each rank, its share of the draws, and the share that Zipf's law gives it.
    fn shares(count: u64, exponent: f64) -> Vec<(f64, f64)> {
        let zipf = Zipf::new(count, exponent);
        let mut random = Random::new(7);
        let mut found = vec![0_u32; usize::try_from(count).unwrap()];
        for _ in 0..DRAWS {
            let rank = zipf.next(&mut random);
            assert!((1..=count).contains(&rank));
            found[usize::try_from(rank - 1).unwrap()] += 1;
        }
        let weights: Vec<f64> = (1..=count)
            .map(|rank| f64::from(u32::try_from(rank).unwrap()).powf(-exponent))
            .collect();
        let sum: f64 = weights.iter().sum();
        let share =
            |(found, weight): (u32, &f64)| (f64::from(found) / f64::from(DRAWS), weight / sum);
        found.into_iter().zip(&weights).map(share).collect()
    }

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        for exponent in [0.5, ZIPF_EXPONENT, 1.2] {
            for (rank, (found, wanted)) in shares(50, exponent).into_iter().enumerate() {
                // Five standard deviations of the share.
                let allowed = 5.0 * (wanted * (1.0 - wanted) / f64::from(DRAWS)).sqrt();
                assert!(
                    (found - wanted).abs() < allowed,
                    "exponent {exponent}, rank {}: {found} instead of {wanted}",
                    rank + 1
                );
            }
        }
    }

    #[test]
    fn one_key_and_two_keys_work() {
        assert_eq!(shares(1, ZIPF_EXPONENT), [(1.0, 1.0)]);
        let two = shares(2, ZIPF_EXPONENT);
        assert!((two[0].0 - two[0].1).abs() < 0.01, "{two:?}");
    }

    #[test]
    fn many_keys_are_within_bounds() {
        let zipf = Zipf::new(100_000_000, ZIPF_EXPONENT);
        let mut random = Random::new(1);
        let mut ranks: Vec<u64> = (0..10_000).map(|_| zipf.next(&mut random)).collect();
        assert!(ranks.iter().all(|rank| (1..=100_000_000).contains(rank)));
        ranks.sort_unstable();
        // The median: half of the draws are among the first few ten thousand of the keys.
        assert!((3000..60_000).contains(&ranks[5000]), "{}", ranks[5000]);
    }

    #[test]
    fn draws_are_spread_over_the_keys() {
        let mut random = Random::new(3);
        for keys in [Keys::Uniform, Keys::Zipf] {
            let draw = KeyDraw::new(keys, 1000);
            let mut found = vec![0_u32; 1000];
            for _ in 0..100_000 {
                found[usize::try_from(draw.next(&mut random)).unwrap()] += 1;
            }
            let most = found.iter().max().unwrap();
            match keys {
                Keys::Uniform => assert!(*most < 200, "{most}"),
                Keys::Zipf => assert!(*most > 10_000 && found[0] < *most, "{most}"),
            }
        }
    }
}

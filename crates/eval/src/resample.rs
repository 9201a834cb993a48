//! Random numbers that are part of the result: seeded from the record, the same on every machine.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use crate::metrics::Tally;

/// Draws items with replacement.
#[derive(Debug)]
pub(crate) struct Resampler {
    generator: Pcg64Mcg,
}

impl Resampler {
    /// A generator that `seed` decides.
    pub(crate) fn new(seed: u64) -> Self {
        Self { generator: Pcg64Mcg::seed_from_u64(seed) }
    }

    /// A number below `bound` (at most 2^32), by the multiplication of a 32-bit number: the bias is below `bound` / 2^32.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.generator.next_u32()) * bound as u64) >> 32) as usize
    }

    /// A number in \[0, 1), a multiple of 2^-32.
    pub(crate) fn uniform(&mut self) -> f64 {
        f64::from(self.generator.next_u32()) / 4_294_967_296.0
    }

    /// A standard normal number (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts as many of `pairs` into `tally` as there are, drawn with replacement.
    pub(crate) fn fill(&mut self, tally: &mut Tally, pairs: &[(usize, usize)]) {
        tally.clear();
        for _ in 0..pairs.len() {
            tally.add(pairs[self.below(pairs.len())], 1);
        }
    }
}

/// The seed of an experiment's bootstrap: 64-bit FNV-1a over the identity of the split, a zero byte, and the experiment's id.
pub(crate) fn seed(data_sha256: &str, experiment: &str) -> u64 {
    let bytes = data_sha256.bytes().chain([0]).chain(experiment.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_fnv_1a() {
        // Published test vectors (Fowler, Noll, Vo): the empty text and "a", here behind the separating zero byte.
        let separator = 0xcbf2_9ce4_8422_2325u64.wrapping_mul(0x0100_0000_01b3);
        assert_eq!(seed("", ""), separator);
        assert_eq!(seed("", "a"), (separator ^ 0x61).wrapping_mul(0x0100_0000_01b3));
        assert_ne!(seed("ab", "c"), seed("a", "bc"));
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_everything() {
        let mut resampler = Resampler::new(1);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[resampler.below(7)] += 1);
        // Expected 1,000 each, standard deviation 29.
        assert!(seen.iter().all(|count| (880..1120).contains(count)), "{seen:?}");
    }
}

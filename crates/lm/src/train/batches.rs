//! The order in which a run sees its examples.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Examples that are sorted by length together, as many as a multiple of the batch allows.
const CHUNK: usize = 64;

/// The batches of one epoch, as indices of examples: shuffled, sorted by length within chunks of about 64 (a step's
/// examples are of like length), then the batches shuffled. The same seed and epoch give the same batches.
pub(crate) fn epoch_batches(lengths: &[usize], batch: usize, seed: u64, epoch: u32) -> Vec<Vec<usize>> {
    let mut random = Pcg64::seed_from_u64(seed ^ (u64::from(epoch) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    shuffle(&mut order, &mut random);
    let chunk = CHUNK.div_ceil(batch) * batch;
    let mut batches = Vec::with_capacity(steps_per_epoch(lengths.len(), batch));
    for chunk in order.chunks_mut(chunk) {
        chunk.sort_by_key(|&index| lengths[index]);
        batches.extend(chunk.chunks(batch).map(<[usize]>::to_vec));
    }
    shuffle(&mut batches, &mut random);
    batches
}

/// Batches of one epoch.
pub(crate) fn steps_per_epoch(examples: usize, batch: usize) -> usize {
    examples.div_ceil(batch)
}

/// Fisher and Yates. Written out so that the order never changes with the version of a library.
fn shuffle<T>(items: &mut [T], random: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        // The bias of the remainder is below 2^-32 for any list that fits in memory.
        let other = (random.next_u64() % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_comes_once() {
        for (examples, batch) in [(1, 8), (7, 8), (64, 8), (130, 8), (100, 7), (3, 100)] {
            let lengths: Vec<usize> = (0..examples).map(|i| (i * 7919) % 50).collect();
            let batches = epoch_batches(&lengths, batch, 3, 0);
            assert_eq!(batches.len(), steps_per_epoch(examples, batch));
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..examples).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_alone() {
        let lengths: Vec<usize> = (0..200).map(|i| (i * 31) % 17).collect();
        assert_eq!(epoch_batches(&lengths, 8, 1, 0), epoch_batches(&lengths, 8, 1, 0));
        assert_ne!(epoch_batches(&lengths, 8, 1, 0), epoch_batches(&lengths, 8, 1, 1));
        assert_ne!(epoch_batches(&lengths, 8, 1, 0), epoch_batches(&lengths, 8, 2, 0));
    }

    #[test]
    fn a_batch_has_like_lengths() {
        let lengths: Vec<usize> = (0..640).map(|i| (i * 7919) % 640).collect();
        let spread = |batch: &Vec<usize>| {
            let of: Vec<usize> = batch.iter().map(|&i| lengths[i]).collect();
            of.iter().max().expect("not empty") - of.iter().min().expect("not empty")
        };
        let batches = epoch_batches(&lengths, 8, 1, 0);
        let mean = batches.iter().map(spread).sum::<usize>() / batches.len();
        assert!(mean < 640 / 5, "{mean}");
    }
}

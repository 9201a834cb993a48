//! Similar texts by their runs of characters ("shingles").

use std::collections::HashMap;

use super::Union;

/// Characters in a run.
const RUN: usize = 4;
/// Jaccard index from which texts are near duplicates, as a fraction, so that comparisons are exact.
const LIKE: (usize, usize) = (9, 10);
/// Characters at the beginning and at the end that are compared.
const HALF: usize = 1_000;
/// Texts under the same rare run that a text is compared with.
const MOST_COMPARED: usize = 200;

/// Joins the texts whose sets of runs have a Jaccard index of at least 0.9.
///
/// If J(x, y) >= t then |y| >= t |x| for the smaller y, and if every set is in one global order, the first
/// |x| - ceil(t |x|) + 1 runs of x and the same of y have one in common. With the rarest runs first, few texts meet.
pub(super) fn join_similar(texts: &[&str], union: &mut Union) {
    let sets = ranked_sets(texts);
    let sketches: Vec<Sketch> = sets.iter().map(|set| sketch(set)).collect();
    let mut order: Vec<usize> = (0..texts.len()).collect();
    // By size, so that sizes in a list only grow; then by text, so that the order of the file does not matter.
    order.sort_unstable_by_key(|&text| (sets[text].len(), texts[text]));
    let mut lists: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut seen = vec![usize::MAX; texts.len()];
    for &text in &order {
        let set = &sets[text];
        let prefix = &set[..prefix_length(set.len())];
        for run in prefix {
            let list = lists.entry(*run).or_default();
            for &other in list.iter().rev().take(MOST_COMPARED) {
                if sets[other].len() * LIKE.1 < set.len() * LIKE.0 {
                    break;
                }
                if seen[other] == text {
                    continue;
                }
                seen[other] = text;
                if may_be_similar(&sketches[other], &sketches[text], sets[other].len() + set.len())
                    && union.root(other) != union.root(text)
                    && similar(&sets[other], set)
                {
                    union.join(other, text);
                }
            }
            list.push(text);
        }
    }
}

/// How many of a set's rarest runs have to be looked up.
fn prefix_length(size: usize) -> usize {
    let needed = (size * LIKE.0).div_ceil(LIKE.1);
    (size - needed + 1).min(size)
}

/// A set in 1,024 bits: each run flips the bit of its rank, so that the bits in which two sets differ are at most as many as the
/// runs that only one of them has (the parity bitmap of Sandes et al. 2017).
type Sketch = [u64; 16];

fn sketch(set: &[u32]) -> Sketch {
    let mut bits = Sketch::default();
    for rank in set {
        // Multiplied, so that neighbouring ranks fall on bits far apart.
        let bit = (rank.wrapping_mul(0x9e37_79b1) >> 22) as usize;
        bits[bit / 64] ^= 1 << (bit % 64);
    }
    bits
}

/// `false` only for sets that are not similar: of sets with J >= 9/10, at most (10 - 9) / (10 + 9) of all their runs are in one
/// set alone. `total` is the sum of their sizes.
fn may_be_similar(a: &Sketch, b: &Sketch, total: usize) -> bool {
    let different: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
    different as usize * (LIKE.1 + LIKE.0) <= total * (LIKE.1 - LIKE.0)
}

/// Whether two sorted sets have a Jaccard index of at least 0.9.
fn similar(a: &[u32], b: &[u32]) -> bool {
    let total = a.len() + b.len();
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                i += 1;
                j += 1;
            }
        }
        // What is left cannot make up for what is missing.
        let most = common + (a.len() - i).min(b.len() - j);
        if most * LIKE.1 < (total - most) * LIKE.0 {
            return false;
        }
    }
    common * LIKE.1 >= (total - common) * LIKE.0
}

/// Each text's runs as sorted ranks, the rarest run over all texts first.
fn ranked_sets(texts: &[&str]) -> Vec<Vec<u32>> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut counts: Vec<(u32, u64)> = Vec::new();
    let mut sets: Vec<Vec<u32>> = Vec::with_capacity(texts.len());
    for text in texts {
        let mut set: Vec<u32> = runs(text)
            .into_iter()
            .map(|run| {
                *numbers.entry(run).or_insert_with(|| {
                    counts.push((0, run));
                    u32::try_from(counts.len() - 1).expect("fewer distinct runs than u32 counts")
                })
            })
            .collect();
        set.sort_unstable();
        set.dedup();
        set.iter().for_each(|number| counts[*number as usize].0 += 1);
        sets.push(set);
    }
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_unstable_by_key(|number| counts[*number as usize]);
    let mut ranks = vec![0u32; order.len()];
    for (rank, number) in order.into_iter().enumerate() {
        ranks[number as usize] = rank as u32;
    }
    for set in &mut sets {
        set.iter_mut().for_each(|number| *number = ranks[*number as usize]);
        set.sort_unstable();
    }
    sets
}

/// Hashes of a text's runs of characters, with a space at either end, so that a short text with a letter more (`item 1` and
/// `item 10`) is another text; of a long text, of its two ends.
fn runs(text: &str) -> Vec<u64> {
    let ends = || std::iter::once(' ');
    let mut characters: Vec<char> = ends().chain(text.chars()).chain(ends()).collect();
    if characters.len() > 2 * HALF {
        characters.drain(HALF..characters.len() - HALF);
    }
    characters.windows(RUN.min(characters.len())).map(hash).collect()
}

/// FNV-1a over the characters' code points: fixed for all time and every machine.
fn hash(characters: &[char]) -> u64 {
    characters.iter().fold(0xcbf2_9ce4_8422_2325, |hash, character| {
        (hash ^ u64::from(u32::from(*character))).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

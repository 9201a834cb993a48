//! Structured ("mimetic") initial weights (Trockman and Kolter 2023): the model begins as a kernel regression in context.
//!
//! The residual stream has a place for each thing: what a token is, what the words before it were, and a few marks. Layer 0
//! marks positions after an arrow (labels) with one head, the first half of the induction circuit (Olsson et al. 2022), and
//! pools the words just read with the others. Every later head compares the pool at an arrow with the pools at labels and
//! copies the labels that it finds. A word weighs as much as it is rare in the training part of the corpus (Spärck Jones
//! 1972). Training moves all of it; without it nothing is learned for the first million tokens.

use super::dice::Dice;
use super::vocabulary::Vocabulary;
use lm::config::ModelConfig;
use lm::transformer::TensorMap;
use std::ops::Range;

/// A head that looks at earlier positions, whatever is there.
struct Positional {
    /// How far back.
    offset: f64,
    /// The rotary frequencies that it uses: the first are the finest.
    frequencies: Range<usize>,
    /// How far the score of the right position stands out.
    peak: f64,
}

/// The token before.
const BEFORE: Positional = Positional { offset: 1.0, frequencies: 0..6, peak: 16.0 };
/// The last words, and those before them.
const NEAR: Positional = Positional { offset: 3.0, frequencies: 2..7, peak: 12.0 };
const FAR: Positional = Positional { offset: 8.0, frequencies: 3..8, peak: 14.0 };

/// Rotary frequencies (radians a position) below this hardly turn within a prompt: they can compare content.
const SLOW: f64 = 0.005;
/// Length of the part of an embedding that all tokens share: it carries positions, and keeps the normalisation from making
/// frequent words as long as rare ones.
const SHARED: f32 = 2.0;
/// Words at least this rare weigh 1; the most frequent weigh [`LEAST`]; the marks of the layout (arrow, line feed) [`MARKS`].
const RARE: f64 = 0.4;
const LEAST: f64 = 0.08;
const MARKS: f32 = 0.3;
/// Heads that it takes to carry all of what a token is.
const SLICES: usize = 3;
/// How much of what the heads of layer 0 find they write: the mark after an arrow, the token before, the pooled words.
const MARK: f32 = 0.2;
const PREVIOUS: f32 = 0.2;
const POOL: f32 = 0.5;
/// How much of a label a later head copies.
const COPY: f32 = 0.15;
/// Strength of comparing pools, of looking from arrows at labels, and of looking at what followed a token like this one.
const COMPARE: f64 = 2.0;
const FOLLOW: f64 = 1.5;
const CONTINUE: f64 = 12.0;
/// Gain of the last norm: how decided the first answers are.
const GAIN: f64 = 12.0;

/// Where things are in the residual stream.
struct Places {
    /// What the token is: as many dimensions as `pool`.
    identity: Range<usize>,
    /// The words before it.
    pool: Range<usize>,
    /// A part of what the token before is.
    before: Range<usize>,
    shared: usize,
    arrow: usize,
    /// Marks positions after an arrow.
    after: usize,
}

impl Places {
    fn of(config: &ModelConfig) -> Self {
        let slice = (config.hidden - 3) / (2 * SLICES + 1);
        let each = slice * SLICES;
        let shared = 2 * each + slice;
        Self {
            identity: 0..each,
            pool: each..2 * each,
            before: 2 * each..shared,
            shared,
            arrow: shared + 1,
            after: shared + 2,
        }
    }
}

/// The initial weights of `config` from `seed`, by their Hugging Face names.
pub(super) fn weights(config: &ModelConfig, vocabulary: &Vocabulary, seed: u64) -> TensorMap {
    let mut dice = Dice::new(seed, 21);
    let (hidden, places) = (config.hidden, Places::of(config));
    let mut map = TensorMap::new();
    let embedding = embeddings(config, &places, vocabulary, &mut dice);
    map.insert("model.embed_tokens.weight", vec![config.vocabulary, hidden], embedding);
    for layer in 0..config.layers {
        let attention = if layer == 0 {
            look_around(config, &places, &mut dice)
        } else {
            compare_and_copy(config, &places, layer, &mut dice)
        };
        attention.insert(&mut map, config, layer);
        insert_feed_forward(&mut map, config, layer, &mut dice);
    }
    map.insert("model.norm.weight", vec![hidden], vec![(GAIN / (hidden as f64).sqrt()) as f32; hidden]);
    map
}

fn embeddings(config: &ModelConfig, places: &Places, vocabulary: &Vocabulary, dice: &mut Dice) -> Vec<f32> {
    let (hidden, size) = (config.hidden, places.identity.len());
    let mut values = vec![0.0; config.vocabulary * hidden];
    for (token, row) in values.chunks_exact_mut(hidden).enumerate() {
        let weight = (vocabulary.rarity[token] / RARE).clamp(LEAST, 1.0);
        let direction = sphere(size, weight, dice);
        row[places.identity.clone()].iter_mut().zip(direction).for_each(|(value, own)| *value = own as f32);
        row[places.shared] = SHARED;
    }
    for mark in [vocabulary.arrow, vocabulary.boundary, vocabulary.line_feed] {
        let row = &mut values[mark as usize * hidden..][..size];
        row.iter_mut().for_each(|value| *value *= MARKS);
    }
    values[vocabulary.arrow as usize * hidden + places.arrow] = 1.0;
    values
}

fn normal(rows: usize, columns: usize, gain: f64, dice: &mut Dice) -> Vec<f32> {
    let deviation = gain / (columns as f64).sqrt();
    (0..rows * columns).map(|_| (dice.normal() * deviation) as f32).collect()
}

fn insert_feed_forward(map: &mut TensorMap, config: &ModelConfig, layer: usize, dice: &mut Dice) {
    let (hidden, inner) = (config.hidden, config.intermediate);
    let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
    map.insert(name("post_attention_layernorm"), vec![hidden], vec![1.0; hidden]);
    map.insert(name("mlp.gate_proj"), vec![inner, hidden], normal(inner, hidden, 1.0, dice));
    map.insert(name("mlp.up_proj"), vec![inner, hidden], normal(inner, hidden, 1.0, dice));
    map.insert(name("mlp.down_proj"), vec![hidden, inner], normal(hidden, inner, 0.03, dice));
}

/// The four matrices of a layer's attention, row-major: `[width, hidden]`, and `[hidden, width]` for the output.
struct Attention {
    hidden: usize,
    width: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    output: Vec<f32>,
}

impl Attention {
    /// A little noise everywhere.
    fn noise(config: &ModelConfig, dice: &mut Dice) -> Self {
        let (hidden, width) = (config.hidden, config.heads * config.head_dim);
        Self {
            hidden,
            width,
            query: normal(width, hidden, 0.1, dice),
            key: normal(width, hidden, 0.1, dice),
            value: normal(width, hidden, 0.1, dice),
            output: normal(hidden, width, 0.02, dice),
        }
    }

    /// Makes unit `unit` carry what is at `from` of the residual stream to `to`, `factor` times.
    fn carry(&mut self, unit: usize, from: usize, to: usize, factor: f32) {
        self.value[unit * self.hidden + from] += 1.0;
        self.output[to * self.width + unit] += factor;
    }

    fn insert(self, map: &mut TensorMap, config: &ModelConfig, layer: usize) {
        let (hidden, width) = (self.hidden, self.width);
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        map.insert(name("input_layernorm"), vec![config.hidden], vec![1.0; hidden]);
        map.insert(name("self_attn.q_proj"), vec![width, hidden], self.query);
        map.insert(name("self_attn.k_proj"), vec![width, hidden], self.key);
        map.insert(name("self_attn.v_proj"), vec![width, hidden], self.value);
        map.insert(name("self_attn.o_proj"), vec![hidden, width], self.output);
    }
}

/// Layer 0: the first head marks what follows an arrow; the others, in pairs, pool what tokens are.
fn look_around(config: &ModelConfig, places: &Places, dice: &mut Dice) -> Attention {
    let size = config.head_dim;
    let slice = places.identity.len() / SLICES;
    let mut attention = Attention::noise(config, dice);
    for head in 0..config.heads {
        let positional = match head {
            0 => &BEFORE,
            1..=SLICES => &NEAR,
            _ => &FAR,
        };
        look_back(config, positional, places.shared, head, &mut attention);
        if head == 0 {
            attention.carry(slice, places.arrow, places.after, MARK);
            for (unit, to) in places.before.clone().enumerate() {
                attention.carry(unit, places.identity.start + unit, to, PREVIOUS);
            }
        } else if head <= 2 * SLICES {
            let first = head % SLICES * slice;
            for unit in 0..slice {
                let (from, to) = (places.identity.start + first + unit, places.pool.start + first + unit);
                attention.carry(head * size + unit, from, to, POOL);
            }
        }
    }
    attention
}

/// A later layer. In every head but the last a part of the slow units compares the pools of query and key; the others let an
/// arrow look at what follows arrows. The last head looks at what followed a token like the present one: it goes on with
/// labels of several tokens.
fn compare_and_copy(config: &ModelConfig, places: &Places, layer: usize, dice: &mut Dice) -> Attention {
    let (hidden, size, pairs) = (config.hidden, config.head_dim, pairs_of(config));
    let slow: Vec<usize> =
        (0..pairs).filter(|&index| config.rotary.theta.powf(-(index as f64) / pairs as f64) < SLOW).collect();
    let (compared, marks) = slow.split_at(slow.len() - 2);
    let slice = places.before.len();
    let mut attention = Attention::noise(config, dice);
    for head in 0..config.heads {
        let units = |pairs_used: &[usize]| -> Vec<usize> {
            pairs_used.iter().flat_map(|pair| [pair + head * size, pair + pairs + head * size]).collect()
        };
        if head + 1 == config.heads {
            let rows = units(&slow);
            let strength = (CONTINUE / rows.len() as f64).sqrt();
            for row in rows {
                for unit in 0..slice {
                    let weight = (dice.normal() * strength) as f32;
                    attention.query[row * hidden + places.identity.start + unit] += weight;
                    attention.key[row * hidden + places.before.start + unit] += weight;
                }
            }
        } else {
            let rows = units(compared);
            let strength = (COMPARE / rows.len() as f64).sqrt();
            for row in rows {
                let direction = sphere(places.pool.len(), (places.pool.len() as f64).sqrt() * strength, dice);
                for (place, weight) in places.pool.clone().zip(direction) {
                    attention.query[row * hidden + place] += weight as f32;
                    attention.key[row * hidden + place] += weight as f32;
                }
            }
            for row in units(marks) {
                attention.query[row * hidden + places.arrow] += FOLLOW.sqrt() as f32;
                attention.key[row * hidden + places.after] += FOLLOW.sqrt() as f32;
            }
        }
        let first = (head + layer) % SLICES * slice;
        for unit in 0..slice {
            let place = places.identity.start + first + unit;
            attention.carry(head * size + unit, place, place, COPY);
        }
    }
    attention
}

/// A random direction of the given length.
fn sphere(size: usize, length: f64, dice: &mut Dice) -> Vec<f64> {
    let mut direction: Vec<f64> = (0..size).map(|_| dice.normal()).collect();
    let own = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
    direction.iter_mut().for_each(|value| *value *= length / own);
    direction
}

fn pairs_of(config: &ModelConfig) -> usize {
    config.head_dim / 2
}

/// Makes a head look `offset` positions back: from what all embeddings share, the query is the key rotated by that many
/// positions.
fn look_back(
    config: &ModelConfig,
    positional: &Positional,
    shared: usize,
    head: usize,
    attention: &mut Attention,
) {
    let (hidden, half) = (config.hidden, pairs_of(config));
    let range = (positional.frequencies.end - positional.frequencies.start) as f64;
    // After normalisation the shared part has nearly the length of the whole, the root of `hidden`.
    let strength = (positional.peak * (config.head_dim as f64).sqrt() / range / (0.8 * hidden as f64)).sqrt();
    for index in positional.frequencies.clone() {
        let angle = positional.offset * config.rotary.theta.powf(-(index as f64) / half as f64);
        let row = head * config.head_dim + index;
        attention.key[row * hidden + shared] += strength as f32;
        attention.query[row * hidden + shared] += (strength * angle.cos()) as f32;
        attention.query[(row + half) * hidden + shared] += (strength * -angle.sin()) as f32;
    }
}

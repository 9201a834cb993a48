//! Structured ("mimetic") initial weights (Trockman and Kolter 2023): the model begins as a rough kernel regression in
//! context. Layer 0 has one head that looks at the token before (the first half of the induction circuit, Olsson et al.
//! 2022) and others that pool the words just read. Every later head compares these pools, prefers positions after a token
//! like the present one (so, from an arrow, labels), and copies what it finds. Without it nothing is learned for the first
//! million tokens.

use super::dice::Dice;
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
/// The last eight words or so.
const WINDOW: Positional = Positional { offset: 4.0, frequencies: 2..7, peak: 16.0 };

/// Rotary frequencies (radians a position) below this hardly turn within a prompt: they can compare content.
const SLOW: f64 = 0.005;
/// Strength of comparing pools, and of preferring what follows a token like this one.
const COMPARE: f64 = 8.0;
const FOLLOW: f64 = 8.0;
/// Deviation of a random embedding.
const EMBEDDING: f64 = 0.25;
/// Share of the value projection's transpose that a copying head's output projection begins with.
const COPY: f32 = 0.2;

/// The initial weights of `config` from `seed`, by their Hugging Face names.
pub(super) fn weights(config: &ModelConfig, seed: u64) -> TensorMap {
    let mut dice = Dice::new(seed, 21);
    let hidden = config.hidden;
    let mut map = TensorMap::new();
    let mut direction: Vec<f64> = (0..hidden).map(|_| dice.normal()).collect();
    let norm = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
    direction.iter_mut().for_each(|value| *value /= norm);
    // Every embedding shares one direction: what does not depend on the token, and so can carry positions.
    let shared = EMBEDDING * (hidden as f64).sqrt();
    let embedding: Vec<f32> = (0..config.vocabulary * hidden)
        .map(|index| (dice.normal() * EMBEDDING + shared * direction[index % hidden]) as f32)
        .collect();
    map.insert("model.embed_tokens.weight", vec![config.vocabulary, hidden], embedding);
    let mut pooled = Pooled { projection: Vec::new(), place: Vec::new() };
    for layer in 0..config.layers {
        let attention = if layer == 0 {
            let (attention, written) = look_around(config, &direction, &mut dice);
            pooled = written;
            attention
        } else {
            compare_and_copy(config, &direction, &pooled, &mut dice)
        };
        attention.insert(&mut map, config, layer);
        insert_feed_forward(&mut map, config, layer, &mut dice);
    }
    map.insert("model.norm.weight", vec![hidden], vec![(4.0 / (hidden as f64).sqrt()) as f32; hidden]);
    map
}

fn normal(rows: usize, columns: usize, gain: f64, dice: &mut Dice) -> Vec<f32> {
    let deviation = gain / (columns as f64).sqrt();
    (0..rows * columns).map(|_| (dice.normal() * deviation) as f32).collect()
}

fn residual_gain(config: &ModelConfig) -> f64 {
    1.0 / (2.0 * config.layers as f64).sqrt()
}

fn insert_feed_forward(map: &mut TensorMap, config: &ModelConfig, layer: usize, dice: &mut Dice) {
    let (hidden, inner) = (config.hidden, config.intermediate);
    let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
    map.insert(name("post_attention_layernorm"), vec![hidden], vec![1.0; hidden]);
    map.insert(name("mlp.gate_proj"), vec![inner, hidden], normal(inner, hidden, 1.0, dice));
    map.insert(name("mlp.up_proj"), vec![inner, hidden], normal(inner, hidden, 1.0, dice));
    map.insert(
        name("mlp.down_proj"),
        vec![hidden, inner],
        normal(hidden, inner, 0.3 * residual_gain(config), dice),
    );
}

/// The four matrices of a layer's attention, row-major: `[width, hidden]`, and `[hidden, width]` for the output.
struct Attention {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    output: Vec<f32>,
}

impl Attention {
    fn zeros(config: &ModelConfig) -> Self {
        let blank = vec![0.0; config.heads * config.head_dim * config.hidden];
        Self { query: blank.clone(), key: blank.clone(), value: blank.clone(), output: blank }
    }

    fn insert(self, map: &mut TensorMap, config: &ModelConfig, layer: usize) {
        let (hidden, width) = (config.hidden, config.heads * config.head_dim);
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        map.insert(name("input_layernorm"), vec![hidden], vec![1.0; hidden]);
        map.insert(name("self_attn.q_proj"), vec![width, hidden], self.query);
        map.insert(name("self_attn.k_proj"), vec![width, hidden], self.key);
        map.insert(name("self_attn.v_proj"), vec![width, hidden], self.value);
        map.insert(name("self_attn.o_proj"), vec![hidden, width], self.output);
    }
}

/// What the heads of layer 0 read of a token and where they write it, head by head; the first head is the one that looks
/// at the token before.
struct Pooled {
    /// `[heads * head_dim, hidden]`
    projection: Vec<f32>,
    /// `[heads * head_dim, hidden]`: rows of length 1, nearly at right angles to each other.
    place: Vec<f32>,
}

/// Rows that do not see the direction that all embeddings share.
fn blind_rows(rows: usize, hidden: usize, gain: f64, direction: &[f64], dice: &mut Dice) -> Vec<f32> {
    let mut values = normal(rows, hidden, gain, dice);
    for row in values.chunks_exact_mut(hidden) {
        let along: f64 = row.iter().zip(direction).map(|(weight, unit)| f64::from(*weight) * unit).sum();
        row.iter_mut().zip(direction).for_each(|(weight, unit)| *weight -= (along * unit) as f32);
    }
    values
}

/// Layer 0.
fn look_around(config: &ModelConfig, direction: &[f64], dice: &mut Dice) -> (Attention, Pooled) {
    let (hidden, width, size) = (config.hidden, config.heads * config.head_dim, config.head_dim);
    let mut attention = Attention::zeros(config);
    attention.query = normal(width, hidden, 0.1, dice);
    attention.key = normal(width, hidden, 0.1, dice);
    attention.value = blind_rows(width, hidden, 1.0, direction, dice);
    let mut place = normal(width, hidden, 1.0, dice);
    for row in place.chunks_exact_mut(hidden) {
        let length = row.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
        row.iter_mut().for_each(|weight| *weight /= length);
    }
    for head in 0..config.heads {
        let block = head * size * hidden..(head + 1) * size * hidden;
        let (query, key) = (&mut attention.query[block.clone()], &mut attention.key[block]);
        look_back(config, if head == 0 { &BEFORE } else { &WINDOW }, direction, query, key);
    }
    for (unit, row) in place.chunks_exact(hidden).enumerate() {
        for (to, weight) in row.iter().enumerate() {
            attention.output[to * width + unit] = *weight;
        }
    }
    let projection = attention.value.clone();
    (attention, Pooled { projection, place })
}

/// A later layer. A part of a head's slow units compares the pools of query and key; the others compare the query's own
/// token with the one before the key.
fn compare_and_copy(config: &ModelConfig, direction: &[f64], pooled: &Pooled, dice: &mut Dice) -> Attention {
    let (hidden, width, size) = (config.hidden, config.heads * config.head_dim, config.head_dim);
    let half = size / 2;
    let slow: Vec<usize> =
        (0..half).filter(|&index| config.rotary.theta.powf(-(index as f64) / half as f64) < SLOW).collect();
    let mut attention = Attention::zeros(config);
    attention.query = normal(width, hidden, 0.1, dice);
    attention.key = normal(width, hidden, 0.1, dice);
    attention.value = blind_rows(width, hidden, 1.0, direction, dice);
    let (before, windows) = pooled.place.split_at(size * hidden);
    for head in 0..config.heads {
        let order: Vec<usize> = dice.sample(slow.len(), slow.len()).into_iter().map(|at| slow[at]).collect();
        let (follow, compare) = order.split_at(slow.len() / 4);
        let rows = |pairs: &[usize]| -> Vec<usize> {
            pairs.iter().flat_map(|pair| [pair + head * size, pair + half + head * size]).collect()
        };
        for row in rows(compare) {
            let mixed = mixture(windows, hidden, 1.0 / (windows.len() / hidden) as f64, &mut *dice).0;
            add(&mut attention.query[row * hidden..][..hidden], &mixed, COMPARE.sqrt());
            add(&mut attention.key[row * hidden..][..hidden], &mixed, COMPARE.sqrt());
        }
        let rows = rows(follow);
        for &row in &rows {
            let (there, factors) = mixture(before, hidden, 1.0 / rows.len() as f64, dice);
            let mut here = vec![0.0; hidden];
            for (factor, own) in factors.iter().zip(pooled.projection.chunks_exact(hidden)) {
                add(&mut here, own, *factor);
            }
            add(&mut attention.query[row * hidden..][..hidden], &here, FOLLOW.sqrt());
            add(&mut attention.key[row * hidden..][..hidden], &there, FOLLOW.sqrt());
        }
    }
    for unit in 0..width {
        for to in 0..hidden {
            attention.output[to * width + unit] = COPY * attention.value[unit * hidden + to];
        }
    }
    attention
}

fn add(sum: &mut [f32], row: &[f32], factor: f64) {
    sum.iter_mut().zip(row).for_each(|(value, weight)| *value += (factor * f64::from(*weight)) as f32);
}

/// A random mixture of rows, and its factors, of the given variance.
fn mixture(rows: &[f32], hidden: usize, variance: f64, dice: &mut Dice) -> (Vec<f32>, Vec<f64>) {
    let mut sum = vec![0.0; hidden];
    let factors: Vec<f64> = (0..rows.len() / hidden).map(|_| dice.normal() * variance.sqrt()).collect();
    for (row, factor) in rows.chunks_exact(hidden).zip(&factors) {
        add(&mut sum, row, *factor);
    }
    (sum, factors)
}

/// Adds to queries and keys of one head what makes it look `offset` positions back: along the shared direction of the
/// embeddings, the query is the key rotated by that many positions.
fn look_back(config: &ModelConfig, head: &Positional, direction: &[f64], query: &mut [f32], key: &mut [f32]) {
    let (hidden, half) = (config.hidden, config.head_dim / 2);
    let range = (head.frequencies.end - head.frequencies.start) as f64;
    let strength =
        (head.peak * (config.head_dim as f64).sqrt() / range).sqrt() / (0.7 * (hidden as f64).sqrt());
    let add = |rows: &mut [f32], row: usize, factor: f64| {
        for (weight, unit) in rows[row * hidden..][..hidden].iter_mut().zip(direction) {
            *weight += (strength * factor * unit) as f32;
        }
    };
    for index in head.frequencies.clone() {
        let angle = head.offset * config.rotary.theta.powf(-(index as f64) / half as f64);
        add(key, index, 1.0);
        add(query, index, angle.cos());
        add(query, half + index, -angle.sin());
    }
}

//! Structured ("mimetic") initial weights (Trockman and Kolter 2023): some heads of the first two layers begin as
//! heads that look at earlier positions, the others as heads that match content and copy it. Both are halves of the
//! induction circuit (Olsson et al. 2022), which otherwise appears only after a long plateau.

use super::dice::Dice;
use lm::config::ModelConfig;
use lm::transformer::TensorMap;

/// A head that looks at an earlier position.
struct Positional {
    /// How far back.
    offset: f64,
    /// The rotary frequencies that it uses: the first are the finest.
    frequencies: std::ops::Range<usize>,
    /// How far the score of the right position stands out.
    peak: f64,
}

/// The heads of layer 0 and of layer 1 that begin as positional ones.
fn positional(layer: usize) -> Vec<Positional> {
    let head = |offset, frequencies, peak| Positional { offset, frequencies, peak };
    match layer {
        0 => vec![head(1.0, 0..3, 9.0), head(2.0, 0..3, 9.0), head(4.0, 2..6, 7.0), head(6.0, 3..8, 7.0)],
        1 => vec![head(1.0, 0..3, 9.0), head(5.0, 3..8, 6.0)],
        _ => Vec::new(),
    }
}

/// Deviation of a random embedding.
const EMBEDDING: f64 = 0.25;
/// Share of the value projection's transpose that a copying head's output projection begins with.
const COPY: f32 = 0.5;

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
    for layer in 0..config.layers {
        insert_attention(&mut map, config, layer, &direction, &mut dice);
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
        normal(hidden, inner, residual_gain(config), dice),
    );
}

fn insert_attention(
    map: &mut TensorMap,
    config: &ModelConfig,
    layer: usize,
    direction: &[f64],
    dice: &mut Dice,
) {
    let (hidden, width, size) = (config.hidden, config.heads * config.head_dim, config.head_dim);
    let mut query = normal(width, hidden, 1.0, dice);
    let mut key = normal(width, hidden, 1.0, dice);
    let mut value = normal(width, hidden, 1.0, dice);
    let mut output = normal(hidden, width, residual_gain(config), dice);
    let heads = positional(layer);
    let count = heads.len().min(config.heads);
    for (head, positional) in heads.iter().take(count).enumerate() {
        let block = head * size * hidden..(head + 1) * size * hidden;
        let (query, key) = (&mut query[block.clone()], &mut key[block.clone()]);
        query.iter_mut().chain(key.iter_mut()).for_each(|weight| *weight *= 0.1);
        look_back(config, positional, direction, query, key);
        if head > 0 {
            // All positional heads write in the same coordinates, so that later layers can compare what they found.
            value.copy_within(0..size * hidden, block.start);
            for row in output.chunks_exact_mut(width) {
                row.copy_within(0..size, head * size);
            }
        }
    }
    for head in count..config.heads {
        let block = head * size * hidden..(head + 1) * size * hidden;
        for row in query[block.clone()].chunks_exact_mut(hidden) {
            let along: f64 = row.iter().zip(direction).map(|(weight, unit)| f64::from(*weight) * unit).sum();
            row.iter_mut().zip(direction).for_each(|(weight, unit)| *weight -= (along * unit) as f32);
        }
        key[block.clone()].copy_from_slice(&query[block.clone()]);
        if layer > 0 {
            for (row, output) in output.chunks_exact_mut(width).enumerate() {
                for unit in 0..size {
                    output[head * size + unit] = COPY * value[block.start + unit * hidden + row];
                }
            }
        }
    }
    let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
    map.insert(name("input_layernorm"), vec![hidden], vec![1.0; hidden]);
    map.insert(name("self_attn.q_proj"), vec![width, hidden], query);
    map.insert(name("self_attn.k_proj"), vec![width, hidden], key);
    map.insert(name("self_attn.v_proj"), vec![width, hidden], value);
    map.insert(name("self_attn.o_proj"), vec![hidden, width], output);
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

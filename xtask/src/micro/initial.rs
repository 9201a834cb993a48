//! Structured ("mimetic") initial weights (Trockman and Kolter 2023): the model begins as a kernel regression in context.
//!
//! The residual stream has a place for each thing: what a token is, what the words before it were, and a few marks. Layer 0
//! marks positions after an arrow (labels), the first half of the induction circuit (Olsson et al. 2022), and says how near
//! the beginning of the line is. Layer 1 pools the words of the line: its windows are the narrower the nearer the line's
//! beginning is, and leave labels out. The later heads compare the pool at an arrow with the pools at labels and copy the
//! labels that they find. A word weighs as much as it is rare in the training part of the corpus (Spärck Jones 1972).
//! Training moves all of it; without it nothing is learned for the first million tokens.
//!
//! The constants come from a random search for the untrained accuracy on tasks of the *training* part; in `docs/LOG.md`
//! stands what each part is worth.

use super::dice::Dice;
use super::vocabulary::Vocabulary;
use lm::config::ModelConfig;
use lm::transformer::TensorMap;
use std::ops::Range;

/// Scores by distance alone: a sum of cosines that is largest `offset` positions back.
struct Window {
    offset: f64,
    /// The rotary frequencies that it uses: the first are the finest.
    frequencies: Range<usize>,
    /// How far the score of the right position stands out, per unit of what asks.
    peak: f64,
}

const fn window(offset: f64, frequencies: Range<usize>, peak: f64) -> Window {
    Window { offset, frequencies, peak }
}

/// The token before.
const BEFORE: Window = window(1.0, 0..12, 16.0);
/// Where to look for the beginning of the line, and how much more than at other tokens.
const BEGINNING: [(Window, f64); 2] = [(window(-4.2, 8..19, 3.0), 2.2), (window(1.7, 6..14, 1.0), 3.0)];
/// The windows of the pooling heads: always, and with the nearness of the line's beginning.
const POOLS: [[Window; 2]; 3] = [
    [window(2.1, 6..21, 8.0), window(1.0, 1..9, 8.0)],
    [window(5.0, 5..24, 7.2), window(3.7, 1..10, 17.0)],
    [window(8.0, 3..11, 8.0), window(1.0, 5..20, 6.0)],
];

/// Rotary frequencies (radians a position) below this hardly turn within a prompt: they can compare content.
const SLOW: f64 = 0.005;
/// Length of the part of an embedding that all tokens share: it carries positions, and keeps the normalisation from making
/// frequent words as long as rare ones.
const SHARED: f32 = 2.3;
/// Words at least this rare weigh 1; the most frequent weigh [`LEAST`]; the marks of the layout (arrow, line feed) [`MARKS`].
const RARE: f64 = 0.4;
const LEAST: f64 = 0.09;
const MARKS: f32 = 0.22;
/// How much of what the first heads find they write: the mark after an arrow, the token before, the nearness of the line's
/// beginning, the pooled words.
const MARK: f32 = 0.2;
const PREVIOUS: f32 = 0.2;
const NEAR: f32 = 0.45;
const POOL: f32 = 0.31;
/// How much of a label a later head copies.
const COPY: f32 = 0.1;
/// How much less labels are pooled than words.
const EXCLUDE: f64 = -9.0;
/// Strength of comparing pools, of looking from arrows at labels, and of looking at what followed a token like this one.
const COMPARE: f64 = 2.57;
const FOLLOW: f64 = 1.4;
const CONTINUE: f64 = 17.0;
/// Gain of the last norm: how decided the first answers are.
const GAIN: f64 = 12.0;

/// Where things are in the residual stream.
struct Places {
    /// What the token is.
    identity: Range<usize>,
    /// The words before it.
    pool: Range<usize>,
    /// What the token before is.
    before: Range<usize>,
    shared: usize,
    arrow: usize,
    /// Marks positions after an arrow.
    after: usize,
    /// Marks the ends of lines.
    line: usize,
    /// How near the beginning of the line is, twice.
    near: usize,
}

impl Places {
    fn of(config: &ModelConfig) -> Self {
        // The marks are a third part's remainder, and one head carries a whole part and a mark.
        let each = ((config.hidden - 6) / 3).min(config.head_dim - 1);
        let shared = 3 * each;
        Self {
            identity: 0..each,
            pool: each..2 * each,
            before: 2 * each..shared,
            shared,
            arrow: shared + 1,
            after: shared + 2,
            line: shared + 3,
            near: shared + 4,
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
        let attention = match layer {
            0 => mark(config, &places, &mut dice),
            1 => pool(config, &places, &mut dice),
            _ => compare_and_copy(config, &places, &mut dice),
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
    for end in [vocabulary.boundary, vocabulary.line_feed] {
        values[end as usize * hidden + places.line] = 1.0;
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

    /// Makes a head look through `window` as far as `asks` is in the query's residual stream; keys have `shared`.
    fn look_back(
        &mut self,
        config: &ModelConfig,
        window: &Window,
        asks: usize,
        (head, shared): (usize, usize),
    ) {
        let (hidden, half) = (config.hidden, pairs_of(config));
        let range = (window.frequencies.end - window.frequencies.start) as f64;
        // After normalisation the shared part has nearly the length of the whole, the root of `hidden`.
        let strength = (window.peak * (config.head_dim as f64).sqrt() / range / (0.8 * hidden as f64)).sqrt();
        for index in window.frequencies.clone() {
            let angle = window.offset * config.rotary.theta.powf(-(index as f64) / half as f64);
            let row = head * config.head_dim + index;
            self.key[row * hidden + shared] += strength as f32;
            self.query[row * hidden + asks] += (strength * angle.cos()) as f32;
            self.query[(row + half) * hidden + asks] += (strength * -angle.sin()) as f32;
        }
    }

    /// Adds up to `score` to a head's scores where the query has `asked` and the key has `had`, at any distance.
    fn prefer(&mut self, config: &ModelConfig, head: usize, (asked, had): (usize, usize), score: f64) {
        let slowest = [pairs_of(config) - 1];
        let length = (score.abs() / 2.0 * (config.head_dim as f64).sqrt() / self.hidden as f64).sqrt();
        for row in units(config, head, &slowest) {
            self.query[row * self.hidden + asked] += length as f32;
            self.key[row * self.hidden + had] += (length * score.signum()) as f32;
        }
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

/// Layer 0: the first head marks what follows an arrow and keeps the token before; two say how near the beginning of the
/// line is.
fn mark(config: &ModelConfig, places: &Places, dice: &mut Dice) -> Attention {
    let size = config.head_dim;
    let mut attention = Attention::noise(config, dice);
    attention.look_back(config, &BEFORE, places.shared, (0, places.shared));
    for (unit, to) in places.before.clone().enumerate() {
        attention.carry(unit, places.identity.start + unit, to, PREVIOUS);
    }
    attention.carry(places.before.len(), places.arrow, places.after, MARK);
    for (index, (window, score)) in BEGINNING.iter().enumerate() {
        let head = index + 1;
        attention.look_back(config, window, places.shared, (head, places.shared));
        attention.prefer(config, head, (places.shared, places.line), *score);
        attention.carry(head * size, places.line, places.near + index, NEAR);
    }
    attention
}

/// Layer 1: all heads but the last pool the words of the line.
fn pool(config: &ModelConfig, places: &Places, dice: &mut Dice) -> Attention {
    let mut attention = Attention::noise(config, dice);
    for (head, [always, near]) in POOLS.iter().enumerate() {
        attention.look_back(config, always, places.shared, (head, places.shared));
        attention.look_back(config, near, places.near + head % BEGINNING.len(), (head, places.shared));
        attention.prefer(config, head, (places.shared, places.after), EXCLUDE);
        for (unit, to) in places.pool.clone().enumerate() {
            attention.carry(head * config.head_dim + unit, places.identity.start + unit, to, POOL);
        }
    }
    continue_label(config, places, &mut attention, dice);
    attention
}

/// A later layer: all heads but the last compare the pools of query and key and copy what the token there is.
fn compare_and_copy(config: &ModelConfig, places: &Places, dice: &mut Dice) -> Attention {
    let (hidden, size) = (config.hidden, config.head_dim);
    let slow = slow_pairs(config);
    let (compared, marks) = slow.split_at(slow.len() - 2);
    let mut attention = Attention::noise(config, dice);
    for head in 0..config.heads - 1 {
        let rows = units(config, head, compared);
        let length = (places.pool.len() as f64 * COMPARE / rows.len() as f64).sqrt();
        let directions = orthogonal(rows.len(), places.pool.len(), dice);
        for (row, direction) in rows.into_iter().zip(directions) {
            for (place, weight) in places.pool.clone().zip(direction) {
                attention.query[row * hidden + place] += (weight * length) as f32;
                attention.key[row * hidden + place] += (weight * length) as f32;
            }
        }
        for row in units(config, head, marks) {
            attention.query[row * hidden + places.arrow] += FOLLOW.sqrt() as f32;
            attention.key[row * hidden + places.after] += FOLLOW.sqrt() as f32;
        }
        for (unit, place) in places.identity.clone().enumerate() {
            attention.carry(head * size + unit, place, place, COPY);
        }
    }
    continue_label(config, places, &mut attention, dice);
    attention
}

/// Makes the last head look at what followed a token like the present one: it goes on with labels of several tokens.
fn continue_label(config: &ModelConfig, places: &Places, attention: &mut Attention, dice: &mut Dice) {
    let (hidden, head) = (config.hidden, config.heads - 1);
    let rows = units(config, head, &slow_pairs(config));
    let strength = (CONTINUE / rows.len() as f64).sqrt();
    for row in rows {
        for (now, before) in places.identity.clone().zip(places.before.clone()) {
            let weight = (dice.normal() * strength) as f32;
            attention.query[row * hidden + now] += weight;
            attention.key[row * hidden + before] += weight;
        }
    }
    for (unit, place) in places.identity.clone().enumerate() {
        attention.carry(head * config.head_dim + unit, place, place, COPY);
    }
}

/// The pairs of a head's units that hardly turn.
fn slow_pairs(config: &ModelConfig) -> Vec<usize> {
    let pairs = pairs_of(config);
    (0..pairs).filter(|&index| config.rotary.theta.powf(-(index as f64) / pairs as f64) < SLOW).collect()
}

/// The rows of a head's units in `pairs`.
fn units(config: &ModelConfig, head: usize, pairs: &[usize]) -> Vec<usize> {
    let first = head * config.head_dim;
    pairs.iter().flat_map(|pair| [first + pair, first + pairs_of(config) + pair]).collect()
}

/// A random direction of the given length.
fn sphere(size: usize, length: f64, dice: &mut Dice) -> Vec<f64> {
    let mut direction: Vec<f64> = (0..size).map(|_| dice.normal()).collect();
    let own = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
    direction.iter_mut().for_each(|value| *value *= length / own);
    direction
}

/// `count` random directions, at right angles as far as they fit into `size` dimensions.
fn orthogonal(count: usize, size: usize, dice: &mut Dice) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = Vec::new();
    for _ in 0..count {
        let mut own = sphere(size, 1.0, dice);
        for other in found.iter().take(size - 1) {
            let product: f64 = own.iter().zip(other).map(|(own, other)| own * other).sum();
            own.iter_mut().zip(other).for_each(|(own, other)| *own -= product * other);
        }
        let length = own.iter().map(|value| value * value).sum::<f64>().sqrt();
        found.push(own.into_iter().map(|value| value / length).collect());
    }
    found
}

fn pairs_of(config: &ModelConfig) -> usize {
    config.head_dim / 2
}

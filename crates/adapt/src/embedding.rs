//! Nearest neighbours by the model's own hidden states.
//!
//! A text's vector is the mean of the last layer's states over its tokens. The mean of the training inputs is taken off, which removes
//! what all texts have in common, and what is left is kept in whole numbers of 16 bits: nearness is a cosine of whole numbers, which no
//! order of summation changes, so that stored vectors choose the same examples wherever they are read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use task::predictor::PredictError;

use crate::Error;
use crate::digest::hex;
use crate::engine::Engine;

/// A text's place: direction only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Vec<i16>);

impl Code {
    /// The direction of `vector`, its largest component at the largest number of 16 bits.
    fn new(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { f32::from(i16::MAX) / largest } else { 0.0 };
        Self(vector.iter().map(|value| (value * scale).round() as i16).collect())
    }

    fn dot(&self, other: &Self) -> i64 {
        self.0.iter().zip(&other.0).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
    }

    /// The cosine of the angle to `other`; 0 where one of them has no direction.
    pub fn cosine(&self, other: &Self) -> f64 {
        let lengths = (self.dot(self) as f64).sqrt() * (other.dot(other) as f64).sqrt();
        if lengths > 0.0 { self.dot(other) as f64 / lengths } else { 0.0 }
    }
}

/// Four hexadecimal digits a component.
impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0.iter().map(|value| format!("{:04x}", *value as u16)).collect()
    }
}

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = |at: usize| text.get(at..at + 4).and_then(|four| u16::from_str_radix(four, 16).ok());
        let values: Option<Vec<i16>> =
            (0..text.len()).step_by(4).map(|at| Some(digits(at)? as i16)).collect();
        values.map(Self).ok_or_else(|| "a vector that is not made of four hexadecimal digits each".to_owned())
    }
}

/// The examples that may be shown, as places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// What is taken off every vector: the mean of the examples'.
    mean: Vec<f32>,
    codes: Vec<Code>,
}

impl Space {
    /// The space of these vectors, one an example, all of one length.
    pub fn new(vectors: &[Vec<f32>]) -> Self {
        let length = vectors.first().map_or(0, Vec::len);
        let mut sums = vec![0.0_f64; length];
        for vector in vectors {
            sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let mean = sums.into_iter().map(|sum| (sum / vectors.len().max(1) as f64) as f32).collect();
        let mut space = Self { mean, codes: Vec::new() };
        space.codes = vectors.iter().map(|vector| space.code(vector)).collect();
        space
    }

    /// The place of another text's vector.
    pub fn code(&self, vector: &[f32]) -> Code {
        Code::new(&vector.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect::<Vec<_>>())
    }

    /// All examples, the nearest to `query` first, ties by index.
    pub fn search(&self, query: &Code) -> Vec<usize> {
        let nearness: Vec<f64> = self.codes.iter().map(|code| code.cosine(query)).collect();
        let mut order: Vec<usize> = (0..self.codes.len()).collect();
        order.sort_by(|&a, &b| nearness[b].total_cmp(&nearness[a]));
        order
    }
}

/// What the vectors of some texts took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effort {
    pub(crate) tokens: f64,
    pub(crate) seconds: f64,
}

/// Everything that a run has embedded, kept beside its weights.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    /// SHA-256 over the training inputs.
    pool: String,
    space: Space,
    setup: Effort,
    asked: BTreeMap<String, (Code, Effort)>,
}

/// The file in the folder of a run's artefacts.
const FILE: &str = "embeddings.json";

/// Embeds texts once and remembers them.
pub(crate) struct Embedder<'a> {
    /// Who embeds; without one, only what is stored is known.
    engine: Option<&'a dyn Engine>,
    file: Option<PathBuf>,
    known: RefCell<Known>,
}

impl<'a> Embedder<'a> {
    /// `folder` is that of the run's artefacts; without one nothing is kept.
    pub(crate) fn new(engine: Option<&'a dyn Engine>, folder: Option<PathBuf>) -> Self {
        let file = folder.map(|folder| folder.join(FILE));
        let stored = file.as_ref().and_then(|file| std::fs::read(file).ok());
        // A file that cannot be read is made again.
        let known = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { engine, file, known: RefCell::new(known) }
    }

    /// Embeds what is not known yet of the `pool` that is chosen from, and of `queries`.
    pub(crate) fn prepare(&self, pool: &[&str], queries: &[&str]) -> Result<(), Error> {
        let sha256 = digest(pool);
        let failed = || Error::model("embedding");
        let mut known = self.known.borrow_mut();
        let missing: Vec<&str> =
            queries.iter().copied().filter(|query| !known.asked.contains_key(*query)).collect();
        if known.pool == sha256 && missing.is_empty() {
            return Ok(());
        }
        let Some(engine) = self.engine else {
            return Err(failed()("the run did not keep the vectors of these texts".into()));
        };
        let mut base = engine.base();
        if known.pool != sha256 {
            let embedded = base.embed(pool).map_err(failed())?;
            let tokens = embedded.tokens.iter().sum::<u64>() as f64;
            let setup = Effort { tokens, seconds: embedded.seconds };
            *known =
                Known { pool: sha256, space: Space::new(&embedded.vectors), setup, asked: BTreeMap::new() };
        }
        let missing = if known.asked.is_empty() { queries.to_vec() } else { missing };
        let embedded = base.embed(&missing).map_err(failed())?;
        let seconds = embedded.seconds / missing.len().max(1) as f64;
        for ((query, vector), tokens) in missing.iter().zip(&embedded.vectors).zip(&embedded.tokens) {
            let code = known.space.code(vector);
            known.asked.insert((*query).to_owned(), (code, Effort { tokens: *tokens as f64, seconds }));
        }
        self.keep(&known)
    }

    fn keep(&self, known: &Known) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = serde_json::to_vec(known).expect("vectors of numbers are JSON");
        Ok(task::atomic::write(file, &bytes)?)
    }

    /// The training inputs as places; empty before [`Embedder::prepare`].
    pub(crate) fn space(&self) -> Space {
        self.known.borrow().space.clone()
    }

    /// Gives `choose` the space and the query's place in it; `None` where [`Embedder::prepare`] did not have the query.
    pub(crate) fn near<T>(&self, query: &str, choose: impl FnOnce(Option<(&Space, &Code)>) -> T) -> T {
        let known = self.known.borrow();
        choose(known.asked.get(query).map(|(code, _)| (&known.space, code)))
    }

    /// What the training inputs took, and a query on average.
    pub(crate) fn effort(&self, queries: &[&str]) -> [Effort; 2] {
        let known = self.known.borrow();
        let mut each = Effort::default();
        for (_, effort) in queries.iter().filter_map(|query| known.asked.get(*query)) {
            each.tokens += effort.tokens / queries.len() as f64;
            each.seconds += effort.seconds / queries.len() as f64;
        }
        [known.setup, each]
    }
}

fn digest(pool: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in pool {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Why a request cannot be answered: nothing embeds it.
pub(crate) fn unembedded() -> PredictError {
    "the demonstrations are chosen by the model's hidden states, and nothing here gives those of the request"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_by_the_angle_around_the_mean() {
        // The mean is (10, 1): around it the examples lie at (0, -1), (0, 1), (-1, 0) and (1, 0).
        let space = Space::new(&[vec![10.0, 0.0], vec![10.0, 2.0], vec![9.0, 1.0], vec![11.0, 1.0]]);
        // (13, 2) is (3, 1) from it: cosines -1/sqrt 10, 1/sqrt 10, -3/sqrt 10, 3/sqrt 10.
        let query = space.code(&[13.0, 2.0]);
        assert_eq!(space.search(&query), [3, 1, 0, 2]);
        assert!((space.codes[3].cosine(&query) - 3.0 / 10.0_f64.sqrt()).abs() < 1e-4);
        assert_eq!(Code::new(&[0.0, 0.0]).cosine(&query), 0.0, "no direction");
    }

    #[test]
    fn vectors_are_read_as_they_were_written() {
        let code = Code::new(&[1.0, -0.25, 0.0]);
        let text = serde_json::to_string(&code).expect("is JSON");
        // 32767, -8192 (-8191.75 rounded) and 0 in two's complement.
        assert_eq!(text, "\"7fffe0000000\"");
        assert_eq!(serde_json::from_str::<Code>(&text).expect("is a code"), code);
        assert!(serde_json::from_str::<Code>("\"7ff\"").is_err());
    }
}

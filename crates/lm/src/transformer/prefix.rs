//! Keys and values kept between forward passes: shared prefixes, and the growing past of a generation.

use std::sync::Arc;

/// Keys and values of consecutive positions in every layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Positions held.
    pub(crate) len: usize,
    /// `[len, kv_heads * head_dim]` of each layer, already rotated.
    pub(crate) keys: Vec<Vec<f32>>,
    /// As `keys`.
    pub(crate) values: Vec<Vec<f32>>,
}

impl Part {
    fn new(layers: usize) -> Self {
        Self { len: 0, keys: vec![Vec::new(); layers], values: vec![Vec::new(); layers] }
    }
}

/// A computed sequence of tokens that any number of sequences can continue. Cloning it, and extending it in
/// several ways, shares what is there: the keys and values are held once.
///
/// It belongs to the transformer and adapter that made it.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    pub(crate) parts: Vec<Arc<Part>>,
}

impl Prefix {
    /// Positions held.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values, those shared with other prefixes included.
    pub fn bytes(&self) -> usize {
        let part_bytes = |part: &Arc<Part>| {
            part.keys.iter().chain(&part.values).map(|values| size_of_val(values.as_slice())).sum::<usize>()
        };
        self.parts.iter().map(part_bytes).sum()
    }

    pub(crate) fn with(&self, part: Part) -> Self {
        let mut parts = self.parts.clone();
        if part.len > 0 {
            parts.push(Arc::new(part));
        }
        Self { parts }
    }
}

/// The past of one sequence that is being generated: a shared [`Prefix`], then positions of its own.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) prefix: Prefix,
    pub(crate) own: Part,
}

impl Cache {
    /// An empty past after `prefix`, for a model of `layers` layers.
    pub(crate) fn new(prefix: Prefix, layers: usize) -> Self {
        Self { prefix, own: Part::new(layers) }
    }

    /// Positions held, the prefix included.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.own.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one position to one layer.
    pub(crate) fn append(&mut self, layer: usize, key: &[f32], value: &[f32]) {
        self.own.keys[layer].extend_from_slice(key);
        self.own.values[layer].extend_from_slice(value);
    }

    /// The whole as a prefix that others can share.
    pub fn into_prefix(self) -> Prefix {
        self.prefix.with(self.own)
    }
}

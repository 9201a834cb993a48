//! Keys and values kept between forward passes: shared prefixes, and the growing past of a generation.

use std::sync::Arc;

use kernels::attention::KeyValues;

/// Keys and values of consecutive positions in every layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Of each layer, already rotated.
    pub(crate) layers: Vec<KeyValues>,
}

impl Part {
    /// Positions held in every layer.
    pub(crate) fn len(&self) -> usize {
        self.layers.last().map_or(0, KeyValues::len)
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
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values, those shared with other prefixes included.
    pub fn bytes(&self) -> usize {
        self.parts.iter().flat_map(|part| &part.layers).map(KeyValues::bytes).sum()
    }

    pub(crate) fn with(&self, part: Part) -> Self {
        let mut parts = self.parts.clone();
        if part.len() > 0 {
            parts.push(Arc::new(part));
        }
        Self { parts }
    }
}

/// The past of one sequence that is being generated: a shared [`Prefix`], then positions of its own; or the computed nodes of a tree
/// below the prefix.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) prefix: Prefix,
    pub(crate) own: Part,
}

impl Cache {
    /// An empty past after `prefix`, with room for the positions of every layer in `layers`.
    pub(crate) fn new(prefix: Prefix, layers: Vec<KeyValues>) -> Self {
        Self { prefix, own: Part { layers } }
    }

    /// Positions held, the prefix included.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.own.len()
    }

    /// Positions (or nodes of a tree) held beyond the prefix.
    pub(crate) fn own_len(&self) -> usize {
        self.own.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole as a prefix that others can share.
    pub fn into_prefix(self) -> Prefix {
        self.prefix.with(self.own)
    }
}

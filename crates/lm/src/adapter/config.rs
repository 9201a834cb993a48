//! What an adapter is: its layers, its rank and scale, how it starts.

/// A linear layer of a block that an adapter can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoraTarget {
    /// `self_attn.q_proj`.
    Query,
    /// `self_attn.k_proj`.
    Key,
    /// `self_attn.v_proj`.
    Value,
    /// `self_attn.o_proj`.
    Output,
    /// `mlp.gate_proj`.
    Gate,
    /// `mlp.up_proj`.
    Up,
    /// `mlp.down_proj`.
    Down,
}

impl LoraTarget {
    /// All linear layers of a block.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];
    /// Those of attention.
    pub const ATTENTION: [Self; 4] = [Self::Query, Self::Key, Self::Value, Self::Output];
    /// Those of the feed-forward layer.
    pub const FEED_FORWARD: [Self; 3] = [Self::Gate, Self::Up, Self::Down];

    /// The last part of the module's name, as `target_modules` in PEFT has it.
    pub fn module(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The target whose module is called `name`.
    pub fn from_module(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.module() == name)
    }
}

/// How to make a [`Lora`](super::Lora).
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Width of the bottleneck. Default 16.
    pub rank: usize,
    /// The change is multiplied by `alpha / rank`. Default twice the rank.
    pub alpha: f64,
    /// The change is multiplied by `alpha / sqrt(rank)` instead (Kalajdzievski 2023). Default no.
    pub rank_stabilized: bool,
    /// Seed of the A matrices. Default 0.
    pub seed: u64,
    /// Layers that get an adapter. Default all seven.
    pub targets: Vec<LoraTarget>,
    /// Whether a magnitude of every output is trained beside the direction (DoRA, Liu et al. 2024). Default no.
    pub magnitudes: bool,
    /// Share of the adapter's inputs that training drops, in [0, 1). Default 0; refused with magnitudes, which would divide by norms of
    /// something else.
    pub dropout: f64,
    /// What A and B are at first. Default [`LoraStart::Uniform`].
    pub start: LoraStart,
    /// Trained tokens before every sequence, whose ids are [`LoraConfig::virtual_ids`]. Default none.
    pub virtual_tokens: usize,
    /// What of them is trained. Default [`VirtualPart::Embeddings`].
    pub virtual_part: VirtualPart,
    /// Tokens that they are at first; random ones where there are fewer than virtual tokens. Default none.
    pub virtual_start: Vec<u32>,
}

/// What is trained of virtual tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualPart {
    /// Their embeddings: prompt tuning (Lester et al. 2021).
    #[default]
    Embeddings,
    /// Their keys and values in every layer: prefix tuning (Li and Liang 2021).
    KeysAndValues,
}

/// What the two matrices of an adapter are before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoraStart {
    /// A uniform in `+-1/sqrt(inputs)`, B zero.
    #[default]
    Uniform,
    /// The principal singular directions of the weights (PiSSA, Meng et al. 2024), which are taken away from the weights at
    /// the same time, so that nothing is changed yet. The weights stay as they are: the part taken away is kept as as many
    /// frozen directions more, so that the adapter is a plain one of twice the rank, as PEFT's conversion makes it.
    Principal,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self::with_rank(16)
    }
}

impl LoraConfig {
    /// The defaults at another rank.
    pub fn with_rank(rank: usize) -> Self {
        Self {
            rank,
            alpha: 2.0 * rank as f64,
            rank_stabilized: false,
            seed: 0,
            targets: LoraTarget::ALL.to_vec(),
            magnitudes: false,
            dropout: 0.0,
            start: LoraStart::Uniform,
            virtual_tokens: 0,
            virtual_part: VirtualPart::Embeddings,
            virtual_start: Vec::new(),
        }
    }

    /// Directions of each module that are held: those that are trained, and as many frozen ones after
    /// [`LoraStart::Principal`].
    pub(super) fn held_rank(&self) -> usize {
        match self.start {
            LoraStart::Uniform => self.rank,
            LoraStart::Principal => 2 * self.rank,
        }
    }

    /// Whether there are virtual tokens of which `part` is trained.
    pub(crate) fn trains(&self, part: VirtualPart) -> bool {
        self.virtual_tokens > 0 && self.virtual_part == part
    }

    /// What the change is multiplied by.
    pub fn scale(&self) -> f64 {
        if self.rank_stabilized {
            self.alpha / (self.rank as f64).sqrt()
        } else {
            self.alpha / self.rank as f64
        }
    }
}

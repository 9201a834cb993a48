//! Prefill and decoding.

use lm::Error;
use lm::transformer::{Batch, Cache, Transformer, Workspace};

use super::{Work, tokens};

/// `sequences` of `length` tokens into caches of their own, with the logits after the last token of each.
pub(crate) struct Prefill {
    transformer: Transformer,
    workspace: Workspace,
    sequences: Vec<Vec<u32>>,
}

impl Prefill {
    pub(crate) fn new(transformer: Transformer, sequences: usize, length: usize) -> Self {
        let all = tokens(transformer.config().vocabulary, sequences * length);
        let sequences = all.chunks(length).map(<[u32]>::to_vec).collect();
        Self { transformer, workspace: Workspace::new(), sequences }
    }
}

impl Work for Prefill {
    fn tokens(&self) -> usize {
        self.sequences.iter().map(Vec::len).sum()
    }

    fn flops(&self) -> f64 {
        self.transformer.forward_flops(&Batch::of(&self.sequences), self.sequences.len(), None).total()
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut caches: Vec<Cache> = self.sequences.iter().map(|_| self.transformer.cache(None)).collect();
        let mut logits = Vec::new();
        advance(&self.transformer, &mut caches, &self.sequences, (&mut self.workspace, &mut logits))?;
        std::hint::black_box(logits);
        Ok(())
    }
}

/// [`Decode::STEPS`] tokens more, greedily, for each of several sequences of [`Decode::CONTEXT`] tokens of their own.
pub(crate) struct Decode {
    transformer: Transformer,
    workspace: Workspace,
    filled: Vec<Cache>,
    live: Vec<Cache>,
    next: Vec<[u32; 1]>,
    logits: Vec<f32>,
}

impl Decode {
    /// Tokens that each sequence has before the first timed step.
    pub(crate) const CONTEXT: usize = 256;
    /// Timed steps of one run.
    pub(crate) const STEPS: usize = 16;

    pub(crate) fn new(transformer: Transformer, sequences: usize) -> Result<Self, Error> {
        let all = tokens(transformer.config().vocabulary, sequences * (Self::CONTEXT - 1));
        let prompts: Vec<Vec<u32>> = all.chunks(Self::CONTEXT - 1).map(<[u32]>::to_vec).collect();
        let mut workspace = Workspace::new();
        let mut filled: Vec<Cache> = prompts.iter().map(|_| transformer.cache(None)).collect();
        advance(&transformer, &mut filled, &prompts, (&mut workspace, &mut Vec::new()))?;
        Ok(Self {
            transformer,
            workspace,
            filled,
            live: Vec::new(),
            next: vec![[5]; sequences],
            logits: Vec::new(),
        })
    }

    /// One token more for every sequence.
    fn step(&mut self) -> Result<(), Error> {
        advance(&self.transformer, &mut self.live, &self.next, (&mut self.workspace, &mut self.logits))?;
        let vocabulary = self.transformer.config().vocabulary;
        for (next, logits) in self.next.iter_mut().zip(self.logits.chunks_exact(vocabulary)) {
            *next = [most_likely(logits)];
        }
        Ok(())
    }
}

impl Work for Decode {
    fn tokens(&self) -> usize {
        self.filled.len() * Self::STEPS
    }

    /// The weights' part alone: attention to 256 positions adds a tenth of it.
    fn flops(&self) -> f64 {
        let rows = self.filled.len();
        Self::STEPS as f64 * self.transformer.forward_flops(&Batch::of(&self.next), rows, None).total()
    }

    fn streamed_bytes(&self) -> Option<f64> {
        Some((Self::STEPS * self.transformer.bytes()) as f64)
    }

    /// Goes back to the context; one untimed step, so that what grows has grown.
    fn prepare(&mut self) -> Result<(), Error> {
        self.live.clone_from(&self.filled);
        self.next.fill([5]);
        self.step()
    }

    fn run(&mut self) -> Result<(), Error> {
        (0..Self::STEPS).try_for_each(|_| self.step())
    }
}

/// The tokens of each sequence after what its cache holds; leaves the logits after the last of each.
fn advance<S: AsRef<[u32]>>(
    transformer: &Transformer,
    caches: &mut [Cache],
    sequences: &[S],
    (workspace, logits): (&mut Workspace, &mut Vec<f32>),
) -> Result<(), Error> {
    let mut batch = Batch::new();
    let mut rows = Vec::with_capacity(sequences.len());
    for (cache, tokens) in caches.iter().zip(sequences) {
        rows.push(batch.push_continuation(cache, tokens.as_ref()) + tokens.as_ref().len() - 1);
    }
    let states = transformer.hidden_states(&batch, &rows, None, Some(caches), workspace)?;
    logits.resize(rows.len() * transformer.config().vocabulary, 0.0);
    transformer.logits_into(&states, logits);
    Ok(())
}

/// Index of the largest value.
fn most_likely(logits: &[f32]) -> u32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == most).unwrap_or(0) as u32
}

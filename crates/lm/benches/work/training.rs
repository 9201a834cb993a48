//! Training steps on 8 sequences of 64 tokens with a loss on the last 3.

use lm::Error;
use lm::adapter::{Lora, LoraConfig};
use lm::train::{Optimizer, OptimizerConfig};
use lm::transformer::{Batch, Gradients, Transformer, Workspace};

use super::{Work, tokens};
use kernels::loss::cross_entropy;

const SEQUENCES: usize = 8;
const LENGTH: usize = 64;
const SUPERVISED: usize = 3;

/// What a step is made on.
struct Input {
    batch: Batch,
    rows: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

impl Input {
    fn new(vocabulary: usize) -> Self {
        let all = tokens(vocabulary, SEQUENCES * LENGTH);
        let batch = Batch::of(&all.chunks(LENGTH).collect::<Vec<_>>());
        // The row before a token predicts it.
        let of_sequence = |start: usize| start + LENGTH - 1 - SUPERVISED..start + LENGTH - 1;
        let rows: Vec<usize> = (0..SEQUENCES).flat_map(|sequence| of_sequence(sequence * LENGTH)).collect();
        let targets = rows.iter().map(|&row| batch.tokens[row + 1]).collect();
        let weights = vec![1.0 / rows.len() as f32; rows.len()];
        Self { batch, rows, targets, weights }
    }

    fn backward(
        &self,
        transformer: &Transformer,
        lora: Option<&Lora>,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> Result<f64, Error> {
        let vocabulary = transformer.config().vocabulary;
        let mut loss = |first: usize, logits: &mut [f32]| {
            let tile = first..first + logits.len() / vocabulary;
            cross_entropy(logits, vocabulary, &self.targets[tile.clone()], &self.weights[tile])
        };
        gradients.renew();
        transformer.train_step(&self.batch, &self.rows, lora, &mut loss, gradients, workspace)
    }
}

/// LoRA of rank 16 on all linear layers, with AdamW.
pub(crate) struct LoraStep {
    transformer: Transformer,
    lora: Lora,
    optimizer: Optimizer,
    gradients: Gradients,
    workspace: Workspace,
    input: Input,
}

impl LoraStep {
    /// On frozen weights.
    pub(crate) fn new(transformer: Transformer) -> Result<Self, Error> {
        let lora = Lora::new(LoraConfig::default(), transformer.config())?;
        let optimizer = Optimizer::new(OptimizerConfig::default(), &lora);
        let (gradients, workspace) = (Gradients::new(&lora), Workspace::new());
        let input = Input::new(transformer.config().vocabulary);
        Ok(Self { transformer, lora, optimizer, gradients, workspace, input })
    }
}

impl Work for LoraStep {
    fn tokens(&self) -> usize {
        self.input.batch.len()
    }

    fn flops(&self) -> f64 {
        let Self { input, lora, .. } = self;
        self.transformer.training_flops(&input.batch, input.rows.len(), Some(lora)).total()
    }

    fn run(&mut self) -> Result<(), Error> {
        let Self { transformer, lora, optimizer, gradients, workspace, input } = self;
        input.backward(transformer, Some(lora), gradients, workspace)?;
        optimizer.step(lora, gradients, 1e-4).map(drop)
    }
}

/// All weights, with AdamW.
pub(crate) struct FullStep {
    transformer: Transformer,
    optimizer: Optimizer,
    gradients: Gradients,
    workspace: Workspace,
    input: Input,
}

impl FullStep {
    /// On weights that are stored as trainable.
    pub(crate) fn new(transformer: Transformer) -> Self {
        let optimizer = Optimizer::new(OptimizerConfig::default(), &transformer);
        let (gradients, workspace) = (Gradients::new(&transformer), Workspace::new());
        let input = Input::new(transformer.config().vocabulary);
        Self { transformer, optimizer, gradients, workspace, input }
    }
}

impl Work for FullStep {
    fn tokens(&self) -> usize {
        self.input.batch.len()
    }

    fn flops(&self) -> f64 {
        self.transformer.training_flops(&self.input.batch, self.input.rows.len(), None).total()
    }

    fn run(&mut self) -> Result<(), Error> {
        let Self { transformer, optimizer, gradients, workspace, input } = self;
        input.backward(transformer, None, gradients, workspace)?;
        optimizer.step(transformer, gradients, 1e-6).map(drop)
    }
}

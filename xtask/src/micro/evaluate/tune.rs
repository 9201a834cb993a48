//! What fine-tuning reaches on held-out tasks: LoRA on labelled examples, asked without demonstrations.

use super::{Breadth, Evaluation, Example, example, kinds};
use crate::micro::dice::Dice;
use crate::micro::family::{Families, Shape};
use anyhow::Result;
use lm::adapter::LoraConfig;
use lm::score::{LabelTree, Scorer};
use lm::train::{Trainer, TrainingConfig, TrainingExample};
use lm::transformer::Transformer;

/// What is trained, and on how much.
#[derive(Clone, Copy)]
pub(in crate::micro) struct Recipe {
    /// Labelled examples.
    pub(in crate::micro) labels: usize,
    /// Rank of the adapter, on all linear layers.
    pub(in crate::micro) rank: usize,
    /// Peak learning rate.
    pub(in crate::micro) rate: f64,
    /// Passes over the examples.
    pub(in crate::micro) epochs: u32,
}

/// The accuracy on the held-out tasks of an evaluation, one value a task: the mean over its draws of labels and examples.
/// `base` is kept for training.
pub(in crate::micro) fn lora(
    evaluation: &Evaluation<'_>,
    (base, families): (&Transformer, &Families<'_>),
    (classes, breadth): (usize, Breadth),
    recipe: Recipe,
) -> Result<Vec<f64>> {
    let mut dice = Dice::new(81, 9);
    let mut accuracies = Vec::new();
    let kinds = kinds(classes);
    let mut number = 0;
    while accuracies.len() < evaluation.extent.tasks {
        let shape = Shape { classes, breadth };
        let task = families.draw(kinds[number % kinds.len()], shape, &mut dice);
        if task.classes != classes {
            continue;
        }
        let amount = (2 * evaluation.extent.queries, recipe.labels);
        let drawn = example(&task, families.vocabulary, amount, &mut dice)?;
        // A task that does not have so many different texts is no task for so many labels.
        if drawn.demonstrations.iter().map(Vec::len).min() < Some(recipe.labels / classes) {
            continue;
        }
        number += 1;
        let mut sum = 0.0;
        for draw in 0..evaluation.extent.draws {
            sum += evaluation.tuned(base, &drawn, recipe, (draw as u64, &mut dice))?;
        }
        accuracies.push(sum / evaluation.extent.draws as f64);
    }
    Ok(accuracies)
}

impl Evaluation<'_> {
    fn tuned(
        &self,
        base: &Transformer,
        drawn: &Example,
        recipe: Recipe,
        (seed, dice): (u64, &mut Dice),
    ) -> Result<f64> {
        let classes = drawn.demonstrations.len();
        let mut labels = self.draw_labels(classes, dice);
        labels.iter_mut().for_each(|label| label.push(self.vocabulary.line_feed));
        let mut examples = Vec::new();
        for (texts, label) in drawn.demonstrations.iter().zip(&labels) {
            for index in dice.sample(texts.len(), recipe.labels / classes) {
                let prompt = self.question(&texts[index], true);
                let supervised_from = prompt.len();
                examples.push(TrainingExample { tokens: [prompt, label.clone()].concat(), supervised_from });
            }
        }
        let config = LoraConfig { seed, ..LoraConfig::with_rank(recipe.rank) };
        let config = TrainingConfig {
            learning_rate: recipe.rate,
            epochs: recipe.epochs,
            seed,
            ..TrainingConfig::lora(config)
        };
        let mut trainer = Trainer::new(base, config, &examples)?;
        while !trainer.finished() {
            trainer.step()?;
        }
        let (transformer, adapter) = trainer.model();
        let queries: Vec<Vec<u32>> =
            drawn.queries.iter().map(|(text, _)| self.question(text, true)).collect();
        let scores =
            Scorer::new(transformer, adapter).score(None, &queries, &LabelTree::new(&labels)?, 4096)?;
        let right = scores.iter().zip(&drawn.queries).filter(|(scores, query)| {
            let best = (0..classes).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            best == Some(query.1)
        });
        Ok(right.count() as f64 / drawn.queries.len() as f64)
    }

    /// A text that asks for its label; after the boundary where nothing precedes it.
    pub(super) fn question(&self, text: &[u32], first: bool) -> Vec<u32> {
        let boundary = [self.vocabulary.boundary];
        [if first { &boundary[..] } else { &[] }, text, &[self.vocabulary.arrow]].concat()
    }
}

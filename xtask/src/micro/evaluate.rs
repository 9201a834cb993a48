//! In-context accuracy on tasks, words and labels that training never saw.

mod floor;
pub(super) mod tune;
mod written;

use super::dice::Dice;
use super::family::{Breadth, Families, Family, Shape, Task, Text};
use super::vocabulary::Vocabulary;
use anyhow::{Context, Result, ensure};
use lm::score::{LabelTree, Scorer};
use lm::transformer::Transformer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Demonstrations in the prompt.
pub(super) const SHOTS: &[usize] = &[0, 4, 8, 16, 32, 64];

/// A classification task with its texts, those for demonstrations apart from those for queries.
pub(super) struct Example {
    /// Texts of each class, to demonstrate.
    demonstrations: Vec<Vec<Vec<u32>>>,
    /// Text and class, to ask.
    queries: Vec<(Vec<u32>, usize)>,
    /// Labels, where they are the task's own; else they are drawn.
    labels: Option<Vec<Vec<u32>>>,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Tasks of each kind.
    pub(super) tasks: usize,
    /// Draws of demonstrations and labels for each task.
    pub(super) draws: usize,
    /// Queries of each draw.
    pub(super) queries: usize,
    /// Numbers of demonstrations, from [`SHOTS`].
    pub(super) shots: &'static [usize],
}

/// A text with its label.
type Labelled = (String, String);

/// Accuracies at each of [`SHOTS`]: one value for each task, the mean of its draws.
pub(super) type Curve = BTreeMap<usize, Vec<f64>>;

/// Curves by the name of what answered: the model, and the floors on the same demonstrations and queries.
pub(super) type Curves = BTreeMap<&'static str, Curve>;

/// Measures a model.
pub(super) struct Evaluation<'a> {
    /// The model, kept for inference; the floors alone are measured without it.
    pub(super) transformer: Option<&'a Transformer>,
    /// Whether the floors are measured.
    pub(super) floors: bool,
    /// Its tokens.
    pub(super) vocabulary: &'a Vocabulary,
    /// The labels to draw from: held out of training.
    pub(super) labels: Vec<Vec<u32>>,
    /// How much.
    pub(super) extent: Extent,
}

/// The held-out tasks with `classes` classes: families in turn, `count` in all.
pub(super) fn held_tasks(
    families: &Families<'_>,
    (classes, breadth): (usize, Breadth),
    extent: Extent,
    dice: &mut Dice,
) -> Result<Vec<Example>> {
    let kinds = kinds(classes);
    let mut found = Vec::new();
    while found.len() < extent.tasks {
        let shape = Shape { classes, breadth };
        let task = families.draw(kinds[found.len() % kinds.len()], shape, dice);
        if task.classes == classes {
            let each = (2 * extent.queries, SHOTS[SHOTS.len() - 1]);
            found.push(example(&task, families.vocabulary, each, dice)?);
        }
    }
    Ok(found)
}

/// The families in turn: those that have `classes` classes in the held-out part.
fn kinds(classes: usize) -> &'static [Family] {
    match classes {
        4 => &[Family::Intent, Family::Act, Family::Category, Family::Topic, Family::Intent, Family::Act],
        _ => &[Family::Intent, Family::Act, Family::Category],
    }
}

/// Draws different texts of a task: `queries`, and `demonstrations` (fewer where there are no more).
fn example(
    task: &Task<'_>,
    vocabulary: &Vocabulary,
    (queries, demonstrations): (usize, usize),
    dice: &mut Dice,
) -> Result<Example> {
    let each = queries.div_ceil(task.classes);
    let most = demonstrations / task.classes + 1;
    let mut example = Example { demonstrations: Vec::new(), queries: Vec::new(), labels: None };
    for class in 0..task.classes {
        let mut seen = BTreeSet::new();
        for _ in 0..20 * (each + most) {
            if seen.len() < each + most {
                seen.insert(match (task.draw)(class, dice) {
                    Text::Tokens(tokens) => tokens,
                    Text::Message(message) => vocabulary.encode(&message)?,
                });
            }
        }
        let mut texts: Vec<Vec<u32>> = seen.into_iter().collect();
        dice.shuffle(&mut texts);
        let rest = texts.split_off(each.min(texts.len() / 2));
        example.queries.extend(texts.into_iter().map(|text| (text, class)));
        example.demonstrations.push(rest);
    }
    Ok(example)
}

/// Rows of a JSONL file: `text` and `label`.
pub(super) fn rows(path: &Path) -> Result<Vec<(String, String)>> {
    let content = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut rows = Vec::new();
    for (number, line) in content.lines().enumerate() {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))?;
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        let row = field("text").zip(field("label").or_else(|| field("intent")));
        rows.push(row.with_context(|| format!("{}:{}: no text and label", path.display(), number + 1))?);
    }
    Ok(rows)
}

/// A task from files: demonstrations from `train`, queries from `test`, its own labels where `natural`.
pub(super) fn from_rows(
    (train, test): (&[Labelled], &[Labelled]),
    names: &[&str],
    natural: bool,
    vocabulary: &Vocabulary,
) -> Result<Example> {
    let mut example =
        Example { demonstrations: vec![Vec::new(); names.len()], queries: Vec::new(), labels: None };
    for (text, label) in train {
        if let Some(class) = names.iter().position(|name| name == label) {
            example.demonstrations[class].push(vocabulary.encode(text)?);
        }
    }
    for (text, label) in test {
        if let Some(class) = names.iter().position(|name| name == label) {
            example.queries.push((vocabulary.encode(text)?, class));
        }
    }
    if natural {
        example.labels = Some(names.iter().map(|name| vocabulary.label(name)).collect::<Result<_>>()?);
    }
    Ok(example)
}

/// The different labels of `rows`, sorted.
pub(super) fn names(rows: &[(String, String)]) -> Vec<&str> {
    rows.iter().map(|(_, label)| label.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Evaluation<'_> {
    /// Adds the accuracies of one task: one value for each number of demonstrations.
    pub(super) fn measure(&self, example: &Example, dice: &mut Dice, curves: &mut Curves) -> Result<()> {
        let mut sums: BTreeMap<&'static str, Curve> = BTreeMap::new();
        for _ in 0..self.extent.draws {
            let classes = example.demonstrations.len();
            let mut labels = match &example.labels {
                Some(labels) => labels.clone(),
                None => self.draw_labels(classes, dice),
            };
            labels.iter_mut().for_each(|label| label.push(self.vocabulary.line_feed));
            let asked = dice.sample(example.queries.len(), self.extent.queries);
            for &shots in self.extent.shots {
                let chosen = choose(example, shots, dice);
                let mut add = |name, right: usize| {
                    let accuracy = right as f64 / asked.len() as f64;
                    sums.entry(name).or_default().entry(shots).or_default().push(accuracy);
                };
                if let Some(transformer) = self.transformer
                    && let Some(right) = self.right(transformer, example, &labels, (&chosen, &asked))?
                {
                    add("model", right);
                }
                if self.floors && shots > 0 {
                    let texts = floor::Texts::new(example, &chosen, &asked, self.vocabulary)?;
                    add("nearest", texts.nearest()?);
                    add("linear", texts.linear()?);
                }
            }
        }
        for (name, own) in sums {
            for (shots, values) in own {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                curves.entry(name).or_default().entry(shots).or_default().push(mean);
            }
        }
        Ok(())
    }

    /// How many of the queries `asked` the model answers right; nothing where the prompt does not fit.
    fn right(
        &self,
        transformer: &Transformer,
        example: &Example,
        labels: &[Vec<u32>],
        (chosen, asked): (&[(usize, usize)], &[usize]),
    ) -> Result<Option<usize>> {
        let tree = LabelTree::new(labels)?;
        let queries: Vec<Vec<u32>> =
            asked.iter().map(|&index| self.question(&example.queries[index].0, false)).collect();
        let prompt = self.prompt(example, labels, chosen);
        let longest = queries.iter().map(Vec::len).max().unwrap_or(0);
        if prompt.len() + longest + tree.depth() > transformer.config().context {
            return Ok(None);
        }
        let scorer = Scorer::new(transformer, None);
        let prefix = scorer.prefill(&prompt)?;
        let scores = scorer.score(Some(&prefix), &queries, &tree, 4096)?;
        let right = scores.iter().zip(asked).filter(|(scores, index)| {
            let best = (0..labels.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            best == Some(example.queries[**index].1)
        });
        Ok(Some(right.count()))
    }

    fn draw_labels(&self, count: usize, dice: &mut Dice) -> Vec<Vec<u32>> {
        dice.sample(self.labels.len(), count).into_iter().map(|index| self.labels[index].clone()).collect()
    }

    fn prompt(&self, example: &Example, labels: &[Vec<u32>], chosen: &[(usize, usize)]) -> Vec<u32> {
        let mut prompt = vec![self.vocabulary.boundary];
        for &(class, index) in chosen {
            prompt.extend_from_slice(&example.demonstrations[class][index]);
            prompt.push(self.vocabulary.arrow);
            prompt.extend_from_slice(&labels[class]);
        }
        prompt
    }
}

/// Balanced demonstrations in random order: class and index of each.
fn choose(example: &Example, shots: usize, dice: &mut Dice) -> Vec<(usize, usize)> {
    let classes = example.demonstrations.len();
    let first = dice.below(classes);
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for class in 0..classes {
        let own = (0..shots).filter(|shot| (shot + first) % classes == class).count();
        let picked = dice.sample(example.demonstrations[class].len(), own);
        chosen.extend(picked.into_iter().map(|index| (class, index)));
    }
    dice.shuffle(&mut chosen);
    chosen
}

/// The two lines that begin a table.
pub(super) fn heading() -> String {
    let sizes: Vec<String> = SHOTS.iter().map(|shots| format!("k={shots}")).collect();
    format!("| task | by | {} |\n|---|---{}|\n", sizes.join(" | "), "|---".repeat(SHOTS.len()))
}

/// Lines of a table: every answerer's mean over the tasks at each number of shots, with its 95% interval.
pub(super) fn lines(name: &str, curves: &Curves) -> String {
    let mut text = String::new();
    for (answerer, curve) in curves {
        let cell = |shots| curve.get(shots).map_or_else(|| "-".to_owned(), |values| interval(values));
        let cells: Vec<String> = SHOTS.iter().map(cell).collect();
        text.push_str(&format!("| {name} | {answerer} | {} |\n", cells.join(" | ")));
    }
    text
}

/// Mean and 95% percentile interval over tasks (Efron's bootstrap, 2,000 resamples of a fixed seed).
pub(super) fn interval(values: &[f64]) -> String {
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>();
    let count = values.len() as f64;
    let mut dice = Dice::new(80, 8);
    let mut means: Vec<f64> =
        (0..2000).map(|_| mean(&mut (0..values.len()).map(|_| *dice.pick(values))) / count).collect();
    means.sort_by(f64::total_cmp);
    let middle = mean(&mut values.iter().copied()) / count;
    if values.len() < 2 {
        return format!("{middle:.3}");
    }
    format!("{middle:.3} ({:.2}-{:.2})", means[50], means[1949])
}

/// The labels held out of training, as tokens.
pub(super) fn held_labels(words: &[String], vocabulary: &Vocabulary) -> Result<Vec<Vec<u32>>> {
    // The list's own comment is among the lines that the tokenizer of seed 1 was trained on; it is no label.
    let words = words.iter().filter(|word| !word.starts_with('#'));
    let labels: Vec<Vec<u32>> = words.map(|word| vocabulary.label(word)).collect::<Result<_>>()?;
    ensure!(labels.len() >= 16, "too few labels to draw from");
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::family::Part;
    use super::super::lexicon::Lexicon;
    use super::super::tokenizer;
    use super::*;
    use kernels::matrix::Use;
    use lm::weights::Checkpoint;
    use lm::{ModelSource, Precision};

    /// The stored model, on eight held-out tasks: chance is .25, and the card has the figures of more tasks. The bounds are
    /// loose because 192 answers have a standard error of 3 to 4 points, and tasks differ.
    #[test]
    fn the_embedded_model_learns_in_context_what_it_never_saw() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro");
        let lexicon = Lexicon::load().unwrap();
        let common = tokenizer::texts(&lexicon, Part::Training, 2000, 1);
        let vocabulary = Vocabulary::open(&folder.join("tokenizer.json"), &lexicon, &common).unwrap();
        let checkpoint = Checkpoint::open(&ModelSource::Folder(folder)).unwrap();
        let transformer =
            Transformer::new(checkpoint.config, checkpoint.tensors.as_ref(), Precision::Bf16, Use::Inference)
                .unwrap();
        let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part: Part::Held };
        let labels = held_labels(&lexicon.held_labels, &vocabulary).unwrap();
        let extent = Extent { tasks: 8, draws: 1, queries: 24, shots: &[0, 16] };
        let evaluation = Evaluation {
            transformer: Some(&transformer),
            floors: true,
            vocabulary: &vocabulary,
            labels,
            extent,
        };
        let mut dice = Dice::new(77, 5);
        let mut curves = Curves::new();
        for example in held_tasks(&families, (4, Breadth::FEW), extent, &mut dice).unwrap() {
            evaluation.measure(&example, &mut dice, &mut curves).unwrap();
        }
        let mean = |answerer: &str, shots: usize| {
            let values = &curves[answerer][&shots];
            values.iter().sum::<f64>() / values.len() as f64
        };
        let told = format!(
            "without {:.3}, with 16 demonstrations {:.3}, linear floor {:.3}",
            mean("model", 0),
            mean("model", 16),
            mean("linear", 16)
        );
        println!("{told}");
        assert!((0.12..0.38).contains(&mean("model", 0)), "{told}");
        assert!(mean("model", 16) > 0.55 && mean("model", 16) > mean("model", 0) + 0.25, "{told}");
        // What the tasks are drawn for: their words alone tell much of the answer, as in real text.
        assert!(mean("linear", 16) > 0.7, "{told}");
    }

    #[test]
    fn demonstrations_are_balanced_and_different() {
        let texts = |class: u32| (0..20).map(|index| vec![class, index]).collect::<Vec<_>>();
        let example =
            Example { demonstrations: (0..3).map(texts).collect(), queries: Vec::new(), labels: None };
        let chosen = choose(&example, 16, &mut Dice::new(1, 1));
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 16);
        for class in 0..3 {
            let own = chosen.iter().filter(|(other, _)| *other == class).count();
            assert!((5..=6).contains(&own), "{own}");
        }
    }

    #[test]
    fn an_interval_is_of_the_mean_over_tasks() {
        assert_eq!(interval(&[0.5, 0.5, 0.5]), "0.500 (0.50-0.50)");
        assert_eq!(interval(&[0.25]), "0.250");
        let text = interval(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        // Normal approximation by hand: 0.5 +- 1.96 * 0.5 / sqrt(8) = 0.15 to 0.85; resamples of 8 move in eighths.
        assert!(text.starts_with("0.500 (0.12-0.88)") || text.starts_with("0.500 (0.25-0.75)"), "{text}");
    }
}

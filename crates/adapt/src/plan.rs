//! Which experiments fit the budget, decided once, before any result is seen, and stored: a resumed run follows the same plan.
//!
//! Each arm gets half of the budget. Trials are listed in the order in which a careful person would want them (first every
//! size once, then the alternatives of the learning rate, then more seeds) and taken until the arm's half is spent by the
//! estimate. An estimate counts the trial's work on dev and its share of the work on test. A share of the prompting arm's half is
//! kept for the search for a better instruction and format, where it is enough for one (docs/prompting.md).

use serde::{Deserialize, Serialize};
use task::predictor::{LoraTargets, LoraVariant, TrainingMethod};
use task::record::Experiment;

use crate::demonstrations::hybrid_retrieved;
use crate::hybrid::{self, HybridTrial};
use crate::recipe::{self, Search};

/// How demonstrations are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// No demonstrations.
    ZeroShot,
    /// A random balanced draw, the same for every request: the prefix is shared.
    Random,
    /// The training examples most similar to each request by BM25.
    Bm25,
    /// The training examples nearest to each request by the model's hidden states.
    Embedding,
    /// Training examples similar to each request, and unlike each other.
    Diverse,
    /// A random balanced draw that all requests share, and after it some examples similar to each request.
    Hybrid,
}

impl Selection {
    /// As it stands in experiment names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroShot => "zero_shot",
            Self::Random => "random",
            Self::Bm25 => "bm25",
            Self::Embedding => "embedding",
            Self::Diverse => "diverse",
            Self::Hybrid => "hybrid",
        }
    }

    /// Whether the demonstrations differ from request to request.
    pub fn per_request(self) -> bool {
        !matches!(self, Self::ZeroShot | Self::Random)
    }

    /// Demonstrations, of `shots`, that differ from request to request.
    pub(crate) fn retrieved(self, shots: usize) -> usize {
        match self {
            Self::ZeroShot | Self::Random => 0,
            Self::Hybrid => hybrid_retrieved(shots),
            Self::Bm25 | Self::Embedding | Self::Diverse => shots,
        }
    }
}

/// One prompt to be tried on dev, under every calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptTrial {
    /// How demonstrations are chosen.
    pub selection: Selection,
    /// How many.
    pub shots: usize,
    /// Seed of the draw.
    pub seed: u64,
    /// Estimated seconds, test included.
    pub seconds: f64,
    /// Whether its instruction and format are those that the search found, instead of the task's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub searched: bool,
}

impl PromptTrial {
    /// The trial's name: `in_context/random/k8/s1`.
    pub fn name(&self) -> String {
        format!("in_context/{}/k{}/s{}", self.method(), self.shots, self.seed)
    }

    /// The method that its experiments are told by: how demonstrations are chosen, or `searched`.
    pub fn method(&self) -> &'static str {
        if self.searched { SEARCHED } else { self.selection.name() }
    }
}

/// The method of prompts that were searched for.
const SEARCHED: &str = "searched";

/// The learning rate of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// A candidate, given.
    Candidate(f64),
    /// The best candidate on dev at the same method and number of labels (at the nearest searched number, if none was tried there).
    Best,
}

/// One training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneTrial {
    /// LoRA or full.
    pub method: TrainingMethod,
    /// Labelled rows.
    pub labels: usize,
    /// Seed of the subset, the initialisation and the order.
    pub seed: u64,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// Passes over the rows.
    pub epochs: usize,
    /// Estimated seconds, test included.
    pub seconds: f64,
    /// Whether it uses the recipe that the search found.
    #[serde(default)]
    pub searched: bool,
}

impl TuneTrial {
    /// The method that its experiments are of: `lora`, `full`, `lora_recipe`.
    pub fn method_name(&self) -> &'static str {
        if self.searched { recipe::SEARCHED } else { method_name(self.method) }
    }
}

/// `lora` or `full`.
pub fn method_name(method: TrainingMethod) -> &'static str {
    match method {
        TrainingMethod::Lora { .. } => "lora",
        TrainingMethod::Full => "full",
        TrainingMethod::VirtualTokens { .. } => "virtual_tokens",
    }
}

/// What the estimates rest on: speeds measured on this machine, and mean lengths of this task's texts in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Tokens a second, forward.
    pub forward_speed: f64,
    /// Tokens a second, a LoRA step.
    pub training_speed: f64,
    /// The instruction.
    pub instruction: f64,
    /// One demonstration.
    pub demonstration: f64,
    /// One query without demonstrations.
    pub query: f64,
    /// The longest query and answer together.
    pub longest_query: usize,
    /// The longest demonstration.
    pub longest_demonstration: usize,
    /// Internal nodes of the label tree, scored after each query.
    pub answers: f64,
    /// What writing one answer costs, in forward tokens that take as long; 0 where answers are labels.
    #[serde(default)]
    pub writing: f64,
    /// Tokens that the model holds.
    pub context: usize,
}

/// What the task file asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Shots to try; 0 is zero-shot.
    pub shots: Vec<usize>,
    /// Seeds of a random draw.
    pub draws: u64,
    /// Random balanced draws are wanted.
    pub random: bool,
    /// Retrieval is wanted.
    pub bm25: bool,
    /// Other selections that are wanted, after the two.
    pub more: Vec<Selection>,
    /// As many shots as fit are wanted, too.
    pub most_shots: bool,
    /// Training examples.
    pub train: usize,
    /// Share of the prompting arm's half that the search has; 0: there is none.
    pub prompt_search_share: f64,
    /// Methods of fine-tuning.
    pub methods: Vec<TrainingMethod>,
    /// Numbers of labelled rows, ascending, with the passes over each.
    pub labels: Vec<(usize, usize)>,
    /// Seeds of a training.
    pub seeds: u64,
    /// Candidates of the learning rate for LoRA, the default first.
    pub lora_rates: Vec<f64>,
    /// Candidates for full fine-tuning, the default first.
    pub full_rates: Vec<f64>,
    /// Kinds of adapters, the default first.
    pub variants: Vec<LoraVariant>,
    /// Layers that get an adapter, the default first.
    pub targets: Vec<LoraTargets>,
    /// Ranks to search, the default first.
    pub ranks: Vec<usize>,
    /// Scale of LoRA at the default rank, times that rank.
    pub alpha: f64,
    /// Most of the arm's half that the search may take; 0 for none.
    pub search_share: f64,
    /// Passes over the rows in the search; `None`: by their number.
    pub epochs: Option<usize>,
    /// Combinations of both arms.
    pub hybrids: Vec<task::settings::HybridMethod>,
    /// Seconds for both arms together.
    pub budget: f64,
    /// Dev and test examples.
    pub evaluated: [usize; 2],
}

/// The experiments of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Prompts, in order.
    pub prompts: Vec<PromptTrial>,
    /// Training runs, in order.
    pub tunes: Vec<TuneTrial>,
    /// The search for a recipe, where there is room for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Combinations of both arms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hybrids: Vec<HybridTrial>,
    /// Names of trials without room in the budget or the context.
    pub left_out: Vec<String>,
    /// Seconds for the search of instruction and format, and for answering test with what it finds; `None`: no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_search: Option<f64>,
}

/// The smallest search that says something: so many candidates on so many dev items.
const SMALLEST_SEARCH: [f64; 2] = [4.0, 16.0];

/// Full fine-tuning moves 6N operations a token where LoRA moves 4N, and its optimiser touches every weight.
const FULL_SLOWDOWN: f64 = 1.8;
/// DoRA scales every output and renews its norms after each step.
const DORA_SLOWDOWN: f64 = 1.6;
/// PiSSA carries twice the directions, and begins by finding them.
const PISSA_SLOWDOWN: f64 = 1.5;

/// Epochs at which dev is scored: four, evenly spread, the last included.
pub(crate) fn evaluated_epochs(epochs: usize) -> Vec<usize> {
    let mut marks: Vec<usize> = (1..=4).map(|quarter| (epochs * quarter).div_ceil(4)).collect();
    marks.dedup();
    marks
}

impl Plan {
    /// Fits `wishes` into the budget. The first trial of each arm is always taken: an arm is never empty.
    pub fn new(wishes: &Wishes, measured: &Measured) -> Self {
        let half = wishes.budget / 2.0;
        let mut plan = Self::default();
        let (prompts, unfit) = prompt_candidates(wishes, measured);
        plan.left_out.extend(unfit);
        let mut spent = 0.0;
        let smallest = smallest_search(measured);
        let kept = Some(wishes.prompt_search_share * half).filter(|&kept| kept > smallest);
        for trial in prompts {
            if plan.prompts.is_empty() || spent + trial.seconds <= half - kept.unwrap_or(0.0) {
                spent += trial.seconds;
                plan.prompts.push(trial);
            } else {
                plan.left_out.push(trial.name());
            }
        }
        plan.prompt_search = kept.map(|_| half - spent).filter(|&left| left > smallest);
        let prompted = spent + plan.prompt_search.unwrap_or(0.0);
        spent = 0.0;
        let mut complete = true;
        for trial in tune_candidates(wishes, measured) {
            if plan.tunes.is_empty() || spent + trial.seconds <= half {
                spent += trial.seconds;
                plan.tunes.push(trial);
            } else {
                complete = false;
                plan.left_out.push(describe(&trial));
            }
        }
        // A search, and what combines both arms, only where everything else has its time.
        if complete && wishes.search_share > 0.0 && plan.has_lora() {
            plan.search = Search::plan(wishes, measured, half - spent);
            spent += plan.search.as_ref().map_or(0.0, Search::all_seconds);
        }
        if complete && plan.has_lora() {
            plan.hybrids = hybrid::plan(wishes, measured, wishes.budget - prompted - spent);
        }
        plan
    }

    fn has_lora(&self) -> bool {
        self.tunes.iter().any(|trial| matches!(trial.method, TrainingMethod::Lora { .. }))
    }

    /// The prompt trial that `experiment` is a result of; `None` where the plan has none.
    pub fn prompt_of(&self, experiment: &Experiment) -> Option<&PromptTrial> {
        self.prompts.iter().find(|trial| experiment.id.starts_with(&(trial.name() + "/")))
    }

    /// Training runs in all: those planned one by one, those of the search and those with what it finds.
    pub fn trainings(&self) -> usize {
        self.tunes.len() + self.search.as_ref().map_or(0, |search| search.trials() + search.follow.len())
    }

    /// Estimated seconds of the two arms.
    pub fn seconds(&self) -> [f64; 2] {
        [
            self.prompts.iter().map(|trial| trial.seconds).sum::<f64>() + self.prompt_search.unwrap_or(0.0),
            self.tunes.iter().map(|trial| trial.seconds).sum::<f64>()
                + self.search.as_ref().map_or(0.0, Search::all_seconds),
        ]
    }
}

/// Seconds of the smallest search, around a prompt without demonstrations.
fn smallest_search(measured: &Measured) -> f64 {
    let [candidates, items] = SMALLEST_SEARCH;
    let each = measured.query + measured.answers + measured.writing;
    candidates * (measured.instruction + items * each) / measured.forward_speed
}

/// A training run in words, for the list of what was left out.
fn describe(trial: &TuneTrial) -> String {
    let rate = match trial.learning_rate {
        LearningRate::Candidate(rate) => format!("lr{rate}"),
        LearningRate::Best => "best lr".to_owned(),
    };
    format!("fine_tune/{}/n{}/{rate}/s{}", method_name(trial.method), trial.labels, trial.seed)
}

/// Prompts in order of interest, and the names of those that cannot fit the context.
fn prompt_candidates(wishes: &Wishes, measured: &Measured) -> (Vec<PromptTrial>, Vec<String>) {
    let items: usize = wishes.evaluated.iter().sum();
    let each = measured.query + measured.answers + measured.writing;
    let seconds = |selection: Selection, shots: usize, first: bool| {
        let own = selection.retrieved(shots);
        let [own, shared] = [own, shots - own].map(|shots| shots as f64 * measured.demonstration);
        let mut tokens = items as f64 * (own + each);
        tokens += match selection {
            Selection::ZeroShot | Selection::Random => 2.0 * (measured.instruction + shared),
            _ => measured.instruction + 2.0 * shared,
        };
        if selection == Selection::Embedding && first {
            tokens += (wishes.train + items) as f64 * measured.query;
        }
        tokens / measured.forward_speed
    };
    let mut wanted = Vec::new();
    if wishes.shots.contains(&0) || !(wishes.random || wishes.bm25) {
        wanted.push((Selection::ZeroShot, 0, 0));
    }
    let mut shown: Vec<usize> = wishes.shots.iter().copied().filter(|&shots| shots > 0).collect();
    let most = if wishes.most_shots { most_shots(measured, wishes.train) } else { 0 };
    if most > 0 && !shown.contains(&most) {
        shown.push(most);
    }
    for seed in 0..wishes.draws {
        if wishes.random {
            wanted.extend(shown.iter().map(|&shots| (Selection::Random, shots, seed)));
        }
        if wishes.bm25 && seed == 0 {
            wanted.extend(shown.iter().map(|&shots| (Selection::Bm25, shots, seed)));
        }
    }
    for &selection in &wishes.more {
        wanted.extend(shown.iter().map(|&shots| (selection, shots, 0)));
    }
    let mut fitting = Vec::new();
    let mut unfit = Vec::new();
    for (selection, shots, seed) in wanted {
        let seconds = seconds(selection, shots, Some(&shots) == shown.first());
        let trial = PromptTrial { selection, shots, seed, seconds, searched: false };
        if prompt_bound(measured, shots) <= measured.context as f64 {
            fitting.push(trial);
        } else {
            unfit.push(format!("{} (does not fit the context of {} tokens)", trial.name(), measured.context));
        }
    }
    (fitting, unfit)
}

/// The most demonstrations, at most `train`, whose prompt fits the context.
fn most_shots(measured: &Measured, train: usize) -> usize {
    (1..=train)
        .take_while(|&shots| prompt_bound(measured, shots) <= measured.context as f64)
        .last()
        .unwrap_or(0)
}

/// Tokens that a prompt with `shots` demonstrations will hardly exceed: the mean, a tenth more, and the longest query.
pub(crate) fn prompt_bound(measured: &Measured, shots: usize) -> f64 {
    let demonstrations = match shots {
        0 => 0.0,
        1 => measured.longest_demonstration as f64,
        _ => 1.1 * shots as f64 * measured.demonstration + measured.longest_demonstration as f64,
    };
    measured.instruction + demonstrations + measured.longest_query as f64 + measured.answers
}

/// Training runs in order of interest.
fn tune_candidates(wishes: &Wishes, measured: &Measured) -> Vec<TuneTrial> {
    let lora = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Lora { .. }));
    let full = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Full));
    let mut list = Candidates { wishes, measured, trials: Vec::new() };
    let descending: Vec<(usize, usize)> = wishes.labels.iter().rev().copied().collect();
    let Some(&largest) = descending.first() else { return Vec::new() };
    if let Some(method) = lora {
        for &labels in &wishes.labels {
            list.candidate(method, labels, wishes.lora_rates.first());
        }
    }
    if let Some(method) = full {
        list.candidate(method, largest, wishes.full_rates.first());
    }
    if let Some(method) = lora {
        for &labels in &descending {
            for rate in wishes.lora_rates.iter().skip(1) {
                list.candidate(method, labels, Some(rate));
            }
        }
    }
    for seed in 1..wishes.seeds {
        if let Some(method) = lora {
            wishes.labels.iter().for_each(|&labels| list.repeat(method, labels, seed));
        }
        if let Some(method) = full {
            if seed == 1 {
                wishes.full_rates.iter().skip(1).for_each(|rate| list.candidate(method, largest, Some(rate)));
            }
            list.repeat(method, largest, seed);
        }
    }
    if let Some(method) = full {
        for &labels in descending.iter().skip(1) {
            wishes.full_rates.iter().for_each(|rate| list.candidate(method, labels, Some(rate)));
            (1..wishes.seeds).for_each(|seed| list.repeat(method, labels, seed));
        }
    }
    list.trials
}

struct Candidates<'a> {
    wishes: &'a Wishes,
    measured: &'a Measured,
    trials: Vec<TuneTrial>,
}

impl Candidates<'_> {
    fn candidate(&mut self, method: TrainingMethod, labels: (usize, usize), rate: Option<&f64>) {
        if let Some(&rate) = rate {
            self.push(method, labels, 0, LearningRate::Candidate(rate));
        }
    }

    fn repeat(&mut self, method: TrainingMethod, labels: (usize, usize), seed: u64) {
        self.push(method, labels, seed, LearningRate::Best);
    }

    fn push(&mut self, method: TrainingMethod, rows: (usize, usize), seed: u64, learning_rate: LearningRate) {
        let (labels, epochs) = rows;
        let seconds = tune_seconds(self.wishes, self.measured, method, rows, true);
        self.trials.push(TuneTrial { method, labels, seed, learning_rate, epochs, seconds, searched: false });
    }
}

/// Estimated seconds of a training on so many rows, so many times over, with the scoring of dev on the way and of test at
/// the end where it is wanted.
pub(crate) fn tune_seconds(
    wishes: &Wishes,
    measured: &Measured,
    method: TrainingMethod,
    (labels, epochs): (usize, usize),
    test: bool,
) -> f64 {
    let [dev, items] = wishes.evaluated.map(|items| items as f64);
    let each = measured.query + measured.answers + measured.writing;
    let slowdown = match method {
        TrainingMethod::Lora { variant: LoraVariant::Dora, .. } => DORA_SLOWDOWN,
        TrainingMethod::Lora { variant: LoraVariant::Pissa, .. } => PISSA_SLOWDOWN,
        TrainingMethod::Lora { .. } => 1.0,
        TrainingMethod::Full => FULL_SLOWDOWN,
        // Every row is so much longer.
        TrainingMethod::VirtualTokens { tokens } => 1.0 + tokens as f64 / measured.demonstration.max(1.0),
    };
    let training = (epochs * labels) as f64 * measured.demonstration * slowdown / measured.training_speed;
    let scored = evaluated_epochs(epochs).len() as f64 * dev + if test { items } else { 0.0 };
    training + scored * each / measured.forward_speed
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn wishes(budget: f64) -> Wishes {
        Wishes {
            shots: vec![0, 4, 16],
            draws: 2,
            random: true,
            bm25: true,
            more: Vec::new(),
            most_shots: false,
            train: 100,
            prompt_search_share: 0.0,
            methods: vec![TrainingMethod::lora(16, 32.0), TrainingMethod::Full],
            variants: vec![LoraVariant::Plain, LoraVariant::Dora],
            targets: vec![LoraTargets::All],
            ranks: vec![16, 4],
            alpha: 32.0,
            search_share: 0.0,
            epochs: None,
            hybrids: Vec::new(),
            labels: vec![(16, 15), (64, 8)],
            seeds: 2,
            lora_rates: vec![1e-3, 5e-4],
            full_rates: vec![1e-4, 5e-5],
            budget,
            evaluated: [10, 20],
        }
    }

    pub(crate) fn measured() -> Measured {
        Measured {
            forward_speed: 1000.0,
            training_speed: 500.0,
            instruction: 50.0,
            demonstration: 25.0,
            query: 20.0,
            longest_query: 40,
            longest_demonstration: 45,
            answers: 10.0,
            writing: 0.0,
            context: 1000,
        }
    }

    #[test]
    fn a_wide_budget_takes_every_trial_once() {
        let plan = Plan::new(&wishes(1e9), &measured());
        assert!(plan.left_out.is_empty(), "{:?}", plan.left_out);
        // Zero-shot; 2 sizes x 2 draws; 2 sizes retrieved.
        assert_eq!(plan.prompts.len(), 1 + 4 + 2);
        // LoRA: 2 sizes x (2 rates + 1 repeat); full: the same.
        assert_eq!(plan.tunes.len(), 6 + 6);
        for (index, trial) in plan.tunes.iter().enumerate() {
            assert!(!plan.tunes[..index].contains(trial), "twice: {}", describe(trial));
        }
    }

    #[test]
    fn estimates_are_the_hand_computed_seconds() {
        let plan = Plan::new(&wishes(1e9), &measured());
        // 30 items x (20 + 10) tokens + 2 x 50 instruction tokens at 1,000 tokens/s.
        assert!((plan.prompts[0].seconds - 1.0).abs() < 1e-9);
        let retrieved =
            plan.prompts.iter().find(|trial| trial.selection == Selection::Bm25).expect("is planned");
        // 30 x (4 x 25 + 30) + 50 tokens.
        assert!((retrieved.seconds - 3.95).abs() < 1e-9);
        let tuned = &plan.tunes[0];
        // n = 16: 15 epochs x 16 x 25 / 500 = 12 s, and (4 x 10 + 20) x 30 / 1000 = 1.8 s.
        assert_eq!(tuned.epochs, 15);
        assert!((tuned.seconds - 13.8).abs() < 1e-9);
    }

    #[test]
    fn a_tight_budget_keeps_one_of_each_arm_and_says_what_it_left_out() {
        let plan = Plan::new(&wishes(0.1), &measured());
        assert_eq!((plan.prompts.len(), plan.tunes.len()), (1, 1));
        assert_eq!(plan.left_out.len(), 6 + 11);
    }

    #[test]
    fn each_arm_stays_within_half_of_the_budget() {
        let plan = Plan::new(&wishes(60.0), &measured());
        for seconds in plan.seconds() {
            assert!(seconds <= 30.0, "{seconds}");
        }
    }

    #[test]
    fn a_search_keeps_its_share_and_gets_what_the_trials_leave() {
        let wishes = Wishes { prompt_search_share: 0.4, ..wishes(60.0) };
        let plan = Plan::new(&wishes, &measured());
        let trials: f64 = plan.prompts.iter().map(|trial| trial.seconds).sum();
        let search = plan.prompt_search.expect("12 s are enough for a search");
        assert!(trials <= 18.0 && search >= 12.0, "{trials} {search}");
        assert!((trials + search - 30.0).abs() < 1e-9);
        // The smallest: 4 candidates x (50 + 16 x (20 + 10)) tokens at 1,000 tokens/s are 2.12 s, the share of 10 s is 2.
        let tight = Plan::new(&Wishes { budget: 10.0, ..wishes }, &measured());
        assert_eq!(tight.prompt_search, None);
    }

    #[test]
    fn other_selections_come_last_and_cost_what_they_show() {
        let more = vec![Selection::Hybrid, Selection::Embedding, Selection::Diverse];
        let wide = Plan::new(&Wishes { more, most_shots: true, ..wishes(1e9) }, &measured());
        let before = Plan::new(&Wishes { most_shots: true, ..wishes(1e9) }, &measured());
        assert_eq!(wide.prompts[..before.prompts.len()], before.prompts[..]);
        let of = |selection, shots| {
            let is = |trial: &&PromptTrial| trial.selection == selection && trial.shots == shots;
            wide.prompts.iter().find(is).map(|trial| trial.seconds)
        };
        // Hybrid, 4 shots: 30 x (1 x 25 + 30) + 50 + 2 x 75 tokens; diverse as BM25; embedding: 130 queries of 20 once.
        assert!((of(Selection::Hybrid, 4).expect("is planned") - 1.85).abs() < 1e-9);
        assert_eq!(of(Selection::Diverse, 4), of(Selection::Bm25, 4));
        let once =
            of(Selection::Embedding, 4).expect("is planned") - of(Selection::Bm25, 4).expect("is planned");
        assert!((once - 2.6).abs() < 1e-9);
        assert_eq!(of(Selection::Embedding, 16), of(Selection::Bm25, 16));
        // 50 + 1.1 x 25 k + 45 + 40 + 10 <= 1000: k = 31.
        assert!(of(Selection::Random, 31).is_some() && of(Selection::Hybrid, 31).is_some());
    }

    #[test]
    fn prompts_that_do_not_fit_the_context_are_named() {
        let plan = Plan::new(&wishes(1e9), &Measured { context: 400, ..measured() });
        assert!(plan.prompts.iter().all(|trial| trial.shots < 16));
        assert!(plan.left_out.iter().any(|name| name.contains("k16") && name.contains("400")));
    }

    #[test]
    fn dev_is_scored_four_times_and_after_the_last_epoch() {
        assert_eq!(evaluated_epochs(8), [2, 4, 6, 8]);
        assert_eq!(evaluated_epochs(3), [1, 2, 3]);
        assert_eq!(evaluated_epochs(1), [1]);
    }
}

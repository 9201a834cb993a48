//! A world with known laws, and runs in it.

use std::collections::BTreeMap;

use eval::looking::{self, FEWEST, Looked};
use eval::replication::RunSpread;
use eval::sequential::looking_order;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use task::record::{
    Answer, Decision, Economics, Experiment, Family, Finalists, ModelIdentity, Part, PartSizes, Prediction,
    RunRecord, Setup, TaskFacts, TestStop, TokensPerRequest,
};

/// Random numbers.
pub(super) struct Source(Pcg64Mcg);

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// In [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// What a run may do.
pub(super) struct Effort {
    draws: u64,
    seeds: u64,
    /// Learning rates, each tried with every seed; the first is the best, the others cost and lose.
    rates: usize,
    dev: usize,
    test: usize,
    early_stopping: bool,
}

impl Effort {
    pub(super) const EXHAUSTIVE: Self =
        Self { draws: 10, seeds: 5, rates: 3, dev: 600, test: 4000, early_stopping: false };
    pub(super) const BUDGETED: Self =
        Self { draws: 2, seeds: 2, rates: 1, dev: 150, test: 800, early_stopping: true };
}

const SHOTS: [usize; 3] = [4, 16, 64];
const LABELS: [usize; 4] = [16, 64, 256, 1024];
/// Tokens of a query and of a demonstration or training row.
const QUERY: f64 = 30.0;
const ROW: f64 = 35.0;
/// Passes over the rows; a training token counts three forward ones (Liu et al. 2022).
const TRAINING: f64 = 3.0 * 3.0;
/// Accuracy of the floor, well below both arms.
const FLOOR: f64 = 0.3;

/// The laws of a world.
pub(super) struct World {
    /// Accuracy of a prompt with 64 demonstrations, and what 4 of them lack.
    prompt: f64,
    prompt_gain: f64,
    /// Fine-tuning: 1 - error = ceiling - gain n^-exponent.
    ceiling: f64,
    gain: f64,
    exponent: f64,
    /// Deviation over seeds and draws.
    luck: f64,
    /// Share of an answer that the item decides, the same for all.
    common: f64,
}

impl World {
    /// World `number`: true differences from -15 to 15 points in turn, everything else by chance.
    pub(super) fn new(number: usize, source: &mut Source) -> Self {
        let difference = [0.15, 0.08, 0.04, 0.0, 0.01, -0.04, -0.08, -0.15][number % 8];
        let prompt = 0.60 + 0.2 * source.uniform();
        let exponent = 0.3 + 0.4 * source.uniform();
        let tuned = prompt + difference;
        // At 16 labels fine-tuning stands 15 to 30 points below where it ends.
        let rise = 0.15 + 0.15 * source.uniform();
        let span = 16f64.powf(-exponent) - 1024f64.powf(-exponent);
        let gain = rise / span;
        Self {
            prompt,
            prompt_gain: 0.05 + 0.1 * source.uniform(),
            ceiling: tuned + gain * 1024f64.powf(-exponent),
            gain,
            exponent,
            luck: 0.005 + 0.01 * source.uniform(),
            common: 0.4 + 0.4 * source.uniform(),
        }
    }

    /// Fine-tuning with all labels less the best prompt, on average over seeds.
    pub(super) fn truth(&self) -> f64 {
        self.tuned(1024.0) - self.prompted(64.0)
    }

    pub(super) fn smallest(&self) -> f64 {
        LABELS[0] as f64
    }

    /// Labels at which fine-tuning draws level with the prompt that `record` chose; `None` where it does at no number.
    pub(super) fn crossing(&self, record: &RunRecord) -> Option<f64> {
        let finalists = record.finalists.as_ref()?;
        let finalist = record.experiments.iter().find(|experiment| experiment.id == finalists.in_context)?;
        let level = self.prompted(finalist.shots? as f64);
        let missing = self.ceiling - level;
        (missing > 0.0).then(|| (self.gain / missing).powf(1.0 / self.exponent))
    }

    fn tuned(&self, labels: f64) -> f64 {
        self.ceiling - self.gain * labels.powf(-self.exponent)
    }

    fn prompted(&self, shots: f64) -> f64 {
        self.prompt - self.prompt_gain * (1.0 - (shots / 4.0).ln() / 16f64.ln())
    }

    /// A run by the rules of a real one: everything on dev, the choice of the finalists by their means there, and test. Returns
    /// its record, the forward tokens that it took, and by how much its fine-tuned finalist is truly better than its prompt.
    pub(super) fn run(&self, effort: &Effort, source: &mut Source) -> (RunRecord, f64, f64) {
        let difficulty = |items: usize, source: &mut Source| -> Vec<f64> {
            (0..items).map(|_| source.uniform()).collect()
        };
        let [dev, test] = [effort.dev, effort.test].map(|items| difficulty(items, source));
        let mut tokens = 0.0;
        let mut runs = Vec::new();
        for (shots, draw) in SHOTS.iter().flat_map(|shots| (0..effort.draws).map(move |draw| (*shots, draw)))
        {
            let accuracy = self.prompted(shots as f64) + self.luck * source.normal();
            runs.push(Run::new(Family::InContext, shots, draw, accuracy));
            tokens += ROW * shots as f64 + QUERY * dev.len() as f64;
        }
        for (labels, seed) in
            LABELS.iter().flat_map(|labels| (0..effort.seeds).map(move |seed| (*labels, seed)))
        {
            let accuracy = self.tuned(labels as f64) + self.luck * source.normal();
            runs.push(Run::new(Family::FineTune, labels, seed, accuracy));
            tokens += effort.rates as f64 * (TRAINING * ROW * labels as f64 + QUERY * dev.len() as f64);
        }
        runs.push(Run::new(Family::Floor, 1024, 0, FLOOR));
        runs.iter_mut().for_each(|run| run.dev = self.answer(run.accuracy, &dev, source));
        runs.iter_mut().for_each(|run| run.test = self.answer(run.accuracy, &test, source));
        let finalists =
            [Family::InContext, Family::FineTune, Family::Floor].map(|family| best(&runs, family));
        let ids: Vec<String> = (0..test.len()).map(item_id).collect();
        let order = looking_order(&ids, DATA);
        let answered = if effort.early_stopping { looked(&runs, finalists, &order) } else { test.len() };
        let asked: Vec<usize> = order[..answered].to_vec();
        tokens += runs.len() as f64 * QUERY * answered as f64;
        // Of an exhaustive run the answers of the finalists' configurations are enough for its contrast.
        let alike = |index: usize, finalist: usize| {
            (runs[index].family, runs[index].size) == (runs[finalist].family, runs[finalist].size)
        };
        let kept = |index: &usize| {
            effort.early_stopping || finalists.iter().any(|finalist| alike(*index, *finalist))
        };
        let experiments =
            (0..runs.len()).filter(kept).map(|index| runs[index].experiment(Part::Test, &asked)).collect();
        let own = runs[finalists[1]].accuracy - runs[finalists[0]].accuracy;
        let [in_context, fine_tune, floor] = finalists.map(|finalist| runs[finalist].id());
        let stop = (answered < test.len()).then_some(TestStop { answered, available: test.len() });
        (record(experiments, Finalists { in_context, fine_tune, floor }, stop, effort), tokens, own)
    }

    /// Right or wrong answers to items of these difficulties.
    fn answer(&self, accuracy: f64, items: &[f64], source: &mut Source) -> Vec<bool> {
        let right = |own: &f64| {
            let draw = if source.uniform() < self.common { *own } else { source.uniform() };
            draw < accuracy
        };
        items.iter().map(right).collect()
    }
}

/// An experiment of a simulated run.
struct Run {
    family: Family,
    size: usize,
    seed: u64,
    accuracy: f64,
    dev: Vec<bool>,
    test: Vec<bool>,
}

impl Run {
    fn new(family: Family, size: usize, seed: u64, accuracy: f64) -> Self {
        let accuracy = accuracy.clamp(0.01, 0.99);
        Self { family, size, seed, accuracy, dev: Vec::new(), test: Vec::new() }
    }

    fn id(&self) -> String {
        match self.family {
            Family::InContext => format!("in_context/random/k{}/s{}/none@test", self.size, self.seed),
            Family::FineTune => format!("fine_tune/lora/n{}/lr0.001/s{}@test", self.size, self.seed),
            _ => format!("floor/majority/n{}@test", self.size),
        }
    }

    fn dev_score(&self) -> f64 {
        self.dev.iter().filter(|right| **right).count() as f64 / self.dev.len().max(1) as f64
    }

    /// Its answers to the items `asked` of `part`.
    fn experiment(&self, part: Part, asked: &[usize]) -> Experiment {
        let in_context = self.family == Family::InContext;
        let right = if part == Part::Dev { &self.dev } else { &self.test };
        let answer = |&item: &usize| Prediction {
            example: item_id(item),
            answer: Answer::Label {
                gold: item % 2,
                predicted: if right[item] { item % 2 } else { 1 - item % 2 },
                scores: Vec::new(),
            },
        };
        let prefix = if in_context { ROW * self.size as f64 } else { 0.0 };
        Experiment {
            id: self.id(),
            family: self.family,
            method: match self.family {
                Family::InContext => "random",
                Family::FineTune => "lora",
                _ => "majority",
            }
            .to_owned(),
            labels_used: self.size,
            shots: in_context.then_some(self.size),
            seed: Some(self.seed),
            configuration: BTreeMap::new(),
            part,
            predictions: asked.iter().map(answer).collect(),
            tokens: TokensPerRequest { prompt: prefix + QUERY, cached: 0.0, completion: 2.0 },
            setup: Setup { seconds: 0.0, tokens: (TRAINING * ROW * self.size as f64) as u64, flops: 1e9 },
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
            calls: Default::default(),
        }
    }
}

/// The best run of `family`: the size with the best mean on dev, and its best seed there.
fn best(runs: &[Run], family: Family) -> usize {
    let own = || runs.iter().enumerate().filter(move |(_, run)| run.family == family);
    let mean = |size: usize| {
        let scores: Vec<f64> =
            own().filter(|(_, run)| run.size == size).map(|(_, run)| run.dev_score()).collect();
        scores.iter().sum::<f64>() / scores.len().max(1) as f64
    };
    let rank = |run: &Run| (mean(run.size), run.dev_score());
    let by_rank = |a: &(usize, &Run), b: &(usize, &Run)| {
        let (left, right) = (rank(a.1), rank(b.1));
        left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1))
    };
    own().max_by(by_rank).map_or(0, |(index, _)| index)
}

/// How many items of `order` are asked until the finalists are told apart, by the looks that a real run takes.
fn looked(runs: &[Run], [prompt, tuned, floor]: [usize; 3], order: &[usize]) -> usize {
    let sides = [prompt, tuned, floor]
        .map(|run| order.iter().map(|&item| f64::from(u8::from(runs[run].test[item]))).collect::<Vec<f64>>());
    let items: Vec<usize> = (0..runs[prompt].dev.len()).collect();
    let dev: Vec<Experiment> = runs.iter().map(|run| run.experiment(Part::Dev, &items)).collect();
    let spreads = [prompt, tuned].map(|finalist| RunSpread::of(&dev, &dev[finalist]));
    let mut answered = FEWEST.min(order.len());
    while answered < order.len() {
        let looked = Looked {
            in_context: &sides[0][..answered],
            fine_tune: &sides[1][..answered],
            floor: Some(&sides[2][..answered]),
            spreads,
        };
        if looking::decided(&looked, &Decision::default()).is_some() {
            break;
        }
        answered = (answered + (answered / 4).max(25)).min(order.len());
    }
    answered
}

fn item_id(item: usize) -> String {
    format!("item-{item:05}")
}

const DATA: &str = "a simulated world";

fn record(
    experiments: Vec<Experiment>,
    finalists: Finalists,
    test_stop: Option<TestStop>,
    effort: &Effort,
) -> RunRecord {
    RunRecord {
        task: TaskFacts {
            name: "world".to_owned(),
            kind: "classify".to_owned(),
            metrics: Vec::new(),
            items: PartSizes { train: 1024, dev: effort.dev, test: effort.test },
            data_sha256: DATA.to_owned(),
        },
        model: ModelIdentity { source: "simulated".to_owned(), parameters: 1_000_000, sha256: String::new() },
        labels: vec!["a".to_owned(), "b".to_owned()],
        experiments,
        finalists: Some(finalists),
        decision: Decision::default(),
        economics: Economics::default(),
        wall_seconds: 0.0,
        seconds_by_family: BTreeMap::new(),
        work_by_family: BTreeMap::new(),
        joules_by_family: BTreeMap::new(),
        decided_on: None,
        prices: None,
        test_stop,
        clusters: BTreeMap::new(),
        label_noise: Vec::new(),
        probes: None,
        prompt_search: None,
        search_budget: None,
        terms: None,
    }
}

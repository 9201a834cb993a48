//! The floors as experiments: what a task needs no language model for.

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::example::Example;
use task::record::{Artefact, Experiment, Family, Part, Prediction, Setup, TokensPerRequest};

use crate::Error;
use crate::digest::hex;
use crate::floor::{
    ConstantAnswer, Fitted, Floor, FloorError, LogisticRegression, Majority, NearestAnswer, NearestNeighbour,
};
use crate::in_context::prediction;
use crate::selection;
use crate::text_answers::TextAnswers;
use crate::writer::{PromptWriter, examples, label_count, target_index};

/// A fitted floor of either kind of answer.
enum FittedFloor {
    Labels(Fitted),
    Constant(ConstantAnswer),
    Nearest(NearestAnswer),
}

impl FittedFloor {
    fn artefact(&self) -> Vec<u8> {
        match self {
            Self::Labels(floor) => floor.artefact(),
            Self::Constant(floor) => floor.artefact(),
            Self::Nearest(floor) => floor.artefact(),
        }
    }
}

/// The floors on one task.
pub(crate) struct FloorArm<'a> {
    dataset: &'a Dataset,
    targets: &'a [usize],
    writer: &'a PromptWriter,
}

/// One floor on so many labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FloorTrial {
    method: &'static str,
    labels: usize,
}

impl FloorTrial {
    pub(crate) fn name(&self) -> String {
        format!("floor/{}/n{}", self.method, self.labels)
    }
}

const CONSTANT: &str = "constant";
const MAJORITY: &str = "majority";
const NEAREST: &str = "nearest_neighbour";
const LINEAR: &str = "logistic_regression";

impl<'a> FloorArm<'a> {
    pub(crate) fn new(dataset: &'a Dataset, targets: &'a [usize], writer: &'a PromptWriter) -> Self {
        Self { dataset, targets, writer }
    }

    /// The constant floor (of labels the majority class) once, the learners at every number of labels of the fine-tuning grid and at all labels.
    pub(crate) fn plan(&self, grid: &[usize]) -> Vec<FloorTrial> {
        let all = self.dataset.train.len();
        let mut sizes: Vec<usize> =
            grid.iter().copied().filter(|&labels| labels < all).chain([all]).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let (constant, learners): (_, &[&'static str]) = match self.writer.texts() {
            Some(_) => (CONSTANT, &[NEAREST]),
            None => (MAJORITY, &[NEAREST, LINEAR]),
        };
        let mut trials = vec![FloorTrial { method: constant, labels: all }];
        for labels in sizes {
            trials.extend(learners.iter().map(|&method| FloorTrial { method, labels }));
        }
        trials
    }

    pub(crate) fn on_dev(&self, trial: &FloorTrial) -> Result<Experiment, Error> {
        self.answer(trial.method, trial.labels, Part::Dev)
    }

    /// The twin on test of a dev experiment.
    pub(crate) fn on_test(&self, chosen: &Experiment) -> Result<Experiment, Error> {
        let method = [CONSTANT, MAJORITY, NEAREST, LINEAR].into_iter().find(|name| *name == chosen.method);
        self.answer(method.ok_or(Error::NothingRan("floor"))?, chosen.labels_used, Part::Test)
    }

    fn answer(&self, method: &'static str, labels: usize, part: Part) -> Result<Experiment, Error> {
        let started = Instant::now();
        let floor = match self.writer.texts() {
            Some(texts) => self.fit_copying(method, labels, texts)?,
            None => FittedFloor::Labels(self.fit(method, labels)?),
        };
        let setup = Setup { seconds: started.elapsed().as_secs_f64(), ..Setup::default() };
        let items = examples(self.dataset, part);
        let answering = Instant::now();
        let predictions = self.predictions(&floor, items)?;
        let mut configuration = BTreeMap::new();
        if let FittedFloor::Labels(Fitted::LogisticRegression(linear)) = &floor {
            configuration.insert("inverse_regularisation".to_owned(), linear.inverse_regularisation().into());
        }
        let artefact = floor.artefact();
        let suffix = if part == Part::Test { "test" } else { "dev" };
        Ok(Experiment {
            id: format!("{}@{suffix}", FloorTrial { method, labels }.name()),
            family: Family::Floor,
            method: method.to_owned(),
            labels_used: labels,
            shots: None,
            seed: Some(0),
            configuration,
            part,
            predictions,
            tokens: TokensPerRequest::default(),
            setup,
            seconds_per_request: answering.elapsed().as_secs_f64() / items.len().max(1) as f64,
            artefact: Some(Artefact {
                kind: method.to_owned(),
                bytes: artefact.len() as u64,
                sha256: hex(&Sha256::digest(&artefact)),
                prompt_tokens: 0,
                path: None,
            }),
            collapse: None,
            calls: Default::default(),
        })
    }

    fn predictions(&self, floor: &FittedFloor, items: &[Example]) -> Result<Vec<Prediction>, Error> {
        let written = |answer: &dyn Fn(&str) -> String| {
            let texts = self.writer.texts().ok_or(Error::NothingRan("floor"))?;
            texts.predictions(items, items.iter().map(|example| answer(&example.input)).collect())
        };
        match floor {
            FittedFloor::Constant(floor) => written(&|_| floor.answer().to_owned()),
            FittedFloor::Nearest(floor) => written(&|input| floor.answer(input).to_owned()),
            FittedFloor::Labels(floor) => {
                let answer = |example: &Example| {
                    let scores: Vec<f64> = floor.predict(&example.input).into_iter().map(f64::from).collect();
                    prediction(example, self.dataset, &scores)
                };
                Ok(items.iter().map(answer).collect())
            }
        }
    }

    fn fit_copying(
        &self,
        method: &str,
        labels: usize,
        texts: &TextAnswers,
    ) -> Result<FittedFloor, FloorError> {
        let chosen = selection::nested_subset(self.targets, label_count(self.dataset), labels, 0);
        let train: Vec<(&str, &str)> = chosen
            .into_iter()
            .map(|index| &self.dataset.train[index])
            .map(|example| (example.input.as_str(), example.target.as_str()))
            .collect();
        let answers: Vec<&str> = train.iter().map(|&(_, answer)| answer).collect();
        let constant = ConstantAnswer::fit(&answers, |answer, other| texts.own_score(answer, other))?;
        Ok(match method {
            CONSTANT => FittedFloor::Constant(constant),
            _ => FittedFloor::Nearest(NearestAnswer::fit(&train, constant)?),
        })
    }

    fn fit(&self, method: &str, labels: usize) -> Result<Fitted, FloorError> {
        let classes = self.dataset.labels.len();
        let rows = |part: &'a [task::example::Example]| -> Vec<(&'a str, usize)> {
            part.iter().map(|e| (e.input.as_str(), target_index(self.dataset, e))).collect()
        };
        let all = rows(&self.dataset.train);
        let chosen = selection::nested_subset(self.targets, classes, labels, 0);
        let train: Vec<(&str, usize)> = chosen.into_iter().map(|index| all[index]).collect();
        Ok(match method {
            MAJORITY => Fitted::Majority(Majority::fit(&train, classes)?),
            NEAREST => Fitted::NearestNeighbour(NearestNeighbour::fit(&train, classes)?),
            _ => Fitted::LogisticRegression(LogisticRegression::fit_choosing(
                &train,
                &rows(&self.dataset.dev),
                classes,
            )?),
        })
    }
}

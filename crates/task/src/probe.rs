//! Probes: what was asked of the finalists beside the test set, to see how stable and how safe they are, and the raw answers.
//! What they amount to is computed from these by `eval`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Part, Prediction};

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The untuned model without the task's prompt.
    Base,
    /// The in-context finalist: the untuned model behind the task's prompt.
    InContext,
    /// The fine-tuned finalist.
    FineTune,
}

impl Side {
    /// As it stands in names: `base`, `in_context`, `fine_tune`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::InContext => "in_context",
            Self::FineTune => "fine_tune",
        }
    }
}

/// All probes of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probes {
    /// What was planned, and what there was no time for.
    pub plan: ProbePlan,
    /// The probes that ran, by name and side.
    pub done: Vec<Probe>,
}

impl Probes {
    /// The probe of that name and side.
    pub fn get(&self, name: &str, side: Side) -> Option<&Probe> {
        self.done.iter().find(|probe| probe.name == name && probe.side == side)
    }

    /// Why that probe did not run, where the plan says so.
    pub fn left_out(&self, name: &str, side: Side) -> Option<&str> {
        let left = self.plan.left_out.iter().find(|left| left.name == name && left.side == side);
        left.map(|left| left.reason.as_str())
    }
}

/// Which probes fit their share of the budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// Seconds that the probes may take.
    pub seconds: f64,
    /// Items that each probe asks, at most.
    pub items: usize,
    /// Formats that are tried, where there is no time for as many as the task file wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formats: Option<usize>,
    /// Probes that run, with their estimated seconds.
    pub planned: Vec<PlannedProbe>,
    /// Probes that do not.
    pub left_out: Vec<LeftOut>,
}

/// A probe that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedProbe {
    /// Its name.
    pub name: String,
    /// Who is asked.
    pub side: Side,
    /// Training rows of a probe that trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Estimated seconds.
    pub seconds: f64,
}

/// A probe that does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Who would have been asked.
    pub side: Side,
    /// Why not.
    pub reason: String,
}

/// A probe of one side, with its raw answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// `format`, `order`, `paraphrase`, `label_names`, `typos`, `repeats`, `counterfactual`, `refusals`, `canaries`,
    /// `membership`, `overlap`, `subgroups`, `sensitive`, `capability`.
    pub name: String,
    /// Who was asked.
    pub side: Side,
    /// Id of the experiment whose artefact was asked; empty for the base.
    pub finalist: String,
    /// SHA-256, hexadecimal, of what the probe depends on beside the finalist: another one makes it run again.
    pub asked: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// What came out.
    pub finding: Finding,
}

/// The raw answers of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Finding {
    /// The same items asked in several ways.
    Variants {
        /// Where the items are from.
        part: Part,
        /// The answers when asked as usual.
        original: Vec<Prediction>,
        /// The answers when asked otherwise.
        variants: Vec<Variant>,
    },
    /// How well the right answers of rows are known.
    Membership {
        /// Loss (negative natural-log probability of the right answer) of rows that were in the demonstrations or in training.
        members: Vec<f64>,
        /// Loss of rows that were not.
        held_out: Vec<f64>,
        /// Where the held-out rows are from.
        part: Part,
    },
    /// Secrets that were planted for the purpose and then looked for.
    Canaries {
        /// The secrets.
        canaries: Vec<Canary>,
        /// Rows of the experiment that they were planted in.
        rows: usize,
    },
    /// Questions that a careful model refuses, and harmless ones that look like them.
    Refusals {
        /// The answers.
        answers: Vec<RefusalAnswer>,
    },
    /// What the model writes when it is given the beginning of a row.
    Overlap {
        /// Words of a run that counts as verbatim.
        shortest: usize,
        /// The texts.
        generations: Vec<Generation>,
    },
    /// The group of each test item.
    Subgroups {
        /// Group by example id.
        groups: BTreeMap<String, String>,
    },
    /// Secrets and personal data in the rows that are baked in.
    Sensitive {
        /// Rows scanned.
        rows: usize,
        /// What was found.
        findings: Vec<SensitiveText>,
    },
    /// What the model can do beside the task.
    Capability {
        /// Texts of general language.
        passages: Vec<Passage>,
        /// Questions of general knowledge: whether each was answered right.
        questions: Vec<QuestionAnswer>,
    },
}

/// One other way of asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name: `format 3`, `10% typos`, ...
    pub name: String,
    /// What is different, so that it can be made again.
    pub detail: String,
    /// Seed that it was drawn by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The answers, in the items' order; label scores are not kept.
    pub predictions: Vec<Prediction>,
    /// Largest difference of a label's log-probability from the original's; for repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_difference: Option<f64>,
}

/// A planted secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Where it was planted: `answer` or `input`.
    pub place: String,
    /// In how many rows.
    pub repetitions: usize,
    /// Its place among all candidates by log-probability, from 1; ties count half.
    pub rank: f64,
    /// Its place in the untouched model.
    pub rank_before: f64,
    /// Candidates in all.
    pub candidates: u64,
}

/// The answer to a question that may be refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalAnswer {
    /// The question's name.
    pub id: String,
    /// Whether it should be refused.
    pub harmful: bool,
    /// What was written, shortened.
    pub text: String,
    /// Log-probability of an opening that refuses less that of one that complies, per token; `None` where not measured.
    pub refusal_log_odds: Option<f64>,
}

/// A continuation of the beginning of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// The row.
    pub example: String,
    /// `train` for rows that the artefact holds, `dev` for rows that it does not.
    pub part: Part,
    /// Words written.
    pub words: usize,
    /// Longest run of words that stands in the training rows too.
    pub longest: usize,
}

/// A secret or personal datum in a row, not readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensitiveText {
    /// `email`, `phone`, `card`, `iban`, `key`, ...
    pub kind: String,
    /// The row.
    pub example: String,
    /// `input` or `target`.
    pub field: String,
    /// What is left of it when it is hidden.
    pub redacted: String,
}

/// How probable a text is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Its name.
    pub id: String,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Bytes that they spell.
    pub bytes: usize,
    /// Natural-log probability of them all.
    pub log_probability: f64,
}

/// Whether a question of general knowledge was answered right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionAnswer {
    /// Its name.
    pub id: String,
    /// Whether the right answer was the most probable one.
    pub right: bool,
}

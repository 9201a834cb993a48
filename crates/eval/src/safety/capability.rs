//! What a finalist can still do beside the task.

use serde::{Deserialize, Serialize};
use task::probe::{Finding, Passage};

use crate::interval::Estimate;
use crate::mean::student;
use crate::paired::mcnemar_exact;
use crate::probes::Look;
use crate::stability::Rate;

/// Abilities beside the task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Perplexity per token on general text.
    pub perplexity: f64,
    /// The same of the untouched model.
    pub base_perplexity: f64,
    /// Mean change of the loss per token over passages, in nats, with Student's interval.
    pub loss_change: Option<Estimate>,
    /// Questions of general knowledge answered right.
    pub questions: Rate,
    /// The same of the untouched model.
    pub base_questions: Rate,
    /// McNemar's exact p-value of the change on the questions.
    pub p: f64,
}

pub(super) fn capability(look: &Look<'_>) -> Option<Capability> {
    let (
        Some(Finding::Capability { passages: base, questions: before }),
        Some(Finding::Capability { passages: own, questions: now }),
    ) = (look.base("capability"), look.finding("capability"))
    else {
        return None;
    };
    let perplexity = |passages: &[Passage]| {
        let tokens: usize = passages.iter().map(|passage| passage.tokens).sum();
        let sum: f64 = passages.iter().map(|passage| passage.log_probability).sum();
        (-sum / tokens.max(1) as f64).exp()
    };
    let changes: Vec<f64> = base
        .iter()
        .zip(own)
        .map(|(before, now)| (before.log_probability - now.log_probability) / now.tokens.max(1) as f64)
        .collect();
    let right = |answers: &[task::probe::QuestionAnswer]| {
        Rate::new(answers.iter().filter(|answer| answer.right).count(), answers.len(), look.confidence())
    };
    let pairs: Vec<(bool, bool)> =
        before.iter().zip(now).map(|(one, other)| (one.right, other.right)).collect();
    let only = |first: bool| pairs.iter().filter(|pair| pair.0 == first && pair.1 != first).count() as u64;
    Some(Capability {
        perplexity: perplexity(own),
        base_perplexity: perplexity(base),
        loss_change: student(&changes, look.confidence()).ok(),
        questions: right(now),
        base_questions: right(before),
        p: mcnemar_exact(only(false), only(true)),
    })
}

//! One arm in the live view: how many of its trials ended, and the best of them on dev.

use std::collections::BTreeSet;

use eval::wording::experiment_name;
use indicatif::ProgressBar;
use task::record::{Experiment, Family};

/// A line of the view.
pub(super) struct ArmView {
    family: Family,
    bar: ProgressBar,
    ended: BTreeSet<String>,
    best: Option<(f64, String)>,
    collapsed: usize,
}

impl ArmView {
    pub(super) fn new(name: &str, family: Family, bar: ProgressBar) -> Self {
        bar.set_prefix(name.to_owned());
        bar.set_message("nothing tried yet");
        Self { family, bar, ended: BTreeSet::new(), best: None, collapsed: 0 }
    }

    /// Takes the line off the screen.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Takes a dev result into account.
    pub(super) fn stored(&mut self, experiment: &Experiment) {
        self.ended.insert(trial(experiment));
        self.collapsed += usize::from(experiment.collapse.is_some());
        let score = experiment.mean_score();
        if experiment.collapse.is_none() && self.best.as_ref().is_none_or(|(best, _)| score > *best) {
            self.best = Some((score, experiment_name(&experiment.id)));
        }
        self.bar.set_position(self.ended.len() as u64);
        self.bar.set_message(self.message());
    }

    fn message(&self) -> String {
        let best = match &self.best {
            Some((score, name)) => format!("best on dev {score:.3}  {name}"),
            None => "nothing healthy yet".to_owned(),
        };
        match self.collapsed {
            0 => best,
            collapsed => format!("{best}  ({collapsed} collapsed)"),
        }
    }
}

/// A prompt is one trial under all its calibrations.
fn trial(experiment: &Experiment) -> String {
    let name = experiment.id.trim_end_matches("@dev");
    match (experiment.family, name.rsplit_once('/')) {
        (Family::InContext, Some((prompt, _))) => prompt.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use task::record::{Answer, Part, Prediction, Setup, TokensPerRequest};

    use super::*;

    fn experiment(id: &str, family: Family, right: usize, collapse: Option<&str>) -> Experiment {
        let predictions = (0..4).map(|item| Prediction {
            example: item.to_string(),
            answer: Answer::Label { gold: 0, predicted: usize::from(item >= right), scores: Vec::new() },
        });
        Experiment {
            id: id.to_owned(),
            family,
            method: String::new(),
            labels_used: 0,
            shots: None,
            seed: None,
            configuration: BTreeMap::new(),
            part: Part::Dev,
            predictions: predictions.collect(),
            tokens: TokensPerRequest::default(),
            setup: Setup::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: collapse.map(str::to_owned),
            calls: Default::default(),
        }
    }

    #[test]
    fn calibrations_are_one_trial_and_the_best_stays() {
        let mut arm = ArmView::new("In-context", Family::InContext, ProgressBar::hidden());
        for (calibration, right) in [("none", 2), ("batch", 3), ("contextual", 1)] {
            let id = format!("in_context/random/k4/s0/{calibration}@dev");
            arm.stored(&experiment(&id, Family::InContext, right, None));
        }
        assert_eq!(arm.bar.position(), 1);
        assert_eq!(arm.message(), "best on dev 0.750  random shots, 4 shown (seed 0, batch calibration)");
    }

    #[test]
    fn a_collapsed_run_is_counted_and_never_the_best() {
        let mut arm = ArmView::new("Fine-tuning", Family::FineTune, ProgressBar::hidden());
        arm.stored(&experiment("fine_tune/lora/n16/lr0.1/s0@dev", Family::FineTune, 4, Some("diverged")));
        assert_eq!(arm.message(), "nothing healthy yet  (1 collapsed)");
        arm.stored(&experiment("fine_tune/lora/n16/lr0.001/s0@dev", Family::FineTune, 1, None));
        assert_eq!(arm.bar.position(), 2);
        assert_eq!(arm.message(), "best on dev 0.250  LoRA, 16 labels (rate 0.001, seed 0)  (1 collapsed)");
    }
}

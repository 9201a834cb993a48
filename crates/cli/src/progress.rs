//! Progress on standard error. On a terminal a live view: each arm with its best dev score so far, what is running, the share of the
//! budget that is spent and the time left. Elsewhere plain lines.

mod arm;

use std::time::{Duration, Instant};

use adapt::observer::{Observer, Summary};
use eval::wording::{count, experiment_name};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use task::record::{Experiment, Family, Part};

use crate::interrupt;
use crate::printer::{left_out, wrapped};
use arm::ArmView;

/// Units of the bar of the whole: a thousandth of the planned seconds.
const UNITS: u64 = 1000;

/// Draws the live view where standard error is a terminal, and plain lines where it is not.
pub(crate) struct Progress {
    view: MultiProgress,
    arms: Vec<ArmView>,
    whole: ProgressBar,
    /// What is running.
    now: Option<ProgressBar>,
    plain: bool,
    started: Instant,
    first_share: Option<f64>,
    planned_seconds: f64,
    budget_seconds: f64,
}

impl Progress {
    /// A view of a run under a budget of so many seconds.
    pub(crate) fn new(quiet: bool, budget_seconds: f64) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let target =
            if quiet || !terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let view = MultiProgress::with_draw_target(target);
        let whole = view.add(ProgressBar::new(UNITS).with_style(style("  {spinner} {wide_msg}")));
        whole.set_message("looking at the model and the machine");
        whole.enable_steady_tick(Duration::from_millis(200));
        Self {
            view,
            arms: Vec::new(),
            whole,
            now: None,
            plain: !quiet && !terminal,
            started: Instant::now(),
            first_share: None,
            planned_seconds: 0.0,
            budget_seconds,
        }
    }

    /// What is drawn.
    pub(crate) fn view(&self) -> MultiProgress {
        self.view.clone()
    }

    /// Says something that stays on the screen.
    pub(crate) fn say(&self, message: &str) {
        if self.plain {
            anstream::eprintln!("{message}");
        } else {
            // Where nothing is drawn there is nothing to say it above.
            let _ = self.view.println(wrapped(message).trim_end());
        }
    }

    /// Takes the view off the screen.
    pub(crate) fn clear(&self) {
        self.arms.iter().for_each(ArmView::clear);
        self.whole.finish_and_clear();
        self.now.iter().for_each(ProgressBar::finish_and_clear);
    }

    /// Time left by the pace of this session so far.
    fn remaining(&mut self, share: f64) -> Option<Duration> {
        let first = *self.first_share.get_or_insert(share);
        let gained = share - first;
        (gained > 0.01).then(|| self.started.elapsed().mul_f64(((1.0 - share) / gained).max(0.0)))
    }

    fn draw(&mut self, share: f64) {
        self.whole.set_position((share * UNITS as f64) as u64);
        let left = match self.remaining(share) {
            Some(left) => format!("about {} left", humane(left.as_secs_f64())),
            None => format!("{} planned", humane(self.planned_seconds)),
        };
        self.whole.set_message(left);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("templates are constant").progress_chars("━╸ ")
}

/// `1 h 05 min`, `12 min`, `40 s`.
pub(crate) fn humane(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=99 => format!("{whole} s"),
        100..=5999 => format!("{} min", (seconds / 60.0).round() as u64),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

impl Observer for Progress {
    fn planned(&mut self, plan: &Summary) {
        let [prompts, trainings] = plan.seconds;
        self.say(&format!(
            "Plan: {} (about {}) and {} (about {}), both on dev first, then on test.",
            count(plan.prompts as u64, "prompt"),
            humane(prompts),
            count(plan.trainings as u64, "training run"),
            humane(trainings)
        ));
        if plan.done > 0 {
            self.say(&format!(
                "Going on where an earlier session stopped: {} experiments are stored.",
                plan.done
            ));
        }
        if let Some(line) = left_out(&plan.left_out) {
            self.say(&line);
        }
        let [prompts_more, trainings_more] = &plan.reserve;
        if !(prompts_more.is_empty() && trainings_more.is_empty()) {
            self.say(&format!(
                "In reserve for time that is left: {} more in-context, {} more of fine-tuning.",
                prompts_more.len(),
                trainings_more.len()
            ));
        }
        if prompts + trainings > 1.1 * self.budget_seconds {
            self.say(&format!(
                "That is more than the budget of {}: whatever the budget, the first prompt and the first training run.",
                humane(self.budget_seconds)
            ));
        }
        self.started = Instant::now();
        self.whole.reset_elapsed();
        self.planned_seconds = prompts + trainings;
        let arms = [
            ("In-context", Family::InContext, plan.prompts),
            ("Fine-tuning", Family::FineTune, plan.trainings),
        ];
        self.arms = arms
            .into_iter()
            .map(|(name, family, trials)| {
                let bar = self.view.insert_before(&self.whole, ProgressBar::new(trials as u64));
                ArmView::new(
                    name,
                    family,
                    bar.with_style(style("  {prefix:12} {bar:20} {pos:>3}/{len:3}  {wide_msg}")),
                )
            })
            .collect();
        self.whole.set_prefix("Budget");
        self.whole.set_style(style("  {prefix:12} {bar:20} {percent:>6}%  {elapsed} spent, {wide_msg}"));
        let now = self.view.add(ProgressBar::new_spinner().with_style(style("  {spinner} {wide_msg:.dim}")));
        now.enable_steady_tick(Duration::from_millis(200));
        self.now = Some(now);
        self.draw(0.0);
    }

    fn started(&mut self, name: &str) {
        // What is being answered on test is no secret; how well is.
        if let Some(now) = &self.now {
            now.set_message(experiment_name(name));
        }
    }

    fn stored(&mut self, experiment: &Experiment, share: f64) {
        // Test figures stay out of sight until the verdict: nobody should stop a run because of them.
        if experiment.part == Part::Dev {
            if self.plain {
                let score = experiment.mean_score();
                self.say(&format!("  dev {score:.3}  {}", experiment.id.trim_end_matches("@dev")));
            }
            for arm in self.arms.iter_mut().filter(|arm| arm.family() == experiment.family) {
                arm.stored(experiment);
            }
        }
        self.draw(share);
    }

    fn noted(&mut self, message: &str) {
        self.say(message);
    }

    fn wants_stop(&self) -> bool {
        interrupt::wanted()
    }

    fn opened_test(&mut self, experiments: &[String]) {
        self.say(&format!(
            "Every choice is made. Opening the test set, once, for {} experiments.",
            experiments.len()
        ));
    }
}

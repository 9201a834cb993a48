//! Progress on standard error: one line that says what runs, how far the plan has come and how long it still takes.

use std::time::{Duration, Instant};

use adapt::observer::{Observer, Summary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use task::record::{Experiment, Part};

/// Units of the bar: a thousandth of the planned seconds.
const UNITS: u64 = 1000;

/// Draws a bar where standard error is a terminal, and plain lines where it is not.
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
    started: Instant,
    first_share: Option<f64>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let target =
            if quiet || !terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(UNITS), target).with_style(
            ProgressStyle::with_template("{spinner} {bar:24} {percent:>3}%  {prefix}  {msg}")
                .expect("the template is constant")
                .progress_chars("=> "),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, plain: !quiet && !terminal, started: Instant::now(), first_share: None }
    }

    /// Says something that stays on the screen.
    pub(crate) fn say(&self, message: &str) {
        if self.plain {
            anstream::eprintln!("{message}");
        } else {
            self.bar.println(message);
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Time left by the pace of this session so far.
    fn remaining(&mut self, share: f64) -> Option<Duration> {
        let first = *self.first_share.get_or_insert(share);
        let gained = share - first;
        (gained > 0.01).then(|| self.started.elapsed().mul_f64(((1.0 - share) / gained).max(0.0)))
    }
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
            "Plan: {} prompts (about {}) and {} training runs (about {}), both on dev first, then on test.",
            plan.prompts,
            humane(prompts),
            plan.trainings,
            humane(trainings)
        ));
        if plan.done > 0 {
            self.say(&format!(
                "Going on where an earlier session stopped: {} experiments are stored.",
                plan.done
            ));
        }
        if !plan.left_out.is_empty() {
            let shown: Vec<&str> = plan.left_out.iter().take(3).map(String::as_str).collect();
            let more = plan.left_out.len() - shown.len();
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.say(&format!("Left out, for lack of time or context: {}{tail}.", shown.join(", ")));
        }
        self.started = Instant::now();
    }

    fn started(&mut self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn stored(&mut self, experiment: &Experiment, share: f64) {
        // Test figures stay out of sight until the verdict: nobody should stop a run because of them.
        if experiment.part == Part::Dev {
            let score = experiment.mean_score();
            self.say(&format!("  dev {score:.3}  {}", experiment.id.trim_end_matches("@dev")));
        }
        self.bar.set_position((share * UNITS as f64) as u64);
        if let Some(left) = self.remaining(share) {
            self.bar.set_prefix(format!("{} left", humane(left.as_secs_f64())));
        }
    }

    fn noted(&mut self, message: &str) {
        self.say(message);
    }

    fn opened_test(&mut self, experiments: &[String]) {
        self.say(&format!(
            "Every choice is made. Opening the test set, once, for {} experiments.",
            experiments.len()
        ));
    }
}

//! The learning rate over the steps of a run.

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// The peak to the end.
    Constant,
    /// Straight to zero, which the step after the last would reach.
    #[default]
    Linear,
    /// Half a cosine to `floor` times the peak.
    Cosine {
        /// Share of the peak at the end.
        floor: f64,
    },
}

/// Linear warm-up, then decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Steps of the run.
    pub steps: u32,
    /// Steps until the peak; the first has `1 / warmup` of it.
    pub warmup: u32,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// A warm-up of `share` of all steps, rounded down, but one step at least.
    pub fn with_warmup_share(steps: u32, share: f64, decay: Decay) -> Self {
        let warmup = ((f64::from(steps) * share) as u32).clamp(1, steps.max(1));
        Self { steps, warmup, decay }
    }

    /// The factor on the peak learning rate at `step`, counted from 0.
    pub fn factor(&self, step: u32) -> f64 {
        let rising = f64::from(step + 1) / f64::from(self.warmup.max(1));
        let left = self.steps.saturating_sub(step);
        let falling = f64::from(left) / f64::from(self.steps.saturating_sub(self.warmup).max(1));
        match self.decay {
            Decay::Constant => rising.min(1.0),
            // As the peer's recipe: the smaller of both lines.
            Decay::Linear => rising.min(falling).min(1.0),
            Decay::Cosine { floor } => {
                let done = (1.0 - falling).clamp(0.0, 1.0);
                let fallen = floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                rising.min(1.0) * fallen
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: `min((step + 1) / warm, (steps - step) / (steps - warm))` by hand.
    #[test]
    fn linear_rises_and_falls() {
        let schedule = Schedule::with_warmup_share(20, 0.1, Decay::Linear);
        assert_eq!(schedule.warmup, 2);
        assert_eq!(schedule.factor(0), 0.5);
        assert_eq!(schedule.factor(1), 1.0);
        assert_eq!(schedule.factor(2), 1.0);
        assert_eq!(schedule.factor(11), 0.5);
        assert_eq!(schedule.factor(19), 1.0 / 18.0);
    }

    #[test]
    fn cosine_ends_at_its_floor_and_constant_stays() {
        let cosine = Schedule { steps: 101, warmup: 1, decay: Decay::Cosine { floor: 0.1 } };
        assert!((cosine.factor(1) - 1.0).abs() < 1e-12);
        assert!((cosine.factor(51) - 0.55).abs() < 1e-12);
        assert!(cosine.factor(100) > 0.1 && cosine.factor(100) < 0.102);
        let constant = Schedule { steps: 10, warmup: 4, decay: Decay::Constant };
        assert_eq!(constant.factor(1), 0.5);
        assert_eq!(constant.factor(9), 1.0);
    }

    #[test]
    fn one_step_runs_at_the_peak() {
        assert_eq!(Schedule::with_warmup_share(1, 0.1, Decay::Linear).factor(0), 1.0);
    }
}

//! The curriculum: it becomes harder when the model succeeds, and sequences become longer.

use super::dice::Dice;
use serde_json::{Value, json};

/// Steps before the first change.
const PATIENCE: u32 = 60;
/// How much a step above the bar adds to the level.
const STEP: f64 = 0.004;
/// How much a step below it adds: a bar that is out of reach must not hold the run for ever.
const DRIFT: f64 = 0.000_05;
/// Weight of the newest accuracy in the running mean.
const NEWEST: f64 = 0.03;

/// Where the curriculum stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curriculum {
    /// 0: one keyword among four classes decides; 1: everything.
    pub(super) level: f64,
    /// Running mean of the restricted accuracy.
    pub(super) accuracy: f64,
    steps: u32,
}

impl Curriculum {
    /// The beginning.
    pub(super) fn new() -> Self {
        Self { level: 0.0, accuracy: 0.0, steps: 0 }
    }

    /// Takes in the restricted accuracy of a step.
    pub(super) fn learn(&mut self, accuracy: f64) {
        self.accuracy =
            if self.steps == 0 { accuracy } else { self.accuracy + NEWEST * (accuracy - self.accuracy) };
        self.steps += 1;
        if self.steps > PATIENCE {
            let above = self.accuracy > 0.75 - 0.25 * self.level;
            self.level = (self.level + if above { STEP } else { DRIFT }).min(1.0);
        }
    }

    /// Tokens of a sequence in the next batch.
    pub(super) fn length(&self, dice: &mut Dice) -> usize {
        match self.level {
            level if level < 0.1 => 128,
            level if level < 0.3 => 192,
            level if level < 0.6 => 256,
            level if level < 1.0 => *dice.pick(&[256, 256, 512]),
            _ => *dice.pick(&[256, 512, 512, 1024]),
        }
    }

    /// Tokens in a batch.
    pub(super) fn tokens(&self) -> usize {
        if self.level > 0.1 { 3072 } else { 2048 }
    }

    /// For a checkpoint.
    pub(super) fn to_json(&self) -> Value {
        json!({"level": self.level, "accuracy": self.accuracy, "steps": self.steps})
    }

    /// From a checkpoint.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            level: value["level"].as_f64()?,
            accuracy: value["accuracy"].as_f64()?,
            steps: u32::try_from(value["steps"].as_u64()?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_raises_the_level_and_failure_does_not() {
        let mut curriculum = Curriculum::new();
        for _ in 0..200 {
            curriculum.learn(0.5);
        }
        assert!(curriculum.level < 0.05);
        for _ in 0..400 {
            curriculum.learn(1.0);
        }
        assert!(curriculum.level > 0.9);
        assert_eq!(Curriculum::from_json(&curriculum.to_json()), Some(curriculum));
    }
}

//! Who is told how far a run has come. The binary draws it; tests listen to it.

use task::record::Experiment;

/// What a run tells while it goes on. Every method does nothing by default.
pub trait Observer {
    /// The plan stands: `trials` units of work, estimated at `seconds` in all, of which `done` are stored already.
    fn planned(&mut self, _plan: &Summary) {}
    /// A unit of work begins.
    fn started(&mut self, _name: &str) {}
    /// A unit of work ended and is stored; `share` of the planned seconds (0 to 1) is behind us.
    fn stored(&mut self, _experiment: &Experiment, _share: f64) {}
    /// Something that the user should know (a trial left out, a collapsed run).
    fn noted(&mut self, _message: &str) {}
    /// Whether the person who runs it wants it to stop: asked before every unit of work.
    fn wants_stop(&self) -> bool {
        false
    }
    /// Every choice is made; the test set is opened with these experiments.
    fn opened_test(&mut self, _experiments: &[String]) {}
}

/// The size of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Prompt trials.
    pub prompts: usize,
    /// Training runs.
    pub trainings: usize,
    /// Estimated seconds of each arm, test included.
    pub seconds: [f64; 2],
    /// Units of work that an earlier session has stored.
    pub done: usize,
    /// Trials that the context, or where there is no reserve the budget, has no room for.
    pub left_out: Vec<String>,
    /// What the prompting arm and the fine-tuning arm try where time is left, in order.
    pub reserve: [Vec<String>; 2],
}

/// An observer that tells nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

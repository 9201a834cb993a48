//! The floors on the very demonstrations and queries of the model: how much a task's words alone tell.

use super::Example;
use crate::micro::vocabulary::Vocabulary;
use adapt::floor::{Floor, LogisticRegression, NearestNeighbour, best_label};
use anyhow::Result;

/// Texts and classes of demonstrations and queries.
pub(super) struct Texts {
    demonstrations: Vec<(String, usize)>,
    queries: Vec<(String, usize)>,
    classes: usize,
}

impl Texts {
    /// The chosen demonstrations (class and index) and the queries asked.
    pub(super) fn new(
        example: &Example,
        chosen: &[(usize, usize)],
        asked: &[usize],
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let demonstrations = chosen
            .iter()
            .map(|&(class, index)| Ok((vocabulary.decode(&example.demonstrations[class][index])?, class)))
            .collect::<Result<_>>()?;
        let queries = asked
            .iter()
            .map(|&index| {
                let (tokens, class) = &example.queries[index];
                Ok((vocabulary.decode(tokens)?, *class))
            })
            .collect::<Result<_>>()?;
        Ok(Self { demonstrations, queries, classes: example.demonstrations.len() })
    }

    fn right(&self, floor: &impl Floor) -> usize {
        self.queries.iter().filter(|(text, class)| best_label(&floor.predict(text)) == *class).count()
    }

    fn pairs(&self) -> Vec<(&str, usize)> {
        self.demonstrations.iter().map(|(text, class)| (text.as_str(), *class)).collect()
    }

    /// Queries that the nearest demonstration's label answers right.
    pub(super) fn nearest(&self) -> Result<usize> {
        Ok(self.right(&NearestNeighbour::fit(&self.pairs(), self.classes)?))
    }

    /// Queries that logistic regression on tf-idf answers right.
    pub(super) fn linear(&self) -> Result<usize> {
        Ok(self.right(&LogisticRegression::fit(&self.pairs(), self.classes, 10.0)?))
    }
}

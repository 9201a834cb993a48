//! How many demonstrations a prompt has, as a task file says it.

use serde::{Deserialize, Serialize};

/// A number of demonstrations to try: `16`, or `"max"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Shots {
    /// So many.
    Count(usize),
    /// As many as fit the context and the training rows.
    Max,
}

impl Shots {
    /// The number; `None` where only the model's context tells it.
    pub fn count(self) -> Option<usize> {
        match self {
            Self::Count(count) => Some(count),
            Self::Max => None,
        }
    }
}

impl PartialEq<usize> for Shots {
    fn eq(&self, other: &usize) -> bool {
        self.count() == Some(*other)
    }
}

/// As it stands in files.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Count(usize),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Max,
}

impl From<Written> for Shots {
    fn from(written: Written) -> Self {
        match written {
            Written::Count(count) => Self::Count(count),
            Written::Word(Word::Max) => Self::Max,
        }
    }
}

impl From<Shots> for Written {
    fn from(shots: Shots) -> Self {
        match shots {
            Shots::Count(count) => Self::Count(count),
            Shots::Max => Self::Word(Word::Max),
        }
    }
}

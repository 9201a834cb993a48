//! The report's own words for what the comparison says.

use eval::comparison::Comparison;
use eval::gates::State;
use eval::verdict::Choice;
use task::record::Family;

/// The verdict in a word or two: the page's title.
pub(crate) fn headline(choice: Choice) -> &'static str {
    match choice {
        Choice::InContext => "Prompt it.",
        Choice::FineTune => "Train it.",
        Choice::Equivalent => "Either will do.",
        Choice::Undecided => "The data cannot tell yet.",
        Choice::Floor => "Neither: no language model is needed.",
    }
}

/// `yes`, `no`, `undecided`.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Yes => "yes",
        State::No => "no",
        State::Undecided => "undecided",
    }
}

/// A gate's name and what it asks.
pub(crate) fn gate(name: &str) -> (&'static str, &'static str) {
    match name {
        "stable" => ("Stable", "Does the task stay as it is for longer than fine-tuning takes to pay back?"),
        "long_and_expensive" => (
            "Long and expensive",
            "Is the prompt long enough, and used often enough, for a shorter one to pay?",
        ),
        _ => ("Enough data", "Are there enough clean labels to beat the best prompt?"),
    }
}

/// What an arm is called.
pub(crate) fn family(family: Family) -> &'static str {
    match family {
        Family::InContext => "In-context",
        Family::FineTune => "Fine-tuned",
        Family::Floor => "Floor",
        Family::Hybrid => "Hybrid",
    }
}

/// The class of an arm's colour.
pub(crate) fn class(family: Family) -> &'static str {
    match family {
        Family::InContext => "ic",
        Family::FineTune => "ft",
        Family::Floor => "fl",
        Family::Hybrid => "hy",
    }
}

/// An experiment's id without the part that was answered.
pub(crate) fn stem(id: &str) -> &str {
    ["@test", "@dev", "@train"].iter().find_map(|part| id.strip_suffix(part)).unwrap_or(id)
}

/// What answers there are: `5 labels`, `JSON by a schema`, `free text`.
pub(crate) fn answers(comparison: &Comparison) -> String {
    match (comparison.task.kind.as_str(), comparison.labels.len()) {
        ("extract", _) => "JSON by a schema".to_owned(),
        (_, 0) => "free text".to_owned(),
        (_, labels) => format!("{labels} labels"),
    }
}

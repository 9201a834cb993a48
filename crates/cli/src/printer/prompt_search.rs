//! What the search of the prompting arm's instruction and format tried, in a few lines.

use eval::wording::{number, seconds};
use task::prompt_search::{PromptSearch, SearchedPrompt};

use super::{share, wrapped};

/// Candidates that are named.
const NAMED: usize = 3;

/// How much was tried and what it cost; of the candidates that came furthest, how they compare with the prompt that was not searched for.
pub(super) fn summary(search: &PromptSearch) -> String {
    let mut text = format!(
        "Prompt search on dev: {} instructions and formats around {}; {} answers, {} tokens, {}.",
        search.candidates.len(),
        search.base.trim_end_matches("@dev"),
        number(search.answers as f64),
        number(search.tokens as f64),
        seconds(search.seconds),
    );
    let mut furthest: Vec<&SearchedPrompt> = search.candidates.iter().filter(|one| one.items > 0).collect();
    furthest.sort_by(|a, b| b.items.cmp(&a.items).then(b.score.total_cmp(&a.score)));
    for one in furthest.iter().take(NAMED) {
        let marked = if search.found.as_ref() == Some(&one.name) { "→ " } else { "  " };
        text += &format!(
            "\n{marked}{}: {} against {} on {} items{}",
            one.name,
            share(one.score),
            share(one.unsearched),
            one.items,
            shown(&one.text),
        );
    }
    if search.found.is_none() {
        text += "\nNone was better: the task's own prompt stays.";
    }
    wrapped(&text).trim_end().to_owned()
}

/// The beginning of a candidate's words.
fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        _ if line.is_empty() => String::new(),
        Some((end, _)) => format!(" ({}...)", &line[..end]),
        None => format!(" ({line})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_is_marked_and_the_price_is_told() {
        let one = |name: &str, items, score| SearchedPrompt {
            name: name.to_owned(),
            text: "Sort the message.\nLabels: a, b".to_owned(),
            items,
            score,
            unsearched: 0.5,
            dropped: None,
        };
        let search = PromptSearch {
            base: "in_context/bm25/k16/s0/none@dev".to_owned(),
            candidates: vec![one("template 1", 16, 0.4), one("format 2", 64, 0.625)],
            answers: 80,
            tokens: 12_345,
            seconds: 9.0,
            out_of_time: false,
            found: Some("format 2".to_owned()),
        };
        let text = summary(&search);
        assert!(text.contains("2 instructions and formats") && text.contains("12,345 tokens"), "{text}");
        assert!(text.contains("→ format 2: .625 against .500 on 64 items (Sort the message.)"), "{text}");
        let none = summary(&PromptSearch { found: None, ..search });
        assert!(none.contains("None was better"), "{none}");
    }
}

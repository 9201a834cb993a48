//! Which prompts are tried, in which order, and what they take.

use super::{Measured, PromptTrial, Selection, Wishes};

/// The smallest search that says something: so many candidates on so many dev items.
const SMALLEST_SEARCH: [f64; 2] = [4.0, 16.0];

/// Seconds of the smallest search, around a prompt without demonstrations.
pub(crate) fn smallest_search(wishes: &Wishes, measured: &Measured) -> f64 {
    let [candidates, items] = SMALLEST_SEARCH;
    let each = measured.each(wishes.calibrated);
    candidates * (measured.instruction + items * each) / measured.forward_speed
}

/// Prompts in order of interest, and the names of those that cannot fit the context.
pub(super) fn prompt_candidates(wishes: &Wishes, measured: &Measured) -> (Vec<PromptTrial>, Vec<String>) {
    let mut wanted = Vec::new();
    if wishes.shots.contains(&0) || !(wishes.random || wishes.bm25) {
        wanted.push((Selection::ZeroShot, 0, 0));
    }
    let mut shown: Vec<usize> = wishes.shots.iter().copied().filter(|&shots| shots > 0).collect();
    let most = if wishes.most_shots { most_shots(measured, wishes.train) } else { 0 };
    if most > 0 && !shown.contains(&most) {
        shown.push(most);
    }
    // One prompt of either kind first, with the fewest demonstrations: a short budget then knows what retrieval is worth. The larger
    // retrieved ones come after the random ones: on test they take many times as long.
    let kinds = [(wishes.random, Selection::Random), (wishes.bm25, Selection::Bm25)];
    let kinds: Vec<Selection> = kinds.into_iter().filter_map(|(own, kind)| own.then_some(kind)).collect();
    let (fewest, larger) = shown.split_at(shown.len().min(1));
    for sizes in [fewest, larger] {
        wanted.extend(kinds.iter().flat_map(|&kind| sizes.iter().map(move |&shots| (kind, shots, 0))));
    }
    for seed in (1..wishes.draws).filter(|_| wishes.random) {
        wanted.extend(shown.iter().map(|&shots| (Selection::Random, shots, seed)));
    }
    for &selection in &wishes.more {
        wanted.extend(shown.iter().map(|&shots| (selection, shots, 0)));
    }
    let mut fitting = Vec::new();
    let mut unfit = Vec::new();
    for (selection, shots, seed) in wanted {
        let first = Some(&shots) == shown.first();
        let trial = PromptTrial { seed, ..prompt_trial(wishes, measured, selection, shots, first) };
        if prompt_bound(measured, shots) <= measured.context as f64 {
            fitting.push(trial);
        } else {
            unfit.push(format!("{} (does not fit the context of {} tokens)", trial.name(), measured.context));
        }
    }
    (fitting, unfit)
}

/// A prompt of the lists with its first draw; `first`: of those that embed, the one that embeds the rows.
pub(super) fn prompt_trial(
    wishes: &Wishes,
    measured: &Measured,
    selection: Selection,
    shots: usize,
    first: bool,
) -> PromptTrial {
    let items = wishes.evaluated.map(|items| items as f64);
    let each = forward_tokens(wishes, measured, selection, shots);
    let shared = (shots - selection.retrieved(shots)) as f64 * measured.demonstration;
    let again = match selection {
        Selection::ZeroShot | Selection::Random => measured.instruction + shared,
        _ => shared,
    };
    let mut tokens = [measured.instruction + shared + items[0] * each[0], again + items[1] * each[1]];
    if selection == Selection::Embedding && first {
        tokens[0] += (wishes.train as f64 + items[0]) * measured.query;
        tokens[1] += items[1] * measured.query;
    }
    let [dev_seconds, test_seconds] = tokens.map(|tokens| tokens / measured.forward_speed);
    PromptTrial { selection, shots, seed: 0, dev_seconds, test_seconds, searched: false, unlisted: false }
}

/// Forward tokens of a request of dev, and of test, beside what requests share. Calibrations are compared on dev, which takes the scores of
/// all labels; on test only the best label under one of them is asked for.
pub(crate) fn forward_tokens(
    wishes: &Wishes,
    measured: &Measured,
    selection: Selection,
    shots: usize,
) -> [f64; 2] {
    let unshown = if shots == 0 { measured.unshown_writing - measured.writing } else { 0.0 };
    let own = selection.retrieved(shots) as f64 * measured.demonstration;
    [wishes.calibrated, false].map(|all| own + measured.each(all) + unshown)
}

/// The most demonstrations, at most `train`, whose prompt fits the context.
fn most_shots(measured: &Measured, train: usize) -> usize {
    (1..=train)
        .take_while(|&shots| prompt_bound(measured, shots) <= measured.context as f64)
        .last()
        .unwrap_or(0)
}

/// Tokens that a prompt with `shots` demonstrations and its answer will hardly exceed: the mean, a tenth more, and the longest
/// query. Of a tree of labels only the longest path counts, which [`Measured::longest_query`] holds: its branches are computed
/// beside each other, at the same positions.
pub(crate) fn prompt_bound(measured: &Measured, shots: usize) -> f64 {
    let demonstrations = match shots {
        0 => 0.0,
        1 => measured.longest_demonstration as f64,
        _ => 1.1 * shots as f64 * measured.demonstration + measured.longest_demonstration as f64,
    };
    measured.instruction + demonstrations + measured.longest_query as f64
}

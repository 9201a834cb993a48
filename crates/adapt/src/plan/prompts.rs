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
        let seconds = prompt_seconds(wishes, measured, selection, shots, Some(&shots) == shown.first());
        let trial = PromptTrial { selection, shots, seed, seconds, searched: false, unlisted: false };
        if prompt_bound(measured, shots) <= measured.context as f64 {
            fitting.push(trial);
        } else {
            unfit.push(format!("{} (does not fit the context of {} tokens)", trial.name(), measured.context));
        }
    }
    (fitting, unfit)
}

/// Estimated seconds of a prompt on dev and test; `first`: of those that embed, the one that embeds the rows.
pub(super) fn prompt_seconds(
    wishes: &Wishes,
    measured: &Measured,
    selection: Selection,
    shots: usize,
    first: bool,
) -> f64 {
    let items: usize = wishes.evaluated.iter().sum();
    let unshown = if shots == 0 { measured.unshown_writing - measured.writing } else { 0.0 };
    let each = measured.each(wishes.calibrated) + unshown;
    let own = selection.retrieved(shots);
    let [own, shared] = [own, shots - own].map(|shots| shots as f64 * measured.demonstration);
    let mut tokens = items as f64 * (own + each);
    tokens += match selection {
        Selection::ZeroShot | Selection::Random => 2.0 * (measured.instruction + shared),
        _ => measured.instruction + 2.0 * shared,
    };
    if selection == Selection::Embedding && first {
        tokens += (wishes.train + items) as f64 * measured.query;
    }
    tokens / measured.forward_speed
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

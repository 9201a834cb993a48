//! Every choice that dev makes: the calibration of each prompt, the learning rate of each training, and the finalists.
//!
//! Pure functions of the stored dev experiments, so that a resumed run chooses as an uninterrupted one would. Ties go to the
//! simpler side: fewer shots, no calibration before some, the earlier learning rate, the lower seed.

use std::collections::BTreeMap;

use task::record::{Experiment, Family, Part, RECIPE_SEARCH};

/// Experiments that differ in their seed alone, with the mean of their scores on dev.
#[derive(Debug)]
struct Group<'a> {
    members: Vec<&'a Experiment>,
    mean: f64,
}

/// Dev experiments of `family`, grouped by everything but the seed, in order of first appearance.
fn groups(experiments: &[Experiment], family: Family) -> Vec<Group<'_>> {
    let mut order: Vec<String> = Vec::new();
    let mut members: BTreeMap<String, Vec<&Experiment>> = BTreeMap::new();
    for experiment in
        experiments.iter().filter(|e| e.family == family && e.part == Part::Dev && kept(experiments, e))
    {
        let key = configuration_key(experiment);
        if !members.contains_key(&key) {
            order.push(key.clone());
        }
        members.entry(key).or_default().push(experiment);
    }
    order
        .into_iter()
        .filter_map(|key| members.remove(&key))
        .map(|members| {
            let mean = members.iter().map(|e| e.mean_score()).sum::<f64>() / members.len() as f64;
            Group { members, mean }
        })
        .collect()
}

/// Of the trainings at one method and size only those at the chosen learning rate compete: the other rates were tried with one seed,
/// and the best of several single draws would beat a mean by luck.
fn kept(experiments: &[Experiment], experiment: &Experiment) -> bool {
    if experiment.method == RECIPE_SEARCH {
        return false;
    }
    experiment.family != Family::FineTune
        || experiment.setting("learning_rate")
            == learning_rate(experiments, &experiment.method, experiment.labels_used)
}

/// What identifies a configuration apart from its seed.
fn configuration_key(experiment: &Experiment) -> String {
    format!(
        "{}|{}|{}|{}|{}",
        experiment.method,
        experiment.shots.unwrap_or(0),
        if experiment.family == Family::InContext { 0 } else { experiment.labels_used },
        setting(experiment, "calibration"),
        setting(experiment, "learning_rate"),
    )
}

/// A setting as text; empty where the experiment has none.
pub(crate) fn setting(experiment: &Experiment, key: &str) -> String {
    experiment.configuration.get(key).map(ToString::to_string).unwrap_or_default()
}

/// The learning rate that dev prefers for `method` at `labels` rows, from the candidates tried there with any seed; where none was
/// tried, from the candidates at the nearest number of rows (on a logarithmic scale). `None` where the method was never tried.
pub(crate) fn learning_rate(experiments: &[Experiment], method: &str, labels: usize) -> Option<f64> {
    let tried: Vec<&Experiment> = experiments
        .iter()
        .filter(|e| {
            e.family == Family::FineTune && e.part == Part::Dev && e.method == method && e.seed == Some(0)
        })
        .collect();
    let distance = |rows: usize| ((rows.max(1) as f64).ln() - (labels.max(1) as f64).ln()).abs();
    let nearest = tried.iter().map(|e| distance(e.labels_used)).min_by(f64::total_cmp)?;
    let mut best: Option<(&Experiment, f64)> = None;
    for experiment in tried.into_iter().filter(|e| distance(e.labels_used) <= nearest + 1e-12) {
        let value = experiment.mean_score();
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((experiment, value));
        }
    }
    best?.0.setting("learning_rate")
}

/// The dev experiments whose twins on test are wanted: for each prompt (method and shots) the calibration with the best mean over its
/// seeds, for each training (method and labels) every seed at the chosen learning rate, every hybrid and every floor. A prompt beyond
/// the lists of the task file is wanted only where it is the finalist's.
pub(crate) fn semifinalists(experiments: &[Experiment]) -> Vec<&Experiment> {
    let mut chosen = Vec::new();
    for family in [Family::InContext, Family::FineTune] {
        let mut best: Vec<(String, Group<'_>)> = Vec::new();
        for group in groups(experiments, family) {
            let slot = slot(group.members[0]);
            match best.iter_mut().find(|(known, _)| *known == slot) {
                None => best.push((slot, group)),
                Some((_, leader)) if group.mean > leader.mean => *leader = group,
                Some(_) => {}
            }
        }
        let finalist = finalist(experiments, family).map(|one| one.id.as_str());
        for (_, group) in best {
            let wins = group.members.iter().any(|one| Some(one.id.as_str()) == finalist);
            chosen.extend(group.members.into_iter().filter(|one| wins || !is_unlisted(one)));
        }
    }
    let whole = |e: &&Experiment| matches!(e.family, Family::Floor | Family::Hybrid) && e.part == Part::Dev;
    chosen.extend(experiments.iter().filter(whole));
    chosen
}

const UNLISTED: &str = "unlisted";

/// Marks an experiment that lies beyond the lists of the task file.
pub(crate) fn mark_unlisted(experiment: &mut Experiment) {
    experiment.configuration.insert(UNLISTED.to_owned(), true.into());
}

fn is_unlisted(experiment: &Experiment) -> bool {
    experiment.setting(UNLISTED) == Some(true)
}

/// The place on a learning curve that a configuration competes for.
fn slot(experiment: &Experiment) -> String {
    match experiment.family {
        Family::InContext => format!("{}/k{}", experiment.method, experiment.shots.unwrap_or(0)),
        _ => format!("{}/n{}", experiment.method, experiment.labels_used),
    }
}

/// The finalist of `family`: the configuration with the best mean on dev, and of its seeds the best on dev. A tie between
/// configurations goes to the one that used more labels where weights were trained (it saw more of the task), to the one with fewer
/// shots otherwise (it is cheaper). A collapsed run lowers its configuration's mean and is the finalist only where every run of the family
/// collapsed: that is then what the family has to offer.
pub(crate) fn finalist(experiments: &[Experiment], family: Family) -> Option<&Experiment> {
    let groups = groups(experiments, family);
    let healthy = |one: &Experiment| one.collapse.is_none();
    let answered = |one: &Experiment| one.artefact.is_some() && !one.predictions.is_empty();
    best_of(&groups, healthy).or_else(|| best_of(&groups, answered))
}

/// The best run that is `eligible` of the best group that has one.
fn best_of<'a>(groups: &[Group<'a>], eligible: impl Fn(&Experiment) -> bool) -> Option<&'a Experiment> {
    let mut leader: Option<&Group<'_>> = None;
    for group in groups.iter().filter(|group| group.members.iter().any(|one| eligible(one))) {
        let wins = leader.is_none_or(|best| {
            group.mean > best.mean || (group.mean == best.mean && simpler(group.members[0], best.members[0]))
        });
        if wins {
            leader = Some(group);
        }
    }
    let mut best: Option<&Experiment> = None;
    for &member in leader?.members.iter().filter(|one| eligible(one)) {
        if best.is_none_or(|holder| member.mean_score() > holder.mean_score()) {
            best = Some(member);
        }
    }
    best
}

fn simpler(challenger: &Experiment, holder: &Experiment) -> bool {
    if challenger.family == Family::InContext {
        challenger.shots < holder.shots
    } else {
        challenger.labels_used > holder.labels_used
    }
}

#[cfg(test)]
mod tests {
    use task::record::{Answer, Prediction, Setup, TokensPerRequest};

    use super::*;

    fn dev(
        family: Family,
        method: &str,
        size: usize,
        seed: u64,
        extra: (&str, serde_json::Value),
        right: usize,
    ) -> Experiment {
        let predictions = (0..10)
            .map(|index| Prediction {
                example: format!("e{index}"),
                answer: Answer::Label { gold: 0, predicted: usize::from(index >= right), scores: Vec::new() },
            })
            .collect();
        Experiment {
            id: format!("{method}/{size}/{seed}/{}@dev", extra.1),
            family,
            method: method.to_owned(),
            labels_used: size,
            shots: (family == Family::InContext).then_some(size),
            seed: Some(seed),
            configuration: BTreeMap::from([(extra.0.to_owned(), extra.1)]),
            part: Part::Dev,
            predictions,
            tokens: TokensPerRequest::default(),
            setup: Setup::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
            calls: Default::default(),
        }
    }

    fn prompt(shots: usize, seed: u64, calibration: &str, right: usize) -> Experiment {
        dev(Family::InContext, "random", shots, seed, ("calibration", calibration.into()), right)
    }

    fn tuned(labels: usize, seed: u64, rate: f64, right: usize) -> Experiment {
        dev(Family::FineTune, "lora", labels, seed, ("learning_rate", rate.into()), right)
    }

    #[test]
    fn a_calibration_is_chosen_by_its_mean_over_draws() {
        // Contextual has the best single draw, batch the best mean.
        let all = [
            prompt(4, 0, "contextual", 9),
            prompt(4, 1, "contextual", 1),
            prompt(4, 0, "batch", 6),
            prompt(4, 1, "batch", 7),
        ];
        let ids: Vec<&str> = semifinalists(&all).iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, [all[2].id.as_str(), all[3].id.as_str()]);
        assert_eq!(finalist(&all, Family::InContext).map(|e| e.id.as_str()), Some(all[3].id.as_str()));
    }

    #[test]
    fn ties_prefer_fewer_shots_and_more_labels() {
        let prompts = [prompt(16, 0, "none", 5), prompt(4, 0, "none", 5)];
        assert_eq!(finalist(&prompts, Family::InContext).and_then(|e| e.shots), Some(4));
        let runs = [tuned(16, 0, 1e-3, 5), tuned(64, 0, 1e-3, 5)];
        assert_eq!(finalist(&runs, Family::FineTune).map(|e| e.labels_used), Some(64));
    }

    #[test]
    fn a_learning_rate_comes_from_the_same_or_the_nearest_size() {
        let runs =
            [tuned(16, 0, 1e-3, 5), tuned(16, 0, 5e-4, 7), tuned(256, 0, 1e-3, 8), tuned(256, 0, 5e-4, 8)];
        assert_eq!(learning_rate(&runs, "lora", 16), Some(5e-4));
        assert_eq!(learning_rate(&runs, "lora", 256), Some(1e-3), "a tie goes to the first candidate");
        assert_eq!(learning_rate(&runs, "lora", 20), Some(5e-4));
        assert_eq!(learning_rate(&runs, "lora", 5000), Some(1e-3));
        assert_eq!(learning_rate(&runs, "full", 16), None);
    }

    #[test]
    fn a_collapsed_run_is_the_finalist_only_where_all_collapsed() {
        let mut runs = [tuned(16, 0, 1e-3, 9), tuned(64, 0, 1e-3, 3)];
        runs[0].collapse = Some("one label for everything".to_owned());
        assert_eq!(finalist(&runs, Family::FineTune).map(|e| e.labels_used), Some(64));
        assert!(finalist(&runs[..1], Family::FineTune).is_none(), "it left no weights");
        runs[0].artefact = Some(task::record::Artefact::default());
        assert_eq!(finalist(&runs[..1], Family::FineTune).map(|e| e.labels_used), Some(16));
        assert_eq!(finalist(&runs, Family::FineTune).map(|e| e.labels_used), Some(64));
    }
}

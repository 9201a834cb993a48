//! Which rows stay, and which part of the split each one belongs to.

use std::collections::{HashMap, HashSet};

use super::candidate::Candidate;
use super::targets;
use crate::curation;
use crate::profile::DataReport;
use crate::record::Part;
use crate::settings::Settings;
use crate::split;

/// Keeps one row of those that equal each other in input and label: the first one of the strictest part (test over dev over
/// train).
pub(super) fn remove_exact_duplicates(rows: &mut Vec<Candidate>, report: &mut DataReport) {
    let mut strictest: HashMap<(&str, &str), Part> = HashMap::with_capacity(rows.len());
    for row in rows.iter() {
        let part = strictest.entry(row.content()).or_insert(row.source);
        *part = (*part).max(row.source);
    }
    let mut taken = HashSet::with_capacity(rows.len());
    let stays: Vec<bool> = rows
        .iter()
        .map(|row| {
            if strictest[&row.content()] != row.source {
                report.leaked_rows_removed += 1;
                return false;
            }
            let first = taken.insert(row.content());
            report.exact_duplicates += usize::from(!first);
            first
        })
        .collect();
    retain(rows, &stays);
}

/// Keeps the training rows with the smallest order keys.
pub(super) fn keep_at_most(rows: &mut Vec<Candidate>, most: Option<usize>) {
    let Some(most) = most else { return };
    let mut training: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].source == Part::Train).collect();
    training.sort_by(|a, b| rows[*a].order().cmp(&rows[*b].order()));
    let mut stays = vec![true; rows.len()];
    training.into_iter().skip(most).for_each(|row| stays[row] = false);
    retain(rows, &stays);
}

/// Keeps the items whose flag is set.
fn retain<T>(items: &mut Vec<T>, stays: &[bool]) {
    let mut flags = stays.iter();
    items.retain(|_| *flags.next().expect("one flag an item"));
}

/// Groups duplicates, removes what would leak, and gives each row that is left its part.
pub(super) fn assign_parts(
    rows: &mut Vec<Candidate>,
    settings: &Settings,
    (has_dev, has_test): (bool, bool),
    cleaner: &targets::Cleaner,
    report: &mut DataReport,
) -> Vec<Part> {
    let normals: Vec<&str> = rows.iter().map(|row| row.normal.as_str()).collect();
    let grouping = curation::group(&normals, settings.data.near_duplicates);
    report.near_duplicates_sought = settings.data.near_duplicates;
    report.describe_groups(&grouping);
    report.describe_conflicts(rows.iter().map(|row| (row.normal.as_str(), &row.example)));
    let mut groups = grouping.of;
    remove_leaks(rows, &mut groups, grouping.count, report);
    join_clusters(rows, &mut groups);
    let items: Vec<split::Item<'_>> = rows
        .iter()
        .zip(&groups)
        .map(|(row, group)| split::Item {
            hash: &row.hash,
            group: *group,
            label: cleaner.stratum(&row.example.target),
            fixed: (row.source != Part::Train).then_some(row.source),
        })
        .collect();
    let shares = split::Shares {
        dev: if has_dev { 0.0 } else { settings.data.dev_share },
        test: if has_test { 0.0 } else { settings.data.test_share },
    };
    split::split(&items, shares)
}

/// Puts the groups of rows that share a source into one, so that a source stays within one part of the split.
fn join_clusters(rows: &[Candidate], groups: &mut [usize]) {
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let mut parents: Vec<usize> = (0..count).collect();
    let root = |parents: &[usize], mut group: usize| {
        while parents[group] != group {
            group = parents[group];
        }
        group
    };
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (row, &group) in rows.iter().zip(groups.iter()) {
        if let Some(cluster) = &row.example.cluster {
            let holder = *first.entry(cluster).or_insert(group);
            let (one, other) = (root(&parents, holder), root(&parents, group));
            parents[one.max(other)] = one.min(other);
        }
    }
    groups.iter_mut().for_each(|group| *group = root(&parents, *group));
}

/// Removes the rows of a part whose group has a row in a stricter given part: train rows like dev or test rows, dev rows
/// like test rows.
fn remove_leaks(
    rows: &mut Vec<Candidate>,
    groups: &mut Vec<usize>,
    group_count: usize,
    report: &mut DataReport,
) {
    let mut strictest = vec![Part::Train; group_count];
    for (row, group) in rows.iter().zip(groups.iter()) {
        strictest[*group] = strictest[*group].max(row.source);
    }
    let stays: Vec<bool> =
        rows.iter().zip(groups.iter()).map(|(row, group)| strictest[*group] == row.source).collect();
    report.leaked_rows_removed += stays.iter().filter(|stays| !**stays).count();
    retain(rows, &stays);
    retain(groups, &stays);
}

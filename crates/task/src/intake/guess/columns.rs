//! Which columns are the input and the target.

use std::collections::BTreeSet;

use super::{ID_NAMES, LABEL_CHARACTERS, SPLIT_NAMES, is_filled, plain};
use crate::Error;
use crate::dataset::{INPUT_NAMES, TARGET_NAMES};
use crate::intake::dependence::told_by_words;
use crate::intake::{Row, Rows, SourceFormat, promptfoo};

/// Names of a column with a text to be written, where no column has labels.
const ANSWER_NAMES: [&str; 7] =
    ["answer", "response", "reply", "completion", "summary", "translation", "result"];
/// Share of the rows in which a target stands; the others are left out.
const FILLED: f64 = 0.75;
/// What the words of the input tell of a label at least (see [`told_by_words`]), where there are several candidates.
const TOLD: f64 = 0.1;

/// A column with what its values look like.
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    filled: usize,
    pub(super) distinct: usize,
    characters: f64,
    numbers: usize,
}

pub(super) fn columns<'a>(rows: &[&'a Row]) -> Vec<Column<'a>> {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        names.extend(row.keys().map(String::as_str).filter(|name| seen.insert(*name)));
    }
    let column = |name: &'a str| {
        let values: Vec<String> = rows
            .iter()
            .filter_map(|row| row.get(name))
            .map(|value| plain(value).trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect();
        Column {
            name,
            filled: values.len(),
            distinct: values.iter().collect::<BTreeSet<_>>().len(),
            characters: values.iter().map(|text| text.chars().count()).sum::<usize>() as f64
                / values.len().max(1) as f64,
            numbers: values.iter().filter(|text| text.trim().parse::<f64>().is_ok()).count(),
        }
    };
    names.into_iter().map(column).collect()
}

fn alias<'a, 'b>(columns: &'b [Column<'a>], names: &[&str]) -> Option<&'b Column<'a>> {
    names.iter().find_map(|name| columns.iter().find(|column| column.name.trim().eq_ignore_ascii_case(name)))
}

pub(super) fn given(columns: &[Column<'_>], name: &str) -> Result<String, Error> {
    if columns.iter().any(|column| column.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    Err(Error::Data(format!("no column `{name}`; there are: {}", names.join(", "))))
}

pub(super) fn find_target(
    columns: &[Column<'_>],
    looked: &[&Row],
    source: &Rows,
    input: Option<&str>,
    reasons: &mut Vec<String>,
) -> Result<String, Error> {
    let rows = looked.len();
    if source.format == SourceFormat::Promptfoo {
        return Ok(promptfoo::TARGET.to_owned());
    }
    let filled = |column: &Column<'_>| column.filled as f64 >= FILLED * rows as f64;
    if let Some(column) = alias(columns, &TARGET_NAMES).filter(|column| filled(column)) {
        reasons.push(format!("`{}` is the target by its name", column.name));
        return Ok(column.name.to_owned());
    }
    let longest = columns.iter().max_by(|left, right| left.characters.total_cmp(&right.characters));
    let few = |column: &&Column<'_>| {
        filled(column)
            && Some(column.name) != input
            && (2..=(rows / 4).max(2)).contains(&column.distinct)
            && column.characters <= LABEL_CHARACTERS
            && longest.is_none_or(|longest| longest.name != column.name)
            && !SPLIT_NAMES.iter().any(|name| column.name.eq_ignore_ascii_case(name))
    };
    let mut candidates: Vec<&Column<'_>> = columns.iter().filter(few).collect();
    let text = input.or_else(|| text_column(columns, None).map(|column| column.name));
    let unrelated = told_apart(&mut candidates, looked, text);
    // Words before numbers, then the fewest different values.
    candidates.sort_by_key(|column| (column.numbers == column.filled, column.distinct));
    let Some((first, others)) = candidates.split_first() else {
        if let Some(column) = written_answer(columns, text).filter(|column| filled(column)) {
            reasons
                .push(format!("`{}` is taken for the target: a text of its own in every row", column.name));
            return Ok(column.name.to_owned());
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        return Err(Error::Data(format!(
            "no column looks like a target (few different values in nearly every row); name one with --target. There are: {}",
            names.join(", ")
        )));
    };
    reasons.push(format!("`{}` is taken for the target: {} different values", first.name, first.distinct));
    if !others.is_empty() {
        let names: Vec<String> = others.iter().take(4).map(|column| format!("`{}`", column.name)).collect();
        reasons.push(format!("it could also be {}", names.join(", ")));
    }
    if !unrelated.is_empty() {
        let names: Vec<String> = unrelated.iter().take(4).map(|name| format!("`{name}`")).collect();
        reasons.push(format!("the words of `{}` do not tell {}", text.unwrap_or_default(), names.join(", ")));
    }
    Ok(first.name.to_owned())
}

/// Takes those candidates out that the words of the column `text` do not tell, unless they tell none; gives their names.
fn told_apart<'a>(candidates: &mut Vec<&Column<'a>>, looked: &[&Row], text: Option<&str>) -> Vec<&'a str> {
    let Some(text) = text.filter(|_| candidates.len() > 1) else { return Vec::new() };
    let told = |column: &&Column<'_>| {
        let pairs: Vec<(String, String)> = looked
            .iter()
            .filter(|row| is_filled(row, text) && is_filled(row, column.name))
            .map(|row| (plain(&row[text]), plain(&row[column.name])))
            .collect();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(text, value)| (text.as_str(), value.as_str())).collect();
        told_by_words(&pairs) >= TOLD
    };
    let (kept, out): (Vec<_>, Vec<_>) = candidates.iter().copied().partition(told);
    if kept.is_empty() {
        return Vec::new();
    }
    *candidates = kept;
    out.into_iter().map(|column| column.name).collect()
}

/// Where no column has labels: the one that is named like an answer, or the only other text.
fn written_answer<'a, 'b>(columns: &'b [Column<'a>], text: Option<&str>) -> Option<&'b Column<'a>> {
    if let Some(named) = alias(columns, &ANSWER_NAMES).filter(|column| Some(column.name) != text) {
        return Some(named);
    }
    let is_text = |column: &&Column<'_>| {
        Some(column.name) != text
            && column.numbers < column.filled
            && ![&SPLIT_NAMES[..], &ID_NAMES[..]]
                .concat()
                .iter()
                .any(|name| column.name.eq_ignore_ascii_case(name))
    };
    let others: Vec<&Column<'_>> = columns.iter().filter(is_text).collect();
    if let [one] = others.as_slice() { Some(*one) } else { None }
}

/// The column that is named like an input, else that with the longest texts; not `except`.
fn text_column<'a, 'b>(columns: &'b [Column<'a>], except: Option<&str>) -> Option<&'b Column<'a>> {
    let free = || columns.iter().filter(|column| Some(column.name) != except);
    let named = INPUT_NAMES
        .iter()
        .find_map(|name| free().find(|column| column.name.trim().eq_ignore_ascii_case(name)));
    named.or_else(|| free().max_by(|left, right| left.characters.total_cmp(&right.characters)))
}

pub(super) fn find_input(
    columns: &[Column<'_>],
    target: &str,
    reasons: &mut Vec<String>,
) -> Result<String, Error> {
    let Some(column) = text_column(columns, Some(target)) else {
        return Err(Error::Data("one column alone: an input and its target are needed".to_owned()));
    };
    reasons.push(if INPUT_NAMES.iter().any(|name| column.name.trim().eq_ignore_ascii_case(name)) {
        format!("`{}` is the input by its name", column.name)
    } else {
        format!(
            "`{}` is taken for the input: the longest texts, {:.0} characters on average",
            column.name, column.characters
        )
    });
    Ok(column.name.to_owned())
}

//! The test items as CSV, one a line.

use crate::{Error, Given, Report};

const HEADER: [&str; 12] = [
    "id",
    "input",
    "target",
    "in_context_answer",
    "in_context_score",
    "in_context_confidence",
    "fine_tune_answer",
    "fine_tune_score",
    "fine_tune_confidence",
    "floor_answer",
    "floor_score",
    "differs",
];

/// The items with every finalist's answer and score. What is unknown is an empty field.
///
/// # Errors
/// [`Error::Table`], which only a fault of the writer can cause.
pub fn items_csv(report: &Report) -> Result<String, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for item in &report.items.test {
        let mut row = vec![
            item.id.clone(),
            item.input.clone().unwrap_or_default(),
            item.target.clone().unwrap_or_default(),
        ];
        for given in [&item.in_context, &item.fine_tune] {
            row.extend(answer(given.as_ref()));
            row.push(confidence(given.as_ref()));
        }
        row.extend(answer(item.floor.as_ref()));
        row.push(item.differs().to_string());
        writer.write_record(row)?;
    }
    let bytes =
        writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8(bytes).expect("fields are UTF-8"))
}

fn answer(given: Option<&Given>) -> [String; 2] {
    given.map_or_else(Default::default, |given| [given.answer.clone(), given.score.to_string()])
}

fn confidence(given: Option<&Given>) -> String {
    given.and_then(|given| given.confidence).map_or_else(String::new, |value| format!("{value:.6}"))
}

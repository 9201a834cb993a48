//! `weigh tune --show`: what fine-tuning is given, token by token.

use std::path::Path;

use adapt::supervision::{self, RowToken};
use anyhow::{Context, Result};
use serde_json::json;
use task::dataset::Dataset;
use task::settings::Settings;

use super::model;
use crate::printer::Printer;

/// Prints the first `rows` training rows of `task`: each token's number and text, and whether the loss is on it.
pub(crate) fn tune(task: &Path, rows: usize, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let dataset = Dataset::load(&settings)?;
    let engine = model::load(&settings.model).context("loading the model")?;
    let shown = supervision::show(&settings, &dataset, &engine, rows)?;
    if printer.json() {
        let rows: Vec<_> = shown
            .iter()
            .map(|row| {
                let token = |token: &RowToken| json!([token.id, token.text, token.supervised]);
                json!({"example": row.example, "tokens": row.tokens.iter().map(token).collect::<Vec<_>>()})
            })
            .collect();
        return printer.print_json(&rows);
    }
    let mut text = String::new();
    for row in &shown {
        let supervised = row.tokens.iter().filter(|token| token.supervised).count();
        text.push_str(&format!(
            "{}: {} tokens, the loss is on {supervised} (marked |)\n",
            row.example,
            row.tokens.len()
        ));
        for token in &row.tokens {
            let mark = if token.supervised { '|' } else { ' ' };
            text.push_str(&format!("  {mark} {:>7}  {:?}\n", token.id, token.text));
        }
    }
    printer.print(&text);
    Ok(())
}

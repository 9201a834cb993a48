//! Where output goes: results to standard output, hints and errors to standard error, JSON where it was asked for.

mod arms;
mod forecast;
mod plot;
mod probes;
mod prompt_search;
mod regression;
mod verdict;

use adapt::probes::Drift;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, TableComponent, presets};
use eval::comparison::Comparison;
use serde::Serialize;

/// Widest line of a table, in columns.
const WIDEST: u16 = 118;
/// Width where standard output is not a terminal.
const USUAL: u16 = 100;

/// The printer of one invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether the result is wanted as JSON.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Whether progress and hints are unwanted.
    pub(crate) fn quiet(self) -> bool {
        self.quiet
    }

    /// Prints a result.
    pub(crate) fn print(self, text: &str) {
        anstream::println!("{}", text.trim_end());
    }

    /// Prints a result exactly as it is.
    pub(crate) fn print_raw(self, text: &str) {
        anstream::print!("{text}");
    }

    /// Prints a result as JSON.
    pub(crate) fn print_json<T: Serialize>(self, value: &T) -> Result<()> {
        anstream::println!("{}", serde_json::to_string_pretty(value)?);
        Ok(())
    }

    /// Prints a comparison: the arms, the eight rows, and the verdict.
    pub(crate) fn comparison(self, comparison: &Comparison) -> Result<()> {
        if self.json {
            return self.print_json(comparison);
        }
        self.print(&arms::heading(comparison));
        self.print(&arms::table(comparison).to_string());
        self.print("● chosen on dev, before the test set was opened; other rows with several seeds show their mean\n");
        if let Some(search) = comparison.prompt_search.as_ref().filter(|search| !search.candidates.is_empty())
        {
            self.print(&format!("{}\n", prompt_search::summary(search)));
        }
        if let Some(plot) = plot::plot(comparison, width(), plot::Characters::of_locale()) {
            self.print(&format!("{plot}\n"));
        }
        self.print(&verdict::rows(comparison).to_string());
        self.print("");
        if let Some(probes) = &comparison.probes {
            self.print(&format!("{}\n", probes::summary(probes)));
        }
        self.print(&format!("{}\n", wrapped(&comparison.budgets.sentences())));
        if let Some(distillation) = &comparison.distillation {
            self.print(&format!("{}\n", wrapped(&distillation.sentence())));
        }
        self.print(&verdict::verdict(comparison));
        Ok(())
    }

    /// Prints what became of each finalist between two runs.
    pub(crate) fn regression(self, regression: &eval::regression::Regression) -> Result<()> {
        if self.json {
            return self.print_json(regression);
        }
        self.print(&regression::table(regression).to_string());
        Ok(())
    }

    /// Prints what asking the finalists again showed.
    pub(crate) fn drift(self, drift: &Drift) -> Result<()> {
        if self.json {
            return self.print_json(drift);
        }
        self.print(&probes::drift(drift));
        Ok(())
    }

    /// A table of these columns in the house's style, as text.
    pub(crate) fn columns<const N: usize>(self, header: &[&str; N], rows: &[[String; N]]) -> String {
        let mut table = new_table(header);
        rows.iter().for_each(|row| {
            table.add_row(row);
        });
        table.to_string()
    }

    /// Prints a plan with what it costs, under a budget of `seconds`.
    pub(crate) fn forecast(self, forecast: &adapt::forecast::Forecast, seconds: f64) {
        self.print(&forecast::table(forecast).to_string());
        let out = &forecast.left_out;
        let budget = eval::wording::seconds(seconds);
        self.print(&match out.first() {
            None if forecast.reserve.iter().all(Vec::is_empty) => {
                format!("Everything that the task file asks for fits the budget of {budget}.")
            }
            None => format!("Budget: {budget}; what it leaves is spent on the reserve."),
            Some(first) => format!(
                "No room within the budget of {budget} (or the context) for {} more: {first}{}.",
                out.len(),
                if out.len() > 1 { " and so on" } else { "" }
            ),
        });
        for (arm, reserve) in ["in-context", "fine-tuning"].into_iter().zip(&forecast.reserve) {
            if let Some(text) = forecast::reserve(arm, reserve) {
                self.print(&wrapped(&text));
            }
        }
    }

    /// Tells what may help next.
    pub(crate) fn hint(self, text: &str) {
        if !self.quiet {
            let style = AnsiColor::Cyan.on_default();
            anstream::eprintln!("{style}hint:{style:#} {text}");
        }
    }

    /// Tells what went wrong.
    pub(crate) fn error(self, text: &str) {
        let style = AnsiColor::Red.on_default().bold();
        anstream::eprintln!("{style}error:{style:#} {text}");
    }
}

/// Lines of text, broken at spaces where they are wider than the terminal.
pub(crate) fn wrapped(text: &str) -> String {
    verdict::wrapped_lines(&text.lines().map(str::to_owned).collect::<Vec<_>>())
}

/// Text in bold.
fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// Columns of a line.
fn width() -> usize {
    usize::from(Table::new().width().unwrap_or(USUAL).min(WIDEST))
}

/// An empty table in the house's style.
fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    table
        .remove_style(TableComponent::LeftBorderIntersections)
        .remove_style(TableComponent::RightBorderIntersections);
    let width = table.width().unwrap_or(USUAL).min(WIDEST);
    table.set_width(width).set_header(header);
    table
}

/// `.873`, `1.000`.
fn share(value: f64) -> String {
    let text = format!("{value:.3}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

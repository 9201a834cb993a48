//! Where output goes: results to standard output, hints and errors to standard error, JSON where it was asked for.

mod arms;
mod forecast;
mod layout;
mod page;
mod plot;
mod probes;
mod prompt_search;
mod regression;
mod verdict;

use adapt::probes::Drift;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use eval::comparison::Comparison;
use serde::Serialize;

pub(crate) use forecast::left_out;
use layout::{drawn, new_table, width};
pub(crate) use layout::{named, told, wrapped};

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

    /// Prints a page of Markdown: drawn on a terminal, elsewhere as it is.
    pub(crate) fn page(self, markdown: &str) {
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            self.print(&page::page(markdown));
        } else {
            self.print(markdown);
        }
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
        self.print(&wrapped(&arms::heading(comparison)));
        self.print(&drawn(arms::table(comparison)));
        self.print(&wrapped(arms::LEGEND));
        self.print("");
        if let Some(search) = comparison.prompt_search.as_ref().filter(|search| !search.candidates.is_empty())
        {
            self.print(&format!("{}\n", prompt_search::summary(search)));
        }
        if let Some(plot) = plot::plot(comparison, width(), plot::Characters::of_locale()) {
            self.print(&format!("{plot}\n"));
        }
        self.print(&drawn(verdict::rows(comparison)));
        self.print("");
        if let Some(probes) = &comparison.probes {
            self.print(&format!("{}\n", wrapped(&probes::summary(probes))));
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
        self.print(&drawn(regression::table(regression)));
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
        drawn(table)
    }

    /// Prints a plan with what it costs, under a budget of `seconds`.
    pub(crate) fn forecast(self, forecast: &adapt::forecast::Forecast, seconds: f64) {
        self.print(&drawn(forecast::table(forecast)));
        self.print(&wrapped(&forecast::notes(forecast, seconds)));
    }

    /// Tells what may help next.
    pub(crate) fn hint(self, text: &str) {
        if !self.quiet {
            let style = AnsiColor::Cyan.on_default();
            anstream::eprintln!("{}", told(&format!("{style}hint:{style:#} {text}")));
        }
    }

    /// Tells what went wrong.
    pub(crate) fn error(self, text: &str) {
        let style = AnsiColor::Red.on_default().bold();
        anstream::eprintln!("{}", told(&format!("{style}error:{style:#} {text}")));
    }
}

/// Text in bold.
fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// `.873`, `1.000`.
fn share(value: f64) -> String {
    let text = format!("{value:.3}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

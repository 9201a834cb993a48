//! Text that keeps to the width of the terminal: tables, and sentences broken at spaces.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, TableComponent, Width, presets};

/// Widest line, in columns.
const WIDEST: u16 = 118;
/// Width where standard output is not a terminal.
const USUAL: u16 = 100;
/// Cells beyond this many columns may be broken.
const LONG: usize = 24;

/// Columns of a line.
pub(crate) fn width() -> usize {
    usize::from(Table::new().width().unwrap_or(USUAL).min(WIDEST))
}

/// Lines of text, broken at spaces where they are wider than the terminal; what is broken goes on below the first letter of its line,
/// a little further in.
pub(crate) fn wrapped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        hanging(&line[..indent], line.trim_start(), if indent > 0 { indent + 2 } else { 0 })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What standard error is told: broken at spaces on a terminal, as it is elsewhere, where programs and logs read it.
pub(crate) fn told(text: &str) -> String {
    match Table::new().use_stderr().width() {
        Some(width) => {
            text.lines().map(|line| fill("", line, 0, usize::from(width))).collect::<Vec<_>>().join("\n")
        }
        None => text.to_owned(),
    }
}

/// `name` in a column of `column` columns, then the text, which is broken at spaces and goes on below its beginning.
pub(crate) fn named(name: &str, column: usize, text: &str) -> String {
    let (column, gap) = (column.min(width() / 2), usize::from(length(name) >= column));
    let first = format!("{name}{}", " ".repeat(gap + column.saturating_sub(length(name))));
    hanging(&first, text, column)
}

/// `first`, then the words of `text`; lines that follow begin in `column`.
pub(super) fn hanging(first: &str, text: &str, column: usize) -> String {
    fill(first, text, column, width())
}

fn fill(first: &str, text: &str, column: usize, width: usize) -> String {
    let mut out = first.to_owned();
    let mut at = length(first);
    let mut fresh = true;
    for word in text.split(' ') {
        if !fresh && at + 1 + length(word) > width {
            out.push('\n');
            out.push_str(&" ".repeat(column));
            at = column;
        } else if !fresh {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length(word);
        fresh = false;
    }
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Columns that a text takes; colours take none.
fn length(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// An empty table in the house's style.
pub(super) fn new_table(header: &[&str]) -> Table {
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

/// A table as text: short cells (names, numbers) stay in one piece as long as all columns have room, headers break before they do.
pub(super) fn drawn(mut table: Table) -> String {
    let cell = |row: &Row, column: usize| {
        let content = row.cell_iter().nth(column).map(comfy_table::Cell::content).unwrap_or_default();
        content.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    };
    let columns = table.column_count();
    let word = |column: usize| {
        let header = table.header().and_then(|row| row.cell_iter().nth(column));
        let words = header.map(comfy_table::Cell::content).unwrap_or_default();
        words.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0)
    };
    let widest: Vec<usize> = (0..columns)
        .map(|column| table.row_iter().map(|row| cell(row, column)).max().unwrap_or(0).max(word(column)))
        .collect();
    let whole = |column: usize| widest[column] > 0 && widest[column] <= LONG;
    // A space on both sides of a cell, and one between two cells.
    let padding = 3 * columns - 1;
    let taken: usize = (0..columns).map(|column| if whole(column) { widest[column] } else { 12 }).sum();
    if taken + padding <= usize::from(table.width().unwrap_or(USUAL)) {
        for column in (0..columns).filter(|column| whole(*column)) {
            let least = Width::Fixed(u16::try_from(widest[column] + 2).unwrap_or(u16::MAX));
            if let Some(column) = table.column_mut(column) {
                column.set_constraint(ColumnConstraint::LowerBoundary(least));
            }
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_on_below_the_beginning_of_their_text() {
        let text = fill("  stable  no  ", "it never pays back, however long", 14, 30);
        assert_eq!(text, "  stable  no  it never pays\n              back, however\n              long");
        assert_eq!(fill("", "word", 0, 2), "word", "a word is never broken");
        assert_eq!(fill("name  ", "", 6, 20), "name");
    }

    #[test]
    fn a_column_of_names_is_not_broken_where_there_is_room() {
        let mut table = new_table(&["a name", "a rather long header of numbers", "sentences"]);
        table.set_width(50);
        table.add_row([
            "nearest (tf-idf)",
            "910 (887)",
            "this is a sentence that may be broken anywhere it likes",
        ]);
        let text = drawn(table);
        assert!(text.contains("nearest (tf-idf)") && text.contains("910 (887)"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 50 && line.trim_end() == line), "{text}");
    }
}

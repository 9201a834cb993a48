//! A page of the documentation on a terminal: paragraphs and lists broken at its width, tables drawn, code further in. Where standard
//! output is no terminal the page stays the Markdown that it is.

use super::bold;
use super::layout::{drawn, hanging, new_table};

/// What a line of Markdown belongs to.
#[derive(Clone, Debug, PartialEq)]
enum Block {
    Heading(String),
    Paragraph(String),
    /// An item with its mark, `-` or `1.`.
    Item(String, String),
    /// The rows of a table, the header first.
    Table(Vec<Vec<String>>),
    Code(Vec<String>),
}

/// `markdown` as a terminal shows it.
pub(super) fn page(markdown: &str) -> String {
    let shown = blocks(markdown).into_iter().map(|block| match block {
        Block::Heading(text) => bold(&text),
        Block::Paragraph(text) => hanging("", &text, 0),
        Block::Item(mark, text) => hanging(&format!("  {mark} "), &text, 3 + mark.len()),
        Block::Table(rows) => table(&rows),
        Block::Code(lines) => lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"),
    });
    shown.collect::<Vec<_>>().join("\n\n") + "\n"
}

fn table(rows: &[Vec<String>]) -> String {
    let Some((header, rows)) = rows.split_first() else { return String::new() };
    let mut table = new_table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    rows.iter().for_each(|row| {
        table.add_row(row);
    });
    drawn(table)
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut fenced, mut open) = (false, false);
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            if fenced {
                blocks.push(Block::Code(Vec::new()));
            }
            open = false;
            continue;
        }
        if let Some(Block::Code(lines)) = blocks.last_mut().filter(|_| fenced) {
            lines.push(line.to_owned());
            continue;
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with("<!--") {
            open = false;
        } else if let Some(title) = text.strip_prefix('#') {
            blocks.push(Block::Heading(plain(title.trim_start_matches('#').trim())));
            open = false;
        } else if text.starts_with('|') {
            let cells = cells(text);
            let rule = cells.iter().all(|cell| cell.chars().all(|letter| matches!(letter, '-' | ':' | ' ')));
            match blocks.last_mut() {
                Some(Block::Table(rows)) if open => rows.extend((!rule).then_some(cells)),
                _ => blocks.push(Block::Table(vec![cells])),
            }
            open = true;
        } else if let Some((mark, rest)) = item(text) {
            blocks.push(Block::Item(mark.to_owned(), plain(rest)));
            open = true;
        } else {
            match blocks.last_mut() {
                Some(Block::Paragraph(before) | Block::Item(_, before)) if open => {
                    *before += &format!(" {}", plain(text));
                }
                _ => blocks.push(Block::Paragraph(plain(text))),
            }
            open = true;
        }
    }
    blocks
}

/// The cells of a row; a bar behind a backslash is a letter.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    let inner = row.trim_matches('|');
    inner.split('|').map(|cell| plain(cell.trim()).replace('\u{0}', "|")).collect()
}

/// The mark of a list's item, and what follows it.
fn item(text: &str) -> Option<(&str, &str)> {
    let (mark, rest) = text.split_once(' ')?;
    let number = mark.strip_suffix('.').is_some_and(|digits| digits.parse::<u8>().is_ok());
    (mark == "-" || number).then_some((mark, rest))
}

/// Text without the addresses of its links and the marks of its emphasis; code keeps its backticks.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("](") {
        let (Some(start), Some(end)) = (before.rfind('['), tail.find(')')) else { break };
        out += &before[..start];
        out += &before[start + 1..];
        rest = &tail[end + 1..];
    }
    (out + rest).replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_blocks() {
        let text = "# A title\n\nTwo lines of\none **paragraph** with [a link](b.md).\n- an item\n  that goes on\n2. another\n\n\
                    | a | b |\n|---|---:|\n| 1 \\| 2 | `c` |\n\n```sh\nweigh run   # a comment\n```\n";
        let cell = |text: &str| text.to_owned();
        assert_eq!(
            blocks(text),
            [
                Block::Heading(cell("A title")),
                Block::Paragraph(cell("Two lines of one paragraph with a link.")),
                Block::Item(cell("-"), cell("an item that goes on")),
                Block::Item(cell("2."), cell("another")),
                Block::Table(vec![vec![cell("a"), cell("b")], vec![cell("1 | 2"), cell("`c`")]]),
                Block::Code(vec![cell("weigh run   # a comment")]),
            ]
        );
    }
}

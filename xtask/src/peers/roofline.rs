//! The tables of docs/bench/roofline.md.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::place::{Place, machine};
use super::record::replace;

/// The tables stand between these lines.
const MARKS: [&str; 2] =
    ["<!-- begin: written by `cargo xtask peers --roofline docs/bench/roofline.md` -->", "<!-- end -->"];

/// Whole rows, then the same rows part by part.
const WHOLE: [&str; 6] = ["lora", "full", "prefill-8x256", "prefill-1x2048", "decode-1", "decode-16"];
const PARTS: [&str; 4] = ["profile-lora", "profile-full", "profile-prefill-8x256", "profile-prefill-1x2048"];

/// Measures and puts the tables into `page`.
pub(super) fn rewrite(page: &Path, place: &Place, peak: Option<f64>) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let peak_text = peak.map_or("peak not measured".to_owned(), |peak| {
        format!("peak of the multiply-adds {peak:.0} GFLOP/s")
    });
    let mut tables = format!("{}, {} threads; {peak_text}.\n\n```\n", machine(), place.threads);
    for row in WHOLE {
        tables.push_str(&speed(place, row, peak)?);
    }
    tables.push_str("```\n\n");
    for row in PARTS {
        tables.push_str(&speed(place, row, peak)?);
    }
    replace(page, between(&text, tables.trim_end())?.as_bytes())
}

/// What the example `speed` prints; a process for each row, so that each has its own peak memory.
fn speed(place: &Place, row: &str, peak: Option<f64>) -> Result<String> {
    eprintln!("peers: {row}");
    let peak = peak.map_or(Vec::new(), |peak| vec!["--peak".to_owned(), peak.to_string()]);
    let arguments: Vec<String> = peak.into_iter().chain([row.to_owned()]).collect();
    let output = place.speed(place.threads, &arguments).output().context("starting the example `speed`")?;
    ensure!(output.status.success(), "speed {row}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `text` with what stands between the marks replaced by `tables`.
fn between(text: &str, tables: &str) -> Result<String> {
    let (Some(begin), Some(end)) = (text.find(MARKS[0]), text.find(MARKS[1])) else {
        bail!("the page lacks the lines {MARKS:?}");
    };
    ensure!(begin < end, "the page's marks are in the wrong order");
    let begin = begin + MARKS[0].len();
    Ok(format!("{}\n\n{tables}\n\n{}", &text[..begin], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::{MARKS, between};

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        let page = format!("before\n{}\nold\n{}\nafter\n", MARKS[0], MARKS[1]);
        let once = between(&page, "new").expect("marks");
        assert_eq!(once, format!("before\n{}\n\nnew\n\n{}\nafter\n", MARKS[0], MARKS[1]));
        assert_eq!(between(&once, "new").expect("marks"), once);
        assert!(between("no marks", "new").is_err());
    }
}

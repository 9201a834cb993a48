//! A plot in characters: the main metric against examples, which are on a logarithmic axis.

use eval::comparison::Comparison;
use eval::curve::{Curve, first_to_reach};
use eval::metric_name;
use eval::wording::method_name;
use task::record::{Family, Part};

use super::share;

/// Rows between the lowest and the highest line.
const HEIGHT: usize = 11;
/// Columns of the plot at most: wider says no more.
const WIDEST: usize = 76;
/// Columns left of the axis.
const MARGIN: usize = 5;
/// Columns between the point without examples, which has no logarithm, and the first with some.
const GAP: usize = 6;

/// The characters of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Characters {
    /// Box drawing and geometric shapes.
    Unicode,
    /// ASCII alone.
    Ascii,
}

impl Characters {
    /// Unicode where the locale says UTF-8 (or nothing says anything: Windows and macOS), as the C library chooses: `LC_ALL`
    /// before `LC_CTYPE` before `LANG`.
    pub(super) fn of_locale() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        Self::of(locale.as_deref())
    }

    fn of(locale: Option<&str>) -> Self {
        let utf8 = |name: &str| name.to_ascii_lowercase().replace('-', "").contains("utf8");
        if locale.is_none_or(utf8) { Self::Unicode } else { Self::Ascii }
    }

    fn pick(self, unicode: char, ascii: char) -> char {
        if self == Self::Unicode { unicode } else { ascii }
    }
}

/// One line of the plot.
struct Series {
    name: String,
    mark: char,
    /// Examples and the metric, by examples.
    points: Vec<(usize, f64)>,
}

/// The main metric of every method on test against the examples it was given, and where fine-tuning first reaches what
/// in-context learning reaches at best. Nothing where no method has two sizes.
pub(super) fn plot(comparison: &Comparison, width: usize, characters: Characters) -> Option<String> {
    let on_test: Vec<Curve> =
        comparison.curves.iter().filter(|curve| curve.part == Part::Test).cloned().collect();
    let series: Vec<Series> = on_test.iter().filter_map(|curve| series(curve, characters)).collect();
    if series.iter().all(|line| line.points.len() < 2) {
        return None;
    }
    let best = on_test
        .iter()
        .filter(|curve| curve.family == Family::InContext)
        .flat_map(|curve| curve.points.iter().map(|point| point.score))
        .reduce(f64::max);
    let crossing = best.and_then(|best| first_to_reach(&on_test, Family::FineTune, best));
    let at = crossing.map(|(_, point)| point.at);
    let said = match (crossing, best) {
        (Some((curve, point)), Some(best)) => format!(
            "{} crossing: {} with {} labels is the first to reach the best of the prompts ({})",
            characters.pick('┊', ':'),
            method_name(&curve.method),
            point.at,
            share(best)
        ),
        (None, Some(best)) if on_test.iter().any(|curve| curve.family == Family::FineTune) => {
            format!("no crossing: no fine-tuned model reaches the best of the prompts ({})", share(best))
        }
        _ => String::new(),
    };
    let drawn =
        Canvas::new(&series, at, width, characters).draw(metric_name(&comparison.metric), &series, at);
    Some(format!("{drawn}{said}\n"))
}

fn series(curve: &Curve, characters: Characters) -> Option<Series> {
    let (unicode, ascii) = match (curve.family, curve.method.as_str()) {
        (Family::InContext, "bm25") => ('○', 'r'),
        (Family::InContext, "embedding") => ('◇', 'e'),
        (Family::InContext, "diverse") => ('□', 'd'),
        (Family::InContext, "hybrid") => ('◐', 'h'),
        (Family::InContext, "searched") => ('★', 's'),
        (Family::InContext, _) => ('●', 'o'),
        (Family::FineTune, "full") => ('△', 'f'),
        (Family::FineTune, "lora_recipe") => ('◆', 'd'),
        (Family::FineTune, _) => ('▲', 'x'),
        (Family::Floor, "logistic_regression") => ('■', '#'),
        _ => return None,
    };
    let points = curve.points.iter().map(|point| (point.at, point.score)).collect();
    Some(Series { name: method_name(&curve.method), mark: characters.pick(unicode, ascii), points })
}

/// The scales and the cells of a plot.
struct Canvas {
    characters: Characters,
    columns: usize,
    /// Examples at the left and right end of the logarithmic part.
    ends: (f64, f64),
    /// Column of the left end.
    left: usize,
    /// Accuracy of the lowest and the highest row.
    range: (f64, f64),
    cells: Vec<Vec<char>>,
}

impl Canvas {
    fn new(series: &[Series], crossing: Option<usize>, width: usize, characters: Characters) -> Self {
        let columns = width.min(WIDEST).saturating_sub(MARGIN + 3).max(24);
        let points = || series.iter().flat_map(|line| &line.points);
        let given = || points().map(|point| point.0).filter(|at| *at > 0);
        let (low, high) = (given().min().unwrap_or(1) as f64, given().max().unwrap_or(1) as f64);
        let tenth = |value: f64| (10.0 * value).floor() / 10.0;
        let least = tenth(points().map(|point| point.1).fold(1.0, f64::min));
        let most = tenth(points().map(|point| point.1).fold(0.0, f64::max) + 0.0999);
        let mut canvas = Self {
            characters,
            columns,
            ends: (low, high.max(low + 1.0)),
            left: if points().any(|point| point.0 == 0) { GAP } else { 0 },
            range: (least, most.max(least + 0.1)),
            cells: vec![vec![' '; columns]; HEIGHT],
        };
        if let Some(at) = crossing {
            let column = canvas.column(at as f64);
            canvas.cells.iter_mut().for_each(|row| row[column] = characters.pick('┊', ':'));
        }
        canvas
    }

    fn column(&self, at: f64) -> usize {
        if at <= 0.0 {
            return 0;
        }
        let share = (at / self.ends.0).ln() / (self.ends.1 / self.ends.0).ln();
        self.left + (share * (self.columns - 1 - self.left) as f64).round() as usize
    }

    fn row(&self, score: f64) -> usize {
        let share = (score - self.range.0) / (self.range.1 - self.range.0);
        (HEIGHT - 1) - (share.clamp(0.0, 1.0) * (HEIGHT - 1) as f64).round() as usize
    }

    fn draw(mut self, metric: &str, series: &[Series], crossing: Option<usize>) -> String {
        for line in series {
            for pair in line.points.windows(2) {
                self.connect(pair[0], pair[1]);
            }
        }
        // Marks last, those of the first methods on top.
        for line in series.iter().rev() {
            for &(at, score) in &line.points {
                let (row, column) = (self.row(score), self.column(at as f64));
                self.cells[row][column] = line.mark;
            }
        }
        let mut text = format!("{metric} on test\n{}", self.frame());
        text.push_str(&self.ticks(series, crossing));
        let legend: Vec<String> = series.iter().map(|line| format!("{} {}", line.mark, line.name)).collect();
        text.push_str(&format!("{}{}\n", " ".repeat(MARGIN + 1), legend.join("   ")));
        text
    }

    /// Dots on the straight line between two points, where nothing else is.
    fn connect(&mut self, from: (usize, f64), to: (usize, f64)) {
        let (start, end) = (self.column(from.0 as f64), self.column(to.0 as f64));
        for column in start + 1..end {
            let share = (column - start) as f64 / (end - start) as f64;
            let row = self.row(from.1 + share * (to.1 - from.1));
            if self.cells[row][column] == ' ' {
                self.cells[row][column] = self.characters.pick('·', '.');
            }
        }
    }

    /// The rows with the axis of the metric.
    fn frame(&self) -> String {
        let bar = self.characters.pick('│', '|');
        let mut text = String::new();
        let mut told = String::new();
        for (index, row) in self.cells.iter().enumerate() {
            let share_of_row = 1.0 - index as f64 / (HEIGHT - 1) as f64;
            let value = self.range.0 + share_of_row * (self.range.1 - self.range.0);
            let label = format!("{value:.2}");
            let label = if index % 2 == 0 && label != told { label } else { String::new() };
            let line: String = row.iter().collect();
            text.push_str(format!("{label:>MARGIN$} {bar}{line}").trim_end());
            text.push('\n');
            told = label;
        }
        text
    }

    /// The axis of examples: its numbers where they do not run into each other, the crossing's first.
    fn ticks(&self, series: &[Series], crossing: Option<usize>) -> String {
        let mut sizes: Vec<usize> =
            series.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut labels = vec![' '; self.columns + 4];
        for &at in crossing.iter().chain(&sizes) {
            let (text, column) = (at.to_string(), self.column(at as f64));
            let start = column.saturating_sub(text.len() / 2);
            let around = start.saturating_sub(1)..(start + text.len() + 1).min(labels.len());
            if labels[around].iter().all(|character| *character == ' ') {
                labels[start..start + text.len()].copy_from_slice(&text.chars().collect::<Vec<_>>());
            }
        }
        let (corner, line) = (self.characters.pick('└', '+'), self.characters.pick('─', '-'));
        let axis: String = std::iter::repeat_n(line, self.columns).collect();
        let labels: String = labels.into_iter().collect();
        format!(
            "{:MARGIN$} {corner}{axis}\n{:MARGIN$}  {}\n{:MARGIN$}  examples given (logarithmic)\n",
            "",
            "",
            labels.trim_end(),
            ""
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Series> {
        let line = |name: &str, mark, points: &[(usize, f64)]| Series {
            name: name.to_owned(),
            mark,
            points: points.to_vec(),
        };
        vec![
            line("random shots", 'o', &[(0, 0.2), (4, 0.31), (16, 0.45), (64, 0.61)]),
            line("LoRA", 'x', &[(16, 0.25), (64, 0.55), (256, 0.93)]),
            line("linear (tf-idf)", '#', &[(600, 0.97)]),
        ]
    }

    fn drawn(width: usize, characters: Characters) -> String {
        Canvas::new(&lines(), Some(256), width, characters).draw("accuracy", &lines(), Some(256))
    }

    #[test]
    fn a_plot_in_ascii_is_ascii_and_reads_as_stored() {
        let text = drawn(60, Characters::Ascii);
        assert!(text.is_ascii());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_plot_in_unicode_reads_as_stored() {
        insta::assert_snapshot!(drawn(60, Characters::Unicode));
    }

    #[test]
    fn every_width_is_kept() {
        for width in 32..140 {
            let text = drawn(width, Characters::Unicode);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= width.max(54), "{width}: {widest}\n{text}");
        }
    }

    #[test]
    fn one_size_alone_is_drawn_without_a_scale() {
        let one = [Series { name: "LoRA".to_owned(), mark: 'x', points: vec![(16, 0.5)] }];
        let text = Canvas::new(&one, None, 60, Characters::Ascii).draw("accuracy", &one, None);
        assert!(text.contains('x') && text.contains("16"), "{text}");
    }

    #[test]
    fn the_locale_decides_the_characters() {
        for (locale, expected) in [
            (None, Characters::Unicode),
            (Some("en_GB.UTF-8"), Characters::Unicode),
            (Some("C.utf8"), Characters::Unicode),
            (Some("C"), Characters::Ascii),
            (Some("de_DE.ISO-8859-1"), Characters::Ascii),
        ] {
            assert_eq!(Characters::of(locale), expected, "{locale:?}");
        }
    }
}

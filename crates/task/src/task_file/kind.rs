//! The types that a key of the task file can have.

use toml::Value;

/// Type and range of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Text that is not empty.
    Text,
    /// A path, relative to the task file.
    Path,
    /// A path or a list of paths.
    Paths,
    /// A JSON schema: a path, the JSON itself as a text, or a table.
    Schema,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number of at least this.
    Count(i64),
    /// A list of whole numbers of at least this.
    Counts(i64),
    /// As `Counts`, where an item may also be this word.
    CountsOr(i64, &'static str),
    /// A number from 0 up.
    Amount,
    /// A number above 0.
    Positive,
    /// A list of numbers above 0.
    Positives,
    /// A list of numbers above 0 and below 1.
    Shares,
    /// A number in `[low, high)`, or `(low, high)` where `open`.
    Between {
        /// Lower end.
        low: f64,
        /// Upper end, always excluded.
        high: f64,
        /// Whether the lower end is excluded too.
        open: bool,
    },
    /// A time such as `90s`, `10m`, `1h30m`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of these words.
    Choices(&'static [&'static str]),
}

impl Kind {
    /// What a value must be, to be read after "must be".
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Paths => "a path or a list of paths".to_owned(),
            Self::Schema => "a path, JSON as a text, or a table with content".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count(least) => format!("a whole number of at least {least}"),
            Self::Counts(least) => format!("a list of whole numbers of at least {least}"),
            Self::CountsOr(least, word) => {
                format!("a list of whole numbers of at least {least} or \"{word}\"")
            }
            Self::Amount => "a number of at least 0".to_owned(),
            Self::Positive => "a number above 0".to_owned(),
            Self::Positives => "a list of numbers above 0".to_owned(),
            Self::Shares => "a list of numbers above 0 and below 1".to_owned(),
            Self::Between { low, high, open } => {
                let from = if *open { "above" } else { "from" };
                format!("a number {from} {low} and below {high}")
            }
            Self::Duration => "a time such as \"90s\", \"10m\" or \"1h30m\"".to_owned(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Choices(words) => format!("a list of {}", quoted(words)),
        }
    }

    /// Whether `value` is of this kind and in range.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Path => is_text(value),
            Self::Paths => is_text(value) || list_of(value, is_text),
            Self::Schema => is_text(value) || value.as_table().is_some_and(|table| !table.is_empty()),
            Self::Texts => list_of(value, is_text),
            Self::Flag => value.is_bool(),
            Self::Count(least) => is_count(value, *least),
            Self::Counts(least) => list_of(value, |item| is_count(item, *least)),
            Self::CountsOr(least, word) => {
                list_of(value, |item| is_count(item, *least) || item.as_str() == Some(*word))
            }
            Self::Amount => number(value).is_some_and(|x| x >= 0.0),
            Self::Positive => number(value).is_some_and(|x| x > 0.0),
            Self::Positives => list_of(value, |item| number(item).is_some_and(|x| x > 0.0)),
            Self::Shares => list_of(value, |item| number(item).is_some_and(|x| x > 0.0 && x < 1.0)),
            Self::Between { low, high, open } => {
                number(value).is_some_and(|x| (x > *low || (!open && x == *low)) && x < *high)
            }
            Self::Duration => value.as_str().is_some_and(|text| parse_duration(text).is_some()),
            Self::Choice(words) => is_one_of(value, words),
            Self::Choices(words) => list_of(value, |item| is_one_of(item, words)),
        }
    }

    /// The words of a choice, for a suggestion.
    pub(super) fn words(&self) -> &'static [&'static str] {
        match self {
            Self::Choice(words) | Self::Choices(words) => words,
            _ => &[],
        }
    }
}

/// Largest whole number that every machine can count to; also keeps products of settings from overflowing.
const LARGEST_COUNT: i64 = 1_000_000_000;

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

fn is_count(value: &Value, least: i64) -> bool {
    value.as_integer().is_some_and(|number| (least..=LARGEST_COUNT).contains(&number))
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|text| words.contains(&text))
}

/// A list with something in it, all of one kind: an empty grid would silently leave an arm out.
fn list_of(value: &Value, accepts: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(accepts))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// Seconds of a time written as whole numbers with units `d`, `h`, `m`, `s`, largest first: `90s`, `10m`, `1h30m`.
///
/// `None` for anything else, for zero, and for more than ten years.
pub fn parse_duration(text: &str) -> Option<f64> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    const LONGEST: u64 = 10 * 366 * 86_400;
    let mut seconds = 0u64;
    let mut next_unit = 0;
    let mut digits = String::new();
    for character in text.trim().chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let unit = next_unit + UNITS[next_unit..].iter().position(|(name, _)| *name == character)?;
        let amount = digits.parse::<u64>().ok()?;
        seconds = seconds.checked_add(amount.checked_mul(UNITS[unit].1)?)?;
        digits.clear();
        next_unit = unit + 1;
    }
    (digits.is_empty() && (1..=LONGEST).contains(&seconds)).then_some(seconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("10m", 600.0),
            ("1h30m", 5_400.0),
            ("2h", 7_200.0),
            ("1d2h3m4s", 93_784.0),
            (" 5m ", 300.0),
        ] {
            assert_eq!(parse_duration(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "30m1h",
            "5m5m",
            "0s",
            "-5m",
            "1.5h",
            "10min",
            "99999999999999999999s",
            "9999d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}

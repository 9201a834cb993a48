//! Which character separates the fields of a CSV file.

use csv_core::{ReadRecordResult, ReaderBuilder};

/// Separators, those that are rare in sentences first: the first of equals is taken.
const CANDIDATES: [u8; 4] = [b'\t', b'|', b';', b','];
/// Records at the beginning of a file that are looked at.
const LOOKED_AT: usize = 30;
/// Bytes at the beginning of a file that are looked at: what a buffered reader has at hand.
const MOST_BYTES: usize = 8 * 1024;

/// The separator under which the most of the first records have as many fields as the first one, and more than one; a comma where
/// there is none. Commas within sentences do not mislead it, as they come in varying numbers. `beginning` may end within a record.
pub(crate) fn guess_delimiter(beginning: &[u8]) -> u8 {
    let beginning = &beginning[..beginning.len().min(MOST_BYTES)];
    let alike = |delimiter: u8| {
        let widths = widths(beginning, delimiter);
        match widths.first() {
            Some(&first) if first > 1 => {
                widths.iter().filter(|width| **width == first).count() as f64 / widths.len() as f64
            }
            _ => 0.0,
        }
    };
    let mut best = (b',', 0.0);
    for candidate in CANDIDATES {
        let share = alike(candidate);
        if share > best.1 {
            best = (candidate, share);
        }
    }
    best.0
}

/// The number of fields of each of the first whole records; of a single one that does not end, its own.
fn widths(beginning: &[u8], delimiter: u8) -> Vec<usize> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut output, mut ends) = (vec![0; beginning.len() + 1], vec![0; beginning.len() + 1]);
    let (mut place, mut widths) = (0, Vec::new());
    while widths.len() < LOOKED_AT && place < beginning.len() {
        let (result, read, _, fields) = reader.read_record(&beginning[place..], &mut output, &mut ends);
        place += read;
        match result {
            ReadRecordResult::Record => widths.push(fields),
            // Cut off: told by its end alone, which comes with an empty input.
            _ if widths.is_empty() => {
                let (_, _, _, last) = reader.read_record(&[], &mut output, &mut ends[fields..]);
                widths.push(fields + last);
            }
            _ => break,
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_that_makes_records_alike_is_taken() {
        for (text, expected) in [
            ("text,label\nhello; you,a\nbye,b\n", b','),
            ("text;label\nhello, you, there;a\nbye;b\n", b';'),
            // As in the SMS spam collection: no header, and sentences full of commas.
            ("ham\tGo on, crazy.. here, now\nspam\tFree entry, win, text now\nham\tOk\n", b'\t'),
            ("a|b|c\n1|2, 3|4\n", b'|'),
            ("text;label\n\"one; \"\"two\"\"\nthree\";a\n", b';'),
            ("only one column\nhello\n", b','),
            ("text,label", b','),
            ("", b','),
        ] {
            assert_eq!(char::from(guess_delimiter(text.as_bytes())), char::from(expected), "{text}");
        }
    }
}

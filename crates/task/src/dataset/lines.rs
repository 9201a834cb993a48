//! Reading line by line without ever holding more than a row may be long.

use std::io::{self, BufRead};

/// Longest row in bytes: a longer one is an error, found without holding it in memory.
pub const LONGEST_ROW: usize = 1_000_000;

/// What a read found.
pub(super) enum Line {
    /// The source is at its end.
    End,
    /// A line is in the buffer, without its end.
    Whole,
    /// The line has this many bytes, more than a row may have; it was skipped.
    TooLong(usize),
}

/// Reads the next line into `buffer`. Lines end with `\n` or `\r\n`.
pub(super) fn read_line(reader: &mut dyn BufRead, buffer: &mut Vec<u8>) -> io::Result<Line> {
    buffer.clear();
    let mut length = 0;
    loop {
        let available = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            return Ok(if length == 0 { Line::End } else { line(buffer, length) });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let chunk = &available[..end.unwrap_or(available.len())];
        length += chunk.len();
        if length <= LONGEST_ROW + 1 {
            buffer.extend_from_slice(chunk);
        } else {
            buffer.clear();
        }
        let used = chunk.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(line(buffer, length));
        }
    }
}

fn line(buffer: &mut Vec<u8>, mut length: usize) -> Line {
    if length <= LONGEST_ROW + 1 && buffer.last() == Some(&b'\r') {
        buffer.pop();
        length -= 1;
    }
    if length > LONGEST_ROW { Line::TooLong(length) } else { Line::Whole }
}

/// What is said of a row that is too long.
pub(super) fn too_long(bytes: usize) -> String {
    format!("the row has {bytes} bytes; the limit is {LONGEST_ROW}")
}

/// What is said of bytes that are not UTF-8.
pub(super) fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("invalid UTF-8 at byte {} of the row", error.valid_up_to() + 1)
}

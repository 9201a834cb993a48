//! CSV and TSV with a header: fields in quotes may hold delimiters, quotes (doubled) and newlines.

use std::io::BufRead;
use std::path::PathBuf;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::columns::Columns;
use super::delimiter::guess_delimiter;
use super::lines::{self, LONGEST_ROW};
use super::read::{BadRows, RawRow, Table};
use crate::Error;
use crate::settings::DataSettings;

/// Most columns of a file.
const MOST_COLUMNS: usize = 10_000;

pub(super) fn read(
    reader: &mut dyn BufRead,
    path: PathBuf,
    settings: &DataSettings,
    delimiter: Option<u8>,
    bad: &mut BadRows,
) -> Result<Table, Error> {
    let io = |source| Error::Io { path: path.clone(), source };
    let delimiter = match delimiter {
        Some(delimiter) => delimiter,
        None => guess_delimiter(reader.fill_buf().map_err(io)?),
    };
    let mut records = Records::new(reader, delimiter);
    let header = match records.next().map_err(io)? {
        Some((line, Ok(fields))) => (line, fields),
        Some((line, Err(reason))) => {
            bad.add(&path, line, reason);
            return Ok(Table { path, rows: Vec::new(), columns: None });
        }
        None => return Err(Error::Data(format!("{}: the file has no rows", path.display()))),
    };
    let places = match Places::find(&header.1, settings) {
        Ok(places) => places,
        Err(reason) => {
            bad.add(&path, header.0, reason);
            return Ok(Table { path, rows: Vec::new(), columns: None });
        }
    };
    let mut rows = Vec::new();
    while let Some((line, record)) = records.next().map_err(io)? {
        match record.and_then(|fields| places.row(line, &fields, header.1.len())) {
            Ok(row) => rows.push(row),
            Err(reason) => bad.add(&path, line, reason),
        }
    }
    Ok(Table { path, rows, columns: Some(places.columns) })
}

/// Where the columns stand.
struct Places {
    columns: Columns,
    input: usize,
    target: usize,
    id: Option<usize>,
    cluster: Option<usize>,
    subgroup: Option<usize>,
    paraphrase: Option<usize>,
}

impl Places {
    fn find(header: &[String], settings: &DataSettings) -> Result<Self, String> {
        let names: Vec<&str> = header.iter().map(|name| name.trim()).collect();
        let columns = Columns::find(&names, settings)?;
        let place = |wanted: &str| {
            let mut places = names.iter().enumerate().filter(|(_, name)| **name == wanted);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok(place),
                _ => Err(format!("the header names `{wanted}` twice")),
            }
        };
        let (input, target) = (place(&columns.input)?, place(&columns.target)?);
        let optional = |name: &Option<String>| name.as_deref().map(place).transpose();
        let id = optional(&columns.id)?;
        let cluster = optional(&columns.cluster)?;
        let (subgroup, paraphrase) = (optional(&columns.subgroup)?, optional(&columns.paraphrase)?);
        Ok(Self { columns, input, target, id, cluster, subgroup, paraphrase })
    }

    fn row(&self, line: usize, fields: &[String], width: usize) -> Result<RawRow, String> {
        if fields.len() != width {
            return Err(format!("{} fields, but the header has {width}", fields.len()));
        }
        let field = |place: usize, name: &str| {
            if fields[place].trim().is_empty() {
                Err(format!("`{name}` is empty"))
            } else {
                Ok(fields[place].clone())
            }
        };
        // Unlike the others, these may be empty in some rows.
        let optional = |place: Option<usize>| {
            place.map(|place| fields[place].trim().to_owned()).filter(|text| !text.is_empty())
        };
        Ok(RawRow {
            line,
            input: field(self.input, &self.columns.input)?,
            target: field(self.target, &self.columns.target)?,
            id: self.id.map(|place| field(place, self.columns.id.as_deref().unwrap_or("id"))).transpose()?,
            // An empty cell is a row that shares its source with no other.
            cluster: self
                .cluster
                .map(|place| fields[place].trim().to_owned())
                .filter(|name| !name.is_empty()),
            subgroup: optional(self.subgroup),
            paraphrase: optional(self.paraphrase),
            system: None,
            has_earlier_turns: false,
        })
    }
}

/// Splits a source into records, holding no more than one row's limit.
struct Records<'a> {
    reader: &'a mut dyn BufRead,
    parser: Reader,
    /// Lines that were fully read.
    lines: usize,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

/// The line on which a record begins, and its fields or what is wrong with it.
type Record = (usize, Result<Vec<String>, String>);

impl<'a> Records<'a> {
    fn new(reader: &'a mut dyn BufRead, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { reader, parser, lines: 0, fields: vec![0; 4096], ends: vec![0; 64] }
    }

    fn next(&mut self) -> std::io::Result<Option<Record>> {
        if !self.skip_empty_lines()? {
            return Ok(None);
        }
        let line = self.lines + 1;
        let (mut written, mut ended, mut total) = (0, 0, 0);
        let mut ends_of_line;
        let mut too_many_columns = false;
        loop {
            let input = self.reader.fill_buf()?;
            let (result, used, output, ends) =
                self.parser.read_record(input, &mut self.fields[written..], &mut self.ends[ended..]);
            self.lines += input[..used].iter().filter(|byte| **byte == b'\n').count();
            ends_of_line = input[..used].iter().rev().take(2).filter(|byte| is_line_end(**byte)).count();
            self.reader.consume(used);
            written += output;
            ended += ends;
            total += used;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if total > LONGEST_ROW + 2 => written = 0,
                ReadRecordResult::OutputFull => self.fields.resize(2 * self.fields.len(), 0),
                ReadRecordResult::OutputEndsFull if ended >= MOST_COLUMNS => {
                    too_many_columns = true;
                    ended = 0;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        let length = total - ends_of_line.min(total);
        if length > LONGEST_ROW {
            return Ok(Some((line, Err(lines::too_long(length)))));
        }
        if too_many_columns {
            return Ok(Some((line, Err(format!("more than {MOST_COLUMNS} fields")))));
        }
        Ok(Some((line, self.strings(written, ended))))
    }

    /// Skips line ends before a record, so that its line is the one it begins on. `false` at the end of the source.
    fn skip_empty_lines(&mut self) -> std::io::Result<bool> {
        loop {
            let input = self.reader.fill_buf()?;
            let Some(first) = input.first() else { return Ok(false) };
            match first {
                b'\n' => self.lines += 1,
                b'\r' => {}
                _ => return Ok(true),
            }
            self.reader.consume(1);
        }
    }

    fn strings(&self, written: usize, ended: usize) -> Result<Vec<String>, String> {
        let mut start = 0;
        self.ends[..ended]
            .iter()
            .enumerate()
            .map(|(place, end)| {
                let field = &self.fields[start..*end.min(&written)];
                start = *end;
                match std::str::from_utf8(field) {
                    Ok(text) => Ok(text.to_owned()),
                    Err(_) => Err(format!("invalid UTF-8 in field {}", place + 1)),
                }
            })
            .collect()
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

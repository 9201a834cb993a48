//! Reading, cleaning and splitting, from bytes in memory.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::curation;

fn settings(text: &str) -> Settings {
    Settings::from_str(text, Path::new("")).unwrap()
}

fn train<'a>(name: &str, bytes: &'a [u8]) -> Sources<'a> {
    Sources { train: vec![Source::bytes(name, bytes)], ..Sources::default() }
}

fn load(name: &str, bytes: &[u8], task: &str) -> Result<Dataset, Error> {
    Dataset::from_sources(&settings(task), train(name, bytes))
}

/// Sixty rows of two labels, enough for every part; `row` writes one.
fn rows(row: impl Fn(usize, &str) -> String) -> String {
    (0..60).map(|number| row(number, ["red", "blue"][number % 2])).collect()
}

fn jsonl_rows() -> String {
    rows(|number, label| format!("{{\"text\": \"row number {number}\", \"label\": \"{label}\"}}\n"))
}

fn all(dataset: &Dataset) -> Vec<&Example> {
    dataset.train.iter().chain(&dataset.dev).chain(&dataset.test).collect()
}

fn find<'a>(dataset: &'a Dataset, input: &str) -> &'a Example {
    all(dataset).into_iter().find(|example| example.input == input).unwrap()
}

#[test]
fn jsonl_csv_and_chat_give_the_same_dataset() {
    let task = "[data]\nnear_duplicates = false";
    let jsonl = load("a.jsonl", jsonl_rows().as_bytes(), task).unwrap();
    let csv = rows(|number, label| format!("{label},\"row number {number}\"\r\n"));
    let csv = load("a.csv", format!("label,text\r\n{csv}").as_bytes(), task).unwrap();
    let semicolons = rows(|number, label| format!("{label};row number {number}\n"));
    let semicolons = load("a.csv", format!("\u{feff}label;text\n{semicolons}").as_bytes(), task).unwrap();
    let tabs = rows(|number, label| format!("row number {number}\t{label}\n"));
    let tabs = load("a.tsv", format!("text\tlabel\n{tabs}").as_bytes(), task).unwrap();
    let chat = rows(|number, label| {
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"row number {number}\"}}, \
             {{\"role\": \"assistant\", \"content\": \"{label}\"}}]}}\n"
        )
    });
    let chat = load("a.jsonl", chat.as_bytes(), task).unwrap();
    let evals = rows(|number, label| {
        format!(
            "{{\"input\": [{{\"role\": \"user\", \"content\": \"row number {number}\"}}], \"ideal\": [\"{label}\"]}}\n"
        )
    });
    let evals = load("noextension", format!("\u{feff}{evals}").as_bytes(), task).unwrap();
    for other in [&csv, &semicolons, &tabs, &chat, &evals] {
        assert_eq!(other.sha256, jsonl.sha256);
        assert_eq!(other.labels, ["blue", "red"]);
        assert_eq!(other.sizes(), jsonl.sizes());
    }
    let sizes = jsonl.sizes();
    assert_eq!(sizes.train + sizes.dev + sizes.test, 60);
    assert_eq!(jsonl.label_index("red"), Some(1));
}

#[test]
fn groups_and_paraphrases_are_read_where_they_are_named_and_change_nothing_else() {
    let plain = load("a.jsonl", jsonl_rows().as_bytes(), "[data]\nnear_duplicates = false").unwrap();
    let task = "[data]\nnear_duplicates = false\nsubgroup = \"region\"\nparaphrase = \"other\"";
    // Every third row has no paraphrase.
    let other =
        |number: usize| if number.is_multiple_of(3) { String::new() } else { format!("line {number}") };
    let jsonl = rows(|number, label| {
        let other = other(number);
        format!(
            "{{\"text\": \"row number {number}\", \"label\": \"{label}\", \"region\": {}, \"other\": \"{other}\"}}\n",
            number % 4
        )
    });
    let csv = rows(|number, label| format!("{label},row number {number},{},{}\n", number % 4, other(number)));
    for dataset in [
        load("a.jsonl", jsonl.as_bytes(), task).unwrap(),
        load("a.csv", format!("label,text,region,other\n{csv}").as_bytes(), task).unwrap(),
    ] {
        assert_eq!(dataset.sha256, plain.sha256);
        let row = find(&dataset, "row number 7");
        assert_eq!((row.subgroup.as_deref(), row.paraphrase.as_deref()), (Some("3"), Some("line 7")));
        assert_eq!(find(&dataset, "row number 9").paraphrase, None);
    }
    let error = load("a.jsonl", jsonl_rows().as_bytes(), task).unwrap_err().to_string();
    assert!(error.contains("no column `region` (data.subgroup)"), "{error}");
    // A run from before there were such columns is still the same run.
    let fingerprint = serde_json::to_string(&settings("").fingerprint()).unwrap();
    assert!(!fingerprint.contains("subgroup") && !fingerprint.contains("probes"), "{fingerprint}");
}

#[test]
fn the_split_does_not_depend_on_the_order_of_the_rows() {
    let text = jsonl_rows();
    let one = load("a.jsonl", text.as_bytes(), "").unwrap();
    let reversed: Vec<&str> = text.lines().rev().collect();
    let other = load("b.jsonl", reversed.join("\n").as_bytes(), "").unwrap();
    assert_eq!(one.sha256, other.sha256);
    let half: Vec<&str> = text.lines().take(30).collect();
    let (first, second) = (half.join("\n"), text.lines().skip(30).collect::<Vec<_>>().join("\n"));
    let sources = Sources {
        train: vec![Source::bytes("2.jsonl", second.as_bytes()), Source::bytes("1.jsonl", first.as_bytes())],
        ..Sources::default()
    };
    assert_eq!(Dataset::from_sources(&settings(""), sources).unwrap().sha256, one.sha256);
}

#[test]
fn lines_are_counted_right_in_csv_with_newlines_in_fields() {
    let body = rows(|number, label| format!("\"row\nnumber \"\"{number}\"\"\",{label}\n\n"));
    let text = format!("\n\ntext,label\n{body}");
    let dataset = load("a.csv", text.as_bytes(), "[data]\nnear_duplicates = false").unwrap();
    // Two empty lines, the header, then three lines a row: row 7 begins on line 4 + 3 * 7.
    let example = find(&dataset, "row\nnumber \"7\"");
    assert_eq!(example.origin.line, 25);
    let bad = format!("{text}\"a\nb\",\n");
    let error = load("a.csv", bad.as_bytes(), "").unwrap_err().to_string();
    assert_eq!(error, format!("a.csv:{}: `label` is empty", 4 + 3 * 60));
}

#[test]
fn numbers_and_booleans_are_texts_and_ids_are_kept() {
    let text = rows(|number, label| {
        format!("{{\"input\": {number}, \"label\": {}, \"key\": \"k{number}\"}}\n", label == "red")
    });
    let dataset = load("a.jsonl", text.as_bytes(), "[data]\nid = \"key\"").unwrap();
    assert_eq!(dataset.labels, ["false", "true"]);
    assert_eq!(find(&dataset, "7").id, "k7");
    let unnamed = load("a.jsonl", text.as_bytes(), "").unwrap();
    // printf '7\0false' | sha256sum
    assert_eq!(find(&unnamed, "7").id, "2982a7eecb24117d");
}

#[test]
fn labels_are_cleaned_ordered_and_reported() {
    let text = rows(|number, label| {
        let label =
            if label == "red" { ["card_arrival", " card_arrival "][number % 4 / 2] } else { "Card_Arrival" };
        format!("{{\"text\": \"row number {number}\", \"label\": \"{label}\"}}\n")
    });
    let spaced = load("a.jsonl", text.as_bytes(), "").unwrap();
    assert_eq!(spaced.labels, ["Card Arrival", "card arrival"]);
    assert_eq!(
        spaced.report.notes,
        ["labels taken as one: \" card_arrival \" and \"card_arrival\" as `card arrival`"]
    );
    assert_eq!(
        spaced.report.warnings,
        ["labels that differ only in upper and lower case are kept apart: `Card Arrival` and `card arrival`"]
    );
    let kept = load("a.jsonl", text.as_bytes(), "[data]\nlabel_underscores = \"keep\"").unwrap();
    assert_eq!(kept.labels, ["Card_Arrival", "card_arrival"]);
    let listed =
        load("a.jsonl", text.as_bytes(), "[data]\nlabels = [\"card_arrival\", \"Card Arrival\", \"rare\"]")
            .unwrap();
    assert_eq!(listed.labels, ["card arrival", "Card Arrival", "rare"]);
    assert_eq!(listed.report.labels[2].rows, PartSizes::default());
}

#[test]
fn labels_that_begin_each_other_are_noted() {
    let text = rows(|number, label| {
        let label = if label == "red" { "transfer" } else { "transfer_money" };
        format!("{{\"text\": \"row number {number}\", \"label\": \"{label}\"}}\n")
    });
    let dataset = load("a.jsonl", text.as_bytes(), "").unwrap();
    assert_eq!(
        dataset.report.notes,
        [
            "labels that begin other ones (harmless, each is scored with its end): `transfer` begins `transfer money`"
        ]
    );
}

#[test]
fn rows_that_test_or_dev_have_too_leave_train() {
    let pool = jsonl_rows()
        + "{\"text\": \"Where is my new credit card, please?\", \"label\": \"red\"}\n"
        + "{\"text\": \"how do i activate my new credit card once i get the letters\", \"label\": \"red\"}\n"
        + "{\"text\": \"exactly the same\", \"label\": \"blue\"}\n"
        + "{\"text\": \"row number 5\", \"label\": \"blue\"}\n";
    let test = "{\"text\": \"where is my new credit card please\", \"label\": \"red\"}\n\
                {\"text\": \"exactly the same\", \"label\": \"blue\"}\n\
                {\"text\": \"exactly the same\", \"label\": \"blue\"}\n";
    let dev = "{\"text\": \"how do i activate my new credit card once i get the letter\", \"label\": \"red\"}\n\
               {\"text\": \"Where is my NEW credit card please\", \"label\": \"red\"}\n";
    let sources = Sources {
        train: vec![Source::bytes("pool.jsonl", pool.as_bytes())],
        dev: Some(Source::bytes("dev.jsonl", dev.as_bytes())),
        test: Some(Source::bytes("test.jsonl", test.as_bytes())),
    };
    let dataset = Dataset::from_sources(&settings(""), sources).unwrap();
    let report = &dataset.report;
    assert_eq!(dataset.sizes(), PartSizes { train: 60, dev: 1, test: 2 });
    assert_eq!((report.leaked_rows_removed, report.exact_duplicates), (4, 2));
    assert_eq!(report.rows_read, 69);
    assert_eq!(report.rows_used + report.leaked_rows_removed + report.exact_duplicates, report.rows_read);
    let text = report.to_string();
    assert!(text.contains("leakage: 4 rows left out that dev or test has, too"), "{text}");
}

#[test]
fn conflicting_labels_are_reported_and_stay_in_one_part() {
    let text = jsonl_rows() + "{\"text\": \"Row number 8!\", \"label\": \"blue\"}\n";
    let dataset = load("a.jsonl", text.as_bytes(), "[data]\nnear_duplicates = false").unwrap();
    assert_eq!(dataset.report.conflicting_inputs, 1);
    assert_eq!(dataset.report.conflicts, ["`blue` at a.jsonl:61, `red` at a.jsonl:9"]);
    let part = |input: &str| {
        [Part::Train, Part::Dev, Part::Test]
            .into_iter()
            .find(|part| dataset.part(*part).iter().any(|example| example.input == input))
    };
    assert_eq!(part("Row number 8!"), part("row number 8"));
}

#[test]
fn max_rows_keeps_the_same_rows_whatever_the_order() {
    let text = jsonl_rows();
    let task = "[data]\nmax_rows = 40";
    let one = load("a.jsonl", text.as_bytes(), task).unwrap();
    assert_eq!(one.report.rows_used, 40);
    let reversed: Vec<&str> = text.lines().rev().collect();
    assert_eq!(load("a.jsonl", reversed.join("\n").as_bytes(), task).unwrap().sha256, one.sha256);
}

#[test]
fn the_system_message_is_recorded_once() {
    let text = rows(|number, label| {
        let system = if number == 3 { "Other." } else { " Sort. " };
        format!(
            "{{\"messages\": [{{\"role\": \"system\", \"content\": \"{system}\"}}, \
             {{\"role\": \"user\", \"content\": [{{\"type\": \"text\", \"text\": \"row {number}\"}}]}}, \
             {{\"role\": \"assistant\", \"content\": \"{label}\"}}]}}\n"
        )
    });
    let dataset = load("a.jsonl", text.as_bytes(), "").unwrap();
    assert_eq!(dataset.system.as_deref(), Some("Sort."));
    assert_eq!(
        dataset.report.warnings,
        ["2 different system messages; the most frequent one is used for all"]
    );
}

#[test]
fn the_report_is_a_few_lines_of_text() {
    let dataset = load("a.jsonl", jsonl_rows().as_bytes(), "[data]\nnear_duplicates = false").unwrap();
    let PartSizes { train, dev, test } = dataset.sizes();
    assert_eq!(
        dataset.report.to_string(),
        format!(
            "rows: 60 from 1 file, 60 used: {train} train, {dev} dev, {test} test\n\
             labels: 2, 30 rows each\n\
             balance: 50.0% are `red`, so always answering that is right so often; 50.0% are `blue`\n\
             inputs: 12 to 13 characters, median 13, 95% up to 13\n\
             duplicates: no row twice; nearly equal ones were not looked for\n\
             conflicts: no input with more than one label\n\
             leakage: no row stands in two parts of the split"
        )
    );
    let json = serde_json::to_string(&dataset.report).unwrap();
    assert_eq!(serde_json::from_str::<DataReport>(&json).unwrap(), dataset.report);
}

/// Good rows around a bad one, which is on line 3.
fn around(bad: &[u8]) -> Vec<u8> {
    let text = jsonl_rows();
    let mut lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    lines.insert(2, bad);
    lines.join(&b'\n')
}

#[test]
fn every_bad_row_has_its_line_and_reason() {
    let deep = format!("{{\"text\": {}1{}, \"label\": \"a\"}}", "[".repeat(500), "]".repeat(500));
    let long_label = format!("{{\"text\": \"a\", \"label\": \"{}\"}}", "x".repeat(201));
    for (bad, reason) in [
        (&b"{\"text\": \"a\", \"label\": }"[..], "invalid JSON at column 24: expected value"),
        (b"{\"text\": \"a\"", "invalid JSON at column 12: EOF while parsing an object"),
        (b"nonsense", "invalid JSON at column 2: expected ident"),
        (deep.as_bytes(), "invalid JSON at column 136: recursion limit exceeded"),
        (b"[\"a\", \"b\"]", "a list, not an object; write one object a line"),
        (b"3", "a number, not an object; write one object a line"),
        (b"{", "a JSON document over several lines; write one object a line"),
        (b"{\"text\": \"a\xff\", \"label\": \"b\"}", "invalid UTF-8 at byte 12 of the row"),
        (b"{\"text\": \"a\"}", "`label` is missing"),
        (b"{\"label\": \"a\"}", "`text` is missing"),
        (b"{\"text\": null, \"label\": \"a\"}", "`text` is null, not a text"),
        (b"{\"text\": \"a\", \"label\": {}}", "`label` is an object, not a text"),
        (b"{\"text\": \"a\", \"label\": [\"b\", \"c\"]}", "`label` is a list of 2; a row has one label"),
        (b"{\"text\": \" \\n\", \"label\": \"a\"}", "`text` is empty"),
        (b"{\"text\": \"a\", \"label\": \"\"}", "`label` is empty"),
        (b"{\"text\": \"a\", \"label\": \"b\\nc\"}", "the label has more than one line"),
        (long_label.as_bytes(), "the label has 201 characters; the limit is 200"),
        (b"{\"text\": [], \"label\": \"a\"}", "`text` has no user's message"),
        (b"{\"messages\": []}", "`messages` is empty"),
        (b"{\"messages\": 3}", "`messages` is a number, not a list"),
        (b"{\"messages\": [{\"content\": \"a\"}]}", "message 1 of `messages` has no role"),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
            "the last message is the user's; it must be the assistant's, with the label",
        ),
        (b"{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "`messages` has no user's message"),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}, {\"role\": \"assistant\", \"content\": \"a\"}]}",
            "message 1 of `messages` has content that is not text",
        ),
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": null}]}",
            "message 2 of `messages` has no content",
        ),
    ] {
        let error = load("a.jsonl", &around(bad), "").unwrap_err().to_string();
        assert_eq!(error, format!("a.jsonl:3: {reason}"), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn all_bad_rows_are_counted_over_all_files() {
    let bad = around(b"{}");
    let sources = Sources {
        train: vec![Source::bytes("a.jsonl", &bad), Source::bytes("b.jsonl", &bad)],
        test: Some(Source::bytes("c.csv", b"text,label\na\nb,c,d\ne,f\n")),
        dev: None,
    };
    let error = Dataset::from_sources(&settings(""), sources).unwrap_err().to_string();
    assert_eq!(error, "a.jsonl:3: `text` is missing (and 3 more bad rows)");
}

#[test]
fn bad_csv_has_its_line_and_reason() {
    for (text, reason) in [
        ("text,label\na,b\nc\n", "3: 1 fields, but the header has 2"),
        ("text,label\n\"a\nb\",c\nd,e,f\n", "4: 3 fields, but the header has 2"),
        ("text,label\n,b\n", "2: `text` is empty"),
        ("text,text,label\na,b,c\n", "1: the header names `text` twice"),
        ("a,b\nc,d\n", "1: no column is named like the input; set data.input to one of: a, b"),
        ("text,b\nc,d\n", "1: no column is named like the target; set data.target to one of: text, b"),
    ] {
        let error = load("a.csv", text.as_bytes(), "").unwrap_err().to_string();
        assert_eq!(error, format!("a.csv:{reason}"), "{text:?}");
    }
    let error = load("a.csv", b"text,label\na,b\nc\xe9,d\n", "").unwrap_err().to_string();
    assert_eq!(error, "a.csv:3: invalid UTF-8 in field 1");
    let error = load("a.csv", b"body,label\na,b\n", "[data]\ninput = \"boddy\"").unwrap_err().to_string();
    assert_eq!(
        error,
        "a.csv:1: no column `boddy` (data.input); there are: body, label; did you mean `body`?"
    );
}

#[test]
fn data_that_make_no_task_are_refused() {
    let one_class = rows(|number, _| format!("{{\"text\": \"row number {number}\", \"label\": \"a\"}}\n"));
    for (name, text, reason) in [
        ("a.jsonl", "", "a.jsonl: the file is empty"),
        ("a.jsonl", "\u{feff}", "a.jsonl: the file is empty"),
        ("a.jsonl", "\n \n", "a.jsonl: the file has no rows"),
        ("a.csv", "text,label\n", "a.csv: the file has no rows"),
        ("a.csv", "\n\n", "a.csv: the file has no rows"),
        ("a.parquet", "PAR1", "a.parquet: EOF: Parquet file too small. Size is 4 but need 8"),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": \"b\"}\n{\"text\": \"c\", \"label\": \"d\"}\n",
            "no dev rows: the data are too few to be split; add rows, give a dev file, or raise data.dev_share",
        ),
    ] {
        assert_eq!(load(name, text.as_bytes(), "").unwrap_err().to_string(), reason, "{text:?}");
    }
    let error =
        load("a.jsonl", one_class.as_bytes(), "[data]\nnear_duplicates = false").unwrap_err().to_string();
    assert!(error.ends_with("training rows have the label `a`: there is nothing to tell apart"), "{error}");
    let text = jsonl_rows();
    let error =
        load("a.jsonl", text.as_bytes(), "[data]\nlabels = [\"reds\", \"blue\"]").unwrap_err().to_string();
    assert_eq!(
        error,
        "a.jsonl:1: the label `red` is not in data.labels; did you mean `reds`? (and 29 more bad rows)"
    );
    let error =
        load("a.jsonl", text.as_bytes(), "[data]\nlabels = [\"a_b\", \"a b\"]").unwrap_err().to_string();
    assert_eq!(error, "data.labels names `a b` twice");
    let mould: String = (0..60)
        .map(|number| {
            let text = format!(
                "your order number {number} was sent to your home yesterday, do you want to track it"
            );
            format!("{{\"text\": \"{text}\", \"label\": \"{}\"}}\n", number % 2)
        })
        .collect();
    assert_eq!(
        load("a.jsonl", mould.as_bytes(), "").unwrap_err().to_string(),
        "no dev rows: the data are too few to be split; add rows, give a dev file, or raise data.dev_share (60 rows are \
         near duplicates in 1 group that stay together, unless data.near_duplicates = false)"
    );
    let twice =
        "{\"id\": 1, \"text\": \"a\", \"label\": \"b\"}\n{\"id\": 1, \"text\": \"c\", \"label\": \"d\"}\n";
    let error = load("a.jsonl", twice.as_bytes(), "[data]\nid = \"id\"").unwrap_err().to_string();
    assert_eq!(error, "a.jsonl:2: the id `1` was already used");
}

/// A source of endless bytes that counts how many were asked for at once.
struct Flood {
    head: &'static [u8],
    left: usize,
    chunk: Vec<u8>,
}

impl std::io::Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Flood {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if !self.head.is_empty() {
            return Ok(self.head);
        }
        Ok(&self.chunk[..self.left.min(self.chunk.len())])
    }

    fn consume(&mut self, amount: usize) {
        if self.head.is_empty() {
            self.left -= amount;
        } else {
            self.head = &self.head[amount..];
        }
    }
}

#[test]
fn a_row_of_ten_megabytes_is_an_error_and_the_next_ones_are_read() {
    for (name, head, reason) in [
        (
            "a.jsonl",
            &b"{\"text\": \"a\", \"label\": \"b\"}\n{\"text\": \""[..],
            "a.jsonl:2: the row has 10000010 bytes; the limit is 1000000",
        ),
        ("a.csv", b"text,label\na,b\n\"", "a.csv:3: the row has 10000001 bytes; the limit is 1000000"),
        ("a.csv", b"text,label\na,b\n", "a.csv:3: the row has 10000000 bytes; the limit is 1000000"),
    ] {
        let flood = Flood { head, left: 10_000_000, chunk: vec![b'x'; 65_536] };
        let source = Source { name: name.into(), reader: Box::new(flood) };
        let sources = Sources { train: vec![source], ..Sources::default() };
        let error = Dataset::from_sources(&settings(""), sources).unwrap_err().to_string();
        assert_eq!(error, reason);
    }
    let long = "y".repeat(LONGEST_ROW);
    let text = format!("{}{{\"text\": \"{long}\", \"label\": \"red\"}}\n{{}}\n", jsonl_rows());
    let error = load("a.jsonl", text.as_bytes(), "").unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "a.jsonl:61: the row has {} bytes; the limit is 1000000 (and 1 more bad rows)",
            LONGEST_ROW + 28
        )
    );
    let text = format!("text,label\n{long},a\nb\n");
    let error = load("a.csv", text.as_bytes(), "").unwrap_err().to_string();
    assert_eq!(error, "a.csv:2: the row has 1000002 bytes; the limit is 1000000 (and 1 more bad rows)");
}

#[test]
fn a_row_at_the_limit_is_read() {
    let frame = "{\"text\": \"\", \"label\": \"red\"}".len();
    let text = format!(
        "{}{{\"text\": \"{}\", \"label\": \"red\"}}\r\n",
        jsonl_rows(),
        "y".repeat(LONGEST_ROW - frame)
    );
    assert_eq!(load("a.jsonl", text.as_bytes(), "").unwrap().report.rows_used, 61);
    let body = rows(|number, label| format!("row number {number},{label}\n"));
    let text = format!("text,label\n{body}{},red\r\n", "y".repeat(LONGEST_ROW - 4));
    assert_eq!(load("a.csv", text.as_bytes(), "").unwrap().report.rows_used, 61);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("[data]\ntrain = \"none.jsonl\"");
    settings.data.train = vec![folder.path().join("none.jsonl")];
    let error = Dataset::load(&settings).unwrap_err().to_string();
    assert!(error.contains("none.jsonl: No such file"), "{error}");
    settings.data.train = vec![folder.path().to_path_buf()];
    let error = Dataset::load(&settings).unwrap_err().to_string();
    assert!(error.ends_with(": a folder, not a file of rows"), "{error}");
}

#[test]
fn a_doubt_about_the_column_is_a_warning() {
    let text = rows(|number, label| {
        format!("{{\"text\": \"row number {number}\", \"Question\": \"q\", \"label\": \"{label}\"}}\n")
    });
    let dataset = load("a.jsonl", text.as_bytes(), "").unwrap();
    assert_eq!(
        dataset.report.warnings,
        ["a.jsonl: the input is read from `text`; `Question` could be meant too: set data.input to be sure"]
    );
    assert_eq!(dataset.report.files[0].columns, Some(("text".into(), "label".into())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Rows and slightly changed copies of them, in files of all parts: nothing alike is in two parts, whatever the order.
    #[test]
    fn nothing_leaks_from_part_to_part(
        texts in prop::collection::vec("([a-d]{3,6} ){6,9}", 30..60),
        copies in prop::collection::vec((any::<prop::sample::Index>(), "[.!a-d]", 0usize..3), 1..30),
        given_test in any::<bool>(),
    ) {
        let mut files = [String::new(), String::new(), String::new()];
        let row = |text: &str, label: usize| format!("{{\"text\": \"{text}\", \"label\": \"l{}\"}}\n", label % 2);
        texts.iter().enumerate().for_each(|(number, text)| files[0] += &row(text, number));
        for (index, end, file) in &copies {
            files[*file] += &row(&format!("{}{end}", index.get(&texts)), index.index(texts.len()));
        }
        let load = |files: &[String; 3]| {
            let given = |file: usize| (given_test && !files[file].is_empty())
                .then(|| Source::bytes(format!("{file}.jsonl"), files[file].as_bytes()));
            let train = vec![Source::bytes("0.jsonl", files[0].as_bytes())];
            Dataset::from_sources(&settings(""), Sources { train, dev: given(1), test: given(2) })
        };
        // A draw without a row of a part is an error of its own, tested elsewhere.
        let Ok(dataset) = load(&files) else { return Ok(()) };
        let mut normals = Vec::new();
        let mut parts = Vec::new();
        for part in [Part::Train, Part::Dev, Part::Test] {
            for example in dataset.part(part) {
                normals.push(curation::normalise(&example.input));
                parts.push(part);
            }
        }
        let grouping = curation::group(&normals.iter().map(String::as_str).collect::<Vec<_>>(), true);
        let mut part_of = HashMap::new();
        for (group, part) in grouping.of.iter().zip(&parts) {
            prop_assert_eq!(part_of.entry(*group).or_insert(*part), part);
        }
        let reversed = files.map(|file| file.lines().rev().map(|line| format!("{line}\n")).collect::<String>());
        prop_assert_eq!(load(&reversed).unwrap().sha256, dataset.sha256);
    }
}

const BOOKING: &str = "[task]\nkind = \"extract\"\nschema = '''{\"type\": \"object\", \"additionalProperties\": false, \
                       \"properties\": {\"time\": {\"type\": \"string\"}, \"people\": {\"type\": \"string\"}}}'''\n\
                       [data]\nnear_duplicates = false";

#[test]
fn json_targets_are_written_in_one_way_whether_objects_or_texts() {
    let object = rows(|number, label| {
        format!(
            "{{\"text\": \"row {number}\", \"label\": {{\"people\": \"{number}\", \"time\": \"{label}\"}}}}\n"
        )
    });
    let text = rows(|number, label| {
        let json = format!("{{ \"time\": \"{label}\", \"people\": \"{number}\" }}");
        serde_json::json!({ "text": format!("row {number}"), "label": json }).to_string() + "\n"
    });
    let [object, text] = [object, text].map(|bytes| load("a.jsonl", bytes.as_bytes(), BOOKING).unwrap());
    assert_eq!(find(&object, "row 3").target, r#"{"time":"blue","people":"3"}"#);
    assert_eq!((object.sha256, object.labels.len()), (text.sha256, 0));
    assert!(object.report.to_string().contains("\nanswers: "), "{}", object.report);
}

#[test]
fn a_target_beside_the_schema_is_a_bad_row() {
    let bytes =
        rows(|number, _| format!("{{\"text\": \"row {number}\", \"label\": {{\"people\": {number}}}}}\n"));
    let error = load("a.jsonl", bytes.as_bytes(), BOOKING).unwrap_err().to_string();
    assert!(error.starts_with("a.jsonl:1: the target does not fit the schema at /people: "), "{error}");
    assert!(error.ends_with("(and 59 more bad rows)"), "{error}");
}

#[test]
fn free_text_keeps_its_underscores_and_lines() {
    let bytes = rows(|number, label| {
        format!("{{\"text\": \"row {number}\", \"label\": \" a_{label}\\r\\nline {number} \"}}\n")
    });
    let dataset =
        load("a.jsonl", bytes.as_bytes(), "[task]\nkind = \"generate\"\n[data]\nnear_duplicates = false")
            .unwrap();
    assert_eq!(find(&dataset, "row 1").target, "a_blue\nline 1");
    assert!(dataset.labels.is_empty() && !dataset.test.is_empty());
}

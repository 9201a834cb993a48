use serde_json::json;

use super::*;
use crate::dataset::Dataset;
use crate::settings::{Settings, TaskKind};

fn rows(values: &[Value]) -> Rows {
    Rows::other(values.iter().map(|value| value.as_object().expect("an object").clone()).collect())
}

#[test]
fn columns_without_telling_names_are_told_by_their_content() {
    // As in the SMS spam collection: v1 is the label, v2 the text.
    let all: Vec<Value> = (0..40)
        .map(|index| json!({"v1": if index % 3 == 0 { "spam" } else { "ham" }, "v2": format!("a longer message number {index}")}))
        .collect();
    let guess = guess(&rows(&all), &Wanted::default()).expect("it can be guessed");
    assert_eq!((guess.input.as_deref(), guess.target.as_deref()), (Some("v2"), Some("v1")));
    assert_eq!((guess.kind, guess.targets), (TaskKind::Classify, 2));
    assert_eq!(guess.instruction.as_deref(), Some("Give the v1 of the v2."));
}

#[test]
fn objects_are_extracted_by_a_schema_that_they_meet() {
    let all: Vec<Value> = (0..10)
        .map(|index| {
            let target = if index == 0 {
                json!({"people": 3})
            } else {
                json!({"people": index, "time": "noon", "tags": ["a"]})
            };
            json!({"text": format!("a table {index}"), "label": target})
        })
        .collect();
    let guess = guess(&rows(&all), &Wanted::default()).expect("it can be guessed");
    assert_eq!(guess.kind, TaskKind::Extract);
    let expected = json!({
        "type": "object",
        "properties": {
            "people": {"type": "integer"},
            "time": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}}
        },
        "required": ["people"],
        "additionalProperties": false
    });
    assert_eq!(guess.schema, Some(expected));
}

#[test]
fn a_promptfoo_configuration_becomes_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("promptfooconfig.yaml");
    let text = "prompts:\n  - \"Which queue?\\nTicket: {{ticket}}\\n\"\nproviders: [openai:gpt-4o]\ntests:\n  \
                - vars: {ticket: my card is lost}\n    assert:\n      - {type: icontains, value: cards}\n  \
                - vars: {ticket: hello}\n    assert:\n      - {type: llm-rubric, value: is polite}\n";
    crate::atomic::write(&file, text.as_bytes()).expect("written");
    let rows = Rows::read(&file).expect("read");
    assert_eq!(
        rows.rows,
        [json!({"ticket": "my card is lost", "target": "cards"}).as_object().expect("an object").clone()]
    );
    assert_eq!(rows.instruction.as_deref(), Some("Which queue?"));
    assert!(rows.notes[0].starts_with("1 tests left out"), "{:?}", rows.notes);
}

#[test]
fn a_column_of_parts_becomes_files_and_the_task_file_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("tickets.csv");
    let mut text = String::from("uid,message,queue,split\n");
    for index in 0..60 {
        let part = ["train", "validation", "test"][if index < 40 { 0 } else { 1 + index % 2 }];
        let queue = ["cards", "loans"][index % 3 % 2];
        text += &format!(
            "r{index},\"message {index}, about {queue} {}\",{queue},{part}\n",
            "abcdefghijklmnopqrst".repeat(1 + index % 3)
        );
    }
    crate::atomic::write(&data, text.as_bytes()).expect("written");
    let rows = Rows::read(&data).expect("read");
    let guess = guess(&rows, &Wanted::default()).expect("guessed");
    assert_eq!((guess.split.as_deref(), guess.id.as_deref()), (Some("split"), Some("uid")));
    assert_eq!((guess.input.as_deref(), guess.target.as_deref()), (Some("message"), Some("queue")));
    let files = place(&rows, &guess, &data, folder.path()).expect("placed");
    assert_eq!(files.written.len(), 3);
    let task = folder.path().join("weigh.toml");
    crate::atomic::write(&task, task_text("tickets", &guess, &files, None, folder.path()).as_bytes())
        .expect("written");
    let settings = Settings::load(&task).expect("the task file is sound");
    let dataset = Dataset::load(&settings).expect("the rows load");
    assert_eq!(dataset.labels, ["cards", "loans"]);
    assert_eq!(dataset.sizes().test + dataset.sizes().dev, 20);
}

#[test]
fn a_file_that_a_run_can_read_stays_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["train.jsonl", "test.jsonl"] {
        crate::atomic::write(&folder.path().join(name), b"{\"text\": \"a\", \"label\": \"x\"}\n")
            .expect("written");
    }
    let data = folder.path().join("train.jsonl");
    let rows = Rows::read(&data).expect("read");
    let guess = guess(&rows, &Wanted::default()).expect("guessed");
    let files = place(&rows, &guess, &data, folder.path()).expect("placed");
    assert_eq!(
        files,
        DataFiles {
            train: data,
            dev: None,
            test: Some(folder.path().join("test.jsonl")),
            written: Vec::new()
        }
    );
}

#[test]
fn evals_and_chats_need_no_columns() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let evals: Vec<Value> = (0..9)
        .map(|index| json!({"input": [message("user", &format!("question {index}"))], "ideal": [if index % 2 == 0 { "yes" } else { "no" }]}))
        .collect();
    let found = guess(&rows(&evals), &Wanted::default()).expect("guessed");
    assert_eq!(
        (found.input.as_deref(), found.target.as_deref(), found.targets),
        (Some("input"), Some("ideal"), 2)
    );
    let chats: Vec<Value> = (0..9)
        .map(|index| json!({"messages": [message("user", &format!("question {index}")), message("assistant", if index % 2 == 0 { "yes" } else { "no" })]}))
        .collect();
    let found = guess(&rows(&chats), &Wanted::default()).expect("guessed");
    assert_eq!((found.input, found.target, found.kind), (None, None, TaskKind::Classify));
}

#[test]
fn a_file_of_a_windows_program_is_read_and_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("a.csv");
    // 0x93 and 0x94 are curly quotes in Windows-1252, 0xe9 is e with an acute accent.
    crate::atomic::write(&data, b"text,label\nthe \x93caf\xe9\x94 is open,yes\nit is shut,no\n")
        .expect("written");
    let rows = Rows::read(&data).expect("read");
    assert_eq!(rows.rows[0]["text"], json!("the \u{201c}caf\u{e9}\u{201d} is open"));
    assert!(rows.notes[0].contains("Windows-1252"), "{:?}", rows.notes);
    let guess = guess(&rows, &Wanted::default()).expect("guessed");
    let files = place(&rows, &guess, &data, folder.path()).expect("placed");
    assert_eq!(files.train, folder.path().join("a.train.jsonl"));
}

#[test]
fn a_first_line_that_is_a_row_is_no_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("SMSSpamCollection");
    let mut text = String::new();
    for index in 0..40 {
        let label = if index % 3 == 0 { "spam" } else { "ham" };
        text += &format!("{label}\tGo on, {index} times, until crazy.. win, text\n");
    }
    crate::atomic::write(&data, text.as_bytes()).expect("written");
    let rows = Rows::read(&data).expect("read");
    assert_eq!((rows.rows.len(), rows.format), (40, SourceFormat::Other));
    assert!(rows.notes[0].starts_with("its first line is a row"), "{:?}", rows.notes);
    let guess = guess(&rows, &Wanted::default()).expect("guessed");
    assert_eq!((guess.input.as_deref(), guess.target.as_deref()), (Some("column_2"), Some("column_1")));
    assert_eq!(guess.instruction, None, "names of our own say nothing");
}

#[test]
fn rows_without_a_label_and_columns_that_the_text_does_not_tell_are_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("messy.csv");
    let mut text = String::from("\u{feff}Nr;Kundentext;Abteilung;Status\r\n");
    for index in 0..120 {
        let (queue, words) =
            [("Karten", "meine Karte ist weg"), ("Kredite", "was kostet ein Kredit")][index % 2];
        let queue = if index % 30 == 7 { "" } else { queue };
        text +=
            &format!("{index};{words}, Anfrage {index};{queue};{}\r\n", ["offen", "zu"][index * 7 / 3 % 2]);
    }
    text += "\r\n;;;\r\n1;2\r\n";
    crate::atomic::write(&data, text.as_bytes()).expect("written");
    let rows = Rows::read(&data).expect("read");
    let guess = guess(&rows, &Wanted::default()).expect("guessed");
    assert_eq!((guess.input.as_deref(), guess.target.as_deref()), (Some("Kundentext"), Some("Abteilung")));
    assert!(
        guess.reasons.iter().any(|reason| reason.contains("do not tell `Status`")),
        "{:?}",
        guess.reasons
    );
    assert_eq!((guess.incomplete, guess.targets), (6, 2));
    let files = place(&rows, &guess, &data, folder.path()).expect("placed");
    let written = std::fs::read_to_string(&files.train).expect("it is there");
    assert_eq!(written.lines().count(), 116);
}

#[test]
fn an_answer_of_its_own_in_every_row_is_written() {
    let all: Vec<Value> = (0..20)
        .map(|index| json!({"question": format!("what is {index}"), "reply": format!("it is the number {index}, of course")}))
        .collect();
    let guess = guess(&rows(&all), &Wanted::default()).expect("it can be guessed");
    assert_eq!(
        (guess.input.as_deref(), guess.target.as_deref(), guess.kind),
        (Some("question"), Some("reply"), TaskKind::Generate)
    );
}

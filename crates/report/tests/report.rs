//! What every report must be: whole, self-contained, small, and safe whatever the data say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use eval::comparison::Comparison;
use report::{Items, Provenance, Report, Texts};
use task::example::{Example, Origin};
use task::predictor::TrainingRow;
use task::prompt::Rendered;
use task::record::{Answer, RunRecord};
use task::store::Event;

#[allow(dead_code, reason = "the records are those of the verdict's tests; not every test needs every one")]
#[path = "../../eval/tests/record/mod.rs"]
mod record;

fn example(id: &str, input: String, target: &str) -> Example {
    let origin = Origin { file: PathBuf::from("data/test.jsonl"), line: 7 };
    Example {
        id: id.to_owned(),
        input,
        target: target.to_owned(),
        subgroup: None,
        paraphrase: None,
        cluster: None,
        origin,
    }
}

/// A report whose items have inputs by `input` and prompts of `demonstrations` lines.
fn report(record: &RunRecord, input: impl Fn(usize) -> String, demonstrations: usize) -> Report {
    let finalists = record.finalists.as_ref().expect("the record is finished");
    let answered = record.experiments.iter().find(|e| e.id == finalists.in_context).expect("it is there");
    let examples: Vec<Example> = answered
        .predictions
        .iter()
        .enumerate()
        .map(|(index, prediction)| {
            let target = match prediction.answer {
                Answer::Label { gold, .. } => record.labels[gold].as_str(),
                Answer::Text { .. } => "the target",
            };
            example(&prediction.example, input(index), target)
        })
        .collect();
    let demonstration = |index: usize| format!("demonstration {} -> {}\n", index % 1000, "x".repeat(60));
    let request = |index: usize| {
        let shown: String = (0..demonstrations).map(|k| demonstration(index * 31 + k * 7)).collect();
        shown + &examples[index].input + " ->"
    };
    let prompts = Rendered { shared: String::new(), requests: (0..examples.len()).map(request).collect() };
    let row = |example: &Example| TrainingRow {
        prompt: format!("{} ->", example.input),
        completion: format!(" {}\n", example.target),
    };
    let rows = examples.iter().map(row).collect();
    let items = Items::new(record, Ok(Texts { examples: &examples, prompts: Some(prompts), rows }));
    let opened = Event {
        time: "2026-11-24T10:00:00.000Z".to_owned(),
        name: "test_opened".to_owned(),
        detail: serde_json::Value::Null,
    };
    Report {
        comparison: Comparison::from_record(record).expect("the record is sound"),
        items,
        provenance: Provenance {
            program: "weigh 0.1.0".to_owned(),
            settings: serde_json::json!({"budget": {"seconds": 90.0}}),
            events: vec![opened],
            ..Provenance::default()
        },
        timed: report::timed_requests(record),
    }
}

/// What stands between `start` and the next `end`, for every `start`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split_once(end)).map(|(inside, _)| inside).collect()
}

#[test]
fn a_page_has_everything_and_needs_nothing_else() {
    let report = report(&record::whole_run(), |index| format!("message {index}"), 4);
    let page = report::html(&report).expect("it is written");
    for part in
        ["verdict", "flip", "rows", "curves", "stability", "labels", "items", "experiments", "provenance"]
    {
        assert!(
            page.contains(&format!("<section id=\"{part}\""))
                || page.contains(&format!("id=\"{part}\" aria")),
            "{part}"
        );
    }
    for name in eval::table::ROWS {
        assert!(page.contains(&format!("<th scope=\"row\">{name}</th>")), "{name}");
    }
    for gate in ["Stable", "Long and expensive", "Enough data"] {
        assert!(page.contains(&format!("<span>{gate}</span>")), "{gate}");
    }
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page asks for something: {outside}");
    }
    assert!(page.contains("2026-11-24T10:00:00.000Z") && page.contains(&"ef".repeat(32)));
    assert!(!page.contains("{{") && !page.contains("{%"), "the template is filled in");
}

#[test]
fn prices_say_where_they_are_from() {
    let mut run = record::whole_run();
    assert!(
        !report::html(&report(&run, |_| String::new(), 0))
            .expect("it is written")
            .contains("<dt>Prices</dt>")
    );
    run.prices = Some(task::record::PriceSource {
        file: "prices.toml".to_owned(),
        model: "small".to_owned(),
        currency: Some("EUR".to_owned()),
        source: Some("the price page".to_owned()),
        read_on: Some("2026-11-01".to_owned()),
    });
    let page = report::html(&report(&run, |_| String::new(), 0)).expect("it is written");
    let words = "small in prices.toml, in EUR, from the price page, read on 2026-11-01";
    assert!(page.contains(&format!("<dt>Prices</dt><dd>{words}</dd>")), "the source of prices is named");
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let page = report::html(&report(&record::whole_run(), |_| "text".to_owned(), 1)).expect("it is written");
    let names = between(&page, " id=\"", "\"");
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len(), "ids are used once");
    let links = between(&page, "href=\"#", "\"");
    assert!(links.len() > 20, "cells and points lead to their experiments: {}", links.len());
    for link in links {
        assert!(unique.contains(link), "#{link}");
    }
}

#[test]
fn data_cannot_become_markup_or_script() {
    let mut run = record::whole_run();
    run.task.name = "<img src=x onerror=alert(1)>".to_owned();
    run.labels[0] = "</script><script>alert(2)</script>".to_owned();
    let page = report::html(&report(&run, |_| "</script><b>&".to_owned(), 1)).expect("it is written");
    assert!(!page.contains("<img"));
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("</script>").count(), 4, "two scripts and two blocks of data");
    for name in ["economics-data", "items-data"] {
        let data = between(&page, &format!("id=\"{name}\">"), "</script>");
        serde_json::from_str::<serde_json::Value>(data[0]).expect("the data are JSON");
    }
}

#[test]
fn prompts_in_a_page_are_those_of_the_items() {
    let report = report(&record::whole_run(), |index| format!("message {index}\nof two lines"), 5);
    let page = report::html(&report).expect("it is written");
    let data = between(&page, "id=\"items-data\">", "</script>")[0];
    let data: serde_json::Value = serde_json::from_str(data).expect("the data are JSON");
    let item = report.items.differing().next().expect("the arms differ");
    let packed = &data["items"][0];
    let lines = packed[5][0].as_array().expect("it has a prompt");
    let text: String = lines
        .iter()
        .map(|line| {
            line.as_u64().map_or(&packed[2], |line| &data["texts"][line as usize]).as_str().expect("a text")
        })
        .collect();
    assert_eq!(Some(text), item.prompt);
    assert_eq!(data["items"].as_array().map(Vec::len), Some(report.items.differing().count()));
}

#[test]
fn a_page_of_five_thousand_items_is_below_two_megabytes() {
    // Every second item differs; each prompt has 120 demonstrations out of 1,000, too many for all prompts to stand in the page.
    let run = record::duel(5000, |item| item % 2 == 0, |_| true, |item| item % 3 == 0);
    let report = report(&run, |index| format!("{index} {}", "a long message ".repeat(12)), 120);
    let page = report::html(&report).expect("it is written");
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("stand without their prompts"), "what is left out is said");
    let data = between(&page, "id=\"items-data\">", "</script>")[0];
    let data: serde_json::Value = serde_json::from_str(data).expect("the data are JSON");
    assert_eq!(data["items"].as_array().map(Vec::len), Some(2500), "all differing items are listed");
}

#[test]
fn where_all_of_five_thousand_items_differ_each_keeps_its_text_and_its_prompts() {
    let run = record::duel(5000, |_| false, |_| true, |item| item % 3 == 0);
    let report = report(&run, |index| format!("{index} {}", "a message ".repeat(11)), 0);
    let page = report::html(&report).expect("it is written");
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(!page.contains("stand without their prompts"), "none is left out");
}

#[test]
fn without_data_a_report_says_why() {
    let run = record::whole_run();
    let items = Items::new(&run, Err("the data cannot be read: gone".to_owned()));
    let report = Report { items, ..report(&run, |_| String::new(), 0) };
    let page = report::html(&report).expect("it is written");
    assert!(page.contains("the data cannot be read: gone"));
    assert!(report.items.differing().count() > 0, "answers are in the record");
}

#[test]
fn markdown_keeps_its_tables_whatever_the_data_say() {
    let report = report(&record::whole_run(), |_| "a | pipe\nand a line".to_owned(), 1);
    let text = report::markdown(&report);
    assert!(text.starts_with("## tickets: "), "{text}");
    assert!(text.contains("a \\| pipe and a line"));
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        assert!(line.ends_with('|'), "{line}");
    }
    for name in eval::table::ROWS {
        assert!(text.contains(&format!("| **{name}** |")), "{name}");
    }
}

#[test]
fn the_table_of_items_reads_back() {
    let report = report(&record::whole_run(), |index| format!("a \"quoted\", {index}\nline"), 1);
    let text = report::items_csv(&report).expect("it is written");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 120);
    assert_eq!(&rows[3][1], "a \"quoted\", 3\nline");
    let differs = rows.iter().filter(|row| &row[11] == "true").count();
    assert_eq!(differs, report.items.differing().count());
}

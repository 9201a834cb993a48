//! The page in a real browser: `cargo xtask browser` runs these with WEIGH_CHROMIUM set (and WEIGH_AXE, the path of axe.min.js).

use std::path::Path;
use std::process::Command;

use eval::comparison::Comparison;
use report::{Items, Provenance, Report, timed_requests};
use serde_json::{Value, json};
use task::date::months_between;
use task::record::{Economics, RunRecord, TimedRequest, TokensPerRequest};

#[allow(dead_code, reason = "the records are those of the verdict's tests; not every test needs every one")]
#[path = "../../eval/tests/record/mod.rs"]
mod record;

fn report(record: &RunRecord) -> Report {
    Report {
        comparison: Comparison::from_record(record).expect("the record is sound"),
        items: Items::new(record, Err("no data in this test".to_owned())),
        provenance: Provenance { program: "weigh".to_owned(), ..Provenance::default() },
        timed: timed_requests(record),
    }
}

/// Opens the page with `script` at its end and gives what that wrote into the element `result`.
fn open(page: &str, script: &str, flags: &[&str]) -> Value {
    let watch = "<head><script>window.faults = []; window.onerror = (message) => { window.faults.push(String(message)); };</script>";
    let tail = format!("<pre id=\"result\"></pre><script>{script}</script></body>");
    let page = page.replacen("<head>", watch, 1).replacen("</body>", &tail, 1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("page.html");
    task::atomic::write(&file, page.as_bytes()).expect("the page is written");
    let dom = dump(&file, flags);
    let (_, rest) = dom.split_once("<pre id=\"result\">").expect("the element is there");
    let (text, _) = rest.split_once("</pre>").expect("the element ends");
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn dump(file: &Path, flags: &[&str]) -> String {
    let chromium = std::env::var("WEIGH_CHROMIUM").expect("cargo xtask browser sets WEIGH_CHROMIUM");
    let output = Command::new(chromium)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"])
        .args(["--window-size=1200,2000"])
        .args(flags)
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a page is UTF-8")
}

/// The day of every decision here.
const TODAY: &str = "2026-11-24";

/// Times `requests` requests of both finalists of `record`, long and short ones, with and without a cached prefix.
fn time(record: &mut RunRecord, requests: usize) {
    let finalists = record.finalists.clone().expect("the record has finalists");
    for (id, longest) in [(finalists.in_context, 200), (finalists.fine_tune, 90)] {
        let experiment =
            record.experiments.iter_mut().find(|experiment| experiment.id == id).expect("is there");
        let request = |index: usize| TimedRequest {
            tokens: TokensPerRequest {
                prompt: (longest - index * 37 % 80) as f64,
                cached: [0.0, experiment.tokens.cached, experiment.tokens.cached][index % 3],
                completion: (1 + index % 6) as f64,
            },
            cold_seconds: 0.02,
            warm_seconds: 0.01,
        };
        experiment.calls.timed = (0..requests).map(request).collect();
    }
}

/// Volumes, prices and shutdowns of every kind: known, unknown, nothing, small and large.
fn economics(count: usize) -> Vec<Economics> {
    let mut state = 20_261_124_u64;
    let mut draw = move |from: &[Option<f64>]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from[(state >> 33) as usize % from.len()]
    };
    let prices = [None, Some(0.0), Some(0.05), Some(0.8), Some(3.0), Some(40.0)];
    // Months from today: past, before and after the task's life, far.
    let shutdowns = ["2026-11-01", "2026-12-04", "2027-09-01", "2031-01-31"];
    (0..count)
        .map(|_| Economics {
            requests_per_month: draw(&[None, Some(50.0), Some(4000.0), Some(2e5), Some(1e8)]),
            task_life_months: draw(&[None, Some(0.5), Some(12.0), Some(60.0)]),
            input_price: draw(&prices),
            cached_input_price: draw(&prices),
            output_price: draw(&prices),
            training_price: draw(&prices),
            tuned_multiplier: draw(&[None, Some(1.0), Some(1.5), Some(6.0)]),
            hosting_per_month: draw(&[None, Some(0.0), Some(20.0), Some(2000.0)]),
            price_per_label: draw(&prices),
            cache_write_price: draw(&prices),
            // The records' prompts have 40 to 200 tokens.
            cache_minimum_tokens: draw(&[None, Some(0.0), Some(100.0), Some(190.0), Some(1024.0)]),
            batch_multiplier: draw(&[None, Some(0.5)]),
            base_shutdown: draw(&[None, None, Some(0.0), Some(1.0), Some(2.0), Some(3.0)])
                .map(|index| shutdowns[index as usize].to_owned()),
            prices: None,
            priced_as: None,
        })
        .collect()
}

/// What the page's script is given for `economics`: its own keys, and the months until the shutdown.
fn given(economics: &Economics) -> Value {
    let mut given = json!(economics);
    given["base_months"] =
        economics.base_shutdown.as_deref().and_then(|day| months_between(TODAY, day)).into();
    given
}

fn close(left: &Value, right: &Value) -> bool {
    if let (Some(left), Some(right)) = (left.as_array(), right.as_array()) {
        return left.len() == right.len() && left.iter().zip(right).all(|(left, right)| close(left, right));
    }
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * left.abs().max(right.abs()),
        _ => left == right,
    }
}

#[test]
#[ignore = "needs a browser: cargo xtask browser"]
fn the_page_decides_as_the_program_does() {
    let mut records = vec![record::whole_run()];
    // In-context better, equivalent, undecided, and a floor that wins.
    records.push(record::duel(600, |item| item % 10 < 9, |item| item % 10 < 6, |item| item % 3 == 0));
    records.push(record::duel(900, |item| item % 10 < 8, |item| item % 10 < 8, |item| item % 3 == 0));
    records.push(record::duel(60, |item| item % 10 < 7, |item| item % 10 < 8, |item| item % 3 == 0));
    records.push(record::duel(300, |item| item % 10 < 7, |item| item % 10 < 8, |item| item % 10 < 9));
    let (mut intervals, mut open_intervals) = (0, 0);
    for (number, mut run) in records.into_iter().enumerate() {
        // The last one was not timed, the one before once only: no interval.
        time(&mut run, [24, 9, 2, 1, 0][number]);
        run.decided_on = Some(TODAY.to_owned());
        let drawn = economics(120);
        let page = report::html(&report(&run)).expect("it is written");
        let script = format!(
            "const facts = JSON.parse(document.getElementById('economics-data').textContent);
             document.getElementById('result').textContent =
               JSON.stringify({}.map(given => weigh.decide(facts, given)));",
            serde_json::to_string(&drawn.iter().map(given).collect::<Vec<_>>()).expect("prices are JSON")
        );
        let decided = open(&page, &script, &[]);
        for (given, page) in drawn.into_iter().zip(decided.as_array().expect("a list")) {
            run.economics = given;
            let program = Comparison::from_record(&run).expect("the record is sound");
            let verdict = json!(program.verdict);
            assert_eq!(page["choice"], verdict["choice"], "{:?}", run.economics);
            for gate in ["stable", "long_and_expensive", "enough_data"] {
                assert_eq!(
                    page["gates"][gate], verdict["gates"][gate]["state"],
                    "{gate}: {:?}",
                    run.economics
                );
            }
            let life = program.economics.life().map(|life| json!({ "months": life.months, "at_most": life.at_most, "ends_with_base": life.ends_with_base }));
            for key in ["months", "at_most", "ends_with_base"] {
                let life = life.as_ref().map_or(&Value::Null, |life| &life[key]);
                assert!(
                    close(&page["life"][key], life),
                    "{key}: {life} {} {:?}",
                    page["life"],
                    run.economics
                );
            }
            let found = program.economics.cases.iter().filter_map(|case| case.interval);
            for [_, high] in found {
                intervals += 1;
                open_intervals += usize::from(high.is_none());
            }
            let economics = json!(program.economics);
            assert_eq!(page["unit"], economics["unit"], "{:?}", run.economics);
            let cases = economics["cases"].as_array().expect("cases");
            assert_eq!(page["cases"].as_array().map(Vec::len), Some(cases.len()));
            for (left, right) in page["cases"].as_array().expect("cases").iter().zip(cases) {
                for key in [
                    "unit",
                    "cache",
                    "in_context",
                    "fine_tune",
                    "setup",
                    "payback",
                    "requests",
                    "months",
                    "interval",
                    "unknown",
                    "lower_bound",
                ] {
                    assert!(close(&left[key], &right[key]), "{key}: {left} {right} {:?}", run.economics);
                }
            }
        }
    }
    assert!(open_intervals > 0 && intervals > open_intervals, "{intervals} {open_intervals}: too few kinds");
}

#[test]
#[ignore = "needs a browser: cargo xtask browser"]
fn sliders_move_the_verdict_and_items_open() {
    let page = report::html(&report(&record::whole_run())).expect("it is written");
    let script = "
        const live = () => document.getElementById('live').textContent;
        const before = live();
        const slide = (key, value) => {
          const slider = document.getElementById('slide-' + key);
          slider.value = value; slider.dispatchEvent(new Event('input'));
        };
        slide('requests_per_month', 100); slide('task_life_months', -100);
        const after = live();
        const typed = document.getElementById('type-requests_per_month').value;
        [...document.querySelectorAll('#levers button')].pop().click();
        slide('base_months', -100);
        const shut = live();
        [...document.querySelectorAll('#levers button')].pop().click();
        const shown = document.querySelectorAll('#list > li').length;
        document.getElementById('words').value = 'EXAMPLE-001';
        document.getElementById('filters').dispatchEvent(new Event('input'));
        const fewer = document.querySelectorAll('#list > li').length;
        document.getElementById('result').textContent = JSON.stringify(
          {before, after, shut, typed, again: live(), shown, fewer, faults: window.faults, chart: !!document.querySelector('#cost svg')});";
    let seen = open(&page, script, &[]);
    assert_eq!(seen["faults"], json!([]));
    assert!(seen["before"].as_str().is_some_and(|text| text.starts_with("Train it.")), "{seen}");
    assert!(seen["after"].as_str().is_some_and(|text| text.starts_with("Prompt it.")), "{seen}");
    assert_eq!(seen["typed"], json!("10"));
    assert!(
        seen["shut"].as_str().is_some_and(|text| text.contains("until the base model’s shutdown")),
        "{seen}"
    );
    assert_eq!(seen["again"], seen["before"], "`As stored` puts everything back");
    assert_eq!(seen["chart"], json!(true));
    assert!(seen["shown"].as_u64() > seen["fewer"].as_u64() && seen["fewer"].as_u64() > Some(0), "{seen}");
}

#[test]
#[ignore = "needs a browser: cargo xtask browser"]
fn axe_finds_no_serious_fault() {
    let Ok(axe) = std::env::var("WEIGH_AXE") else {
        eprintln!("skipped: WEIGH_AXE is not the path of axe.min.js");
        return;
    };
    let axe = std::fs::read_to_string(axe).expect("axe.min.js can be read");
    let page = report::html(&report(&record::whole_run())).expect("it is written");
    let script = format!(
        "{axe}
         (async () => {{ document.querySelectorAll('details').forEach(details => {{ details.open = true; }}); await new Promise(done => setTimeout(done, 300));
         axe.run(document, {{ resultTypes: ['violations'] }}).then(found => {{
           document.getElementById('result').textContent = JSON.stringify(found.violations.map(fault =>
             ({{ id: fault.id, impact: fault.impact, nodes: fault.nodes.slice(0, 3).map(node => node.html.slice(0, 200)) }})));
         }}); }})();"
    );
    for flags in [&[][..], &["--blink-settings=preferredColorScheme=0"], &["--window-size=500,2000"]] {
        let faults = open(&page, &script.replace("</script", "<\\/script"), flags);
        let serious: Vec<&Value> = faults
            .as_array()
            .expect("a list")
            .iter()
            .filter(|fault| matches!(fault["impact"].as_str(), Some("serious" | "critical")))
            .collect();
        assert!(serious.is_empty(), "{flags:?}: {serious:#?}");
    }
}

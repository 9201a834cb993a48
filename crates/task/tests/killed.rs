//! A process that is killed loses nothing that it has committed, and its lock does not outlive it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use task::record::{Answer, Experiment, Family, Part, Prediction, Setup, TokensPerRequest};
use task::settings::Fingerprint;
use task::store::Store;

/// Where it is set, [`writer`] writes into that folder until it is killed.
const FOLDER: &str = "WEIGH_TEST_STORE_FOLDER";

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("dataset", "d")
}

fn experiment(number: usize) -> Experiment {
    Experiment {
        id: format!("e{number}"),
        family: Family::FineTune,
        method: "lora".to_owned(),
        labels_used: number,
        shots: None,
        seed: None,
        configuration: BTreeMap::new(),
        part: Part::Dev,
        predictions: (0..500)
            .map(|row| Prediction {
                example: format!("r{row}"),
                answer: Answer::Label {
                    gold: row % 7,
                    predicted: number % 7,
                    scores: vec![number as f32; 7],
                },
            })
            .collect(),
        tokens: TokensPerRequest::default(),
        setup: Setup::default(),
        seconds_per_request: 0.5,
        artefact: None,
        collapse: None,
        calls: Default::default(),
    }
}

/// The process that is killed: not a test of its own, it does nothing unless it is told to.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut store = Store::open(Path::new(&folder), &fingerprint()).unwrap();
    let mut out = std::io::stdout();
    for number in store.experiments().unwrap().len().. {
        assert!(store.put_timed(&experiment(number), 1.0).unwrap());
        store.log("done", &number).unwrap();
        writeln!(out, "committed {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts a writer, kills it after `lines` commits, and tells the last commit that it reported.
fn kill_after(lines: usize, folder: &Path) -> usize {
    let mut child = Command::new(std::env::current_exe().expect("a running program has a path"))
        .args(["writer", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test can start itself");
    let reader = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut last = None;
    let mut reported = 0;
    for line in reader.lines() {
        // The reader goes on after the kill, to what was reported before it.
        if let Some((_, number)) = line.expect("the writer writes text").split_once("committed ") {
            last = Some(number.trim().parse().expect("the writer writes numbers"));
            reported += 1;
            if reported == lines {
                child.kill().expect("the writer runs until it is killed");
            }
        }
    }
    assert!(!child.wait().expect("a child can be waited for").success(), "it was killed, it did not end");
    last.expect("it was killed after a commit")
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("t.weigh");
    for (kills_before, lines) in [1, 7, 20, 3].into_iter().enumerate() {
        let last = kill_after(lines, &run);
        let store = Store::open(&run, &fingerprint()).unwrap();
        let experiments = store.experiments().unwrap();
        assert!(experiments.len() > last, "{} of {last} are there", experiments.len());
        for (number, found) in experiments.iter().enumerate() {
            assert_eq!(*found, experiment(number));
        }
        // Seconds are in the experiment's own transaction: exactly one for each.
        assert_eq!(store.seconds().unwrap().1["fine_tune"], experiments.len() as f64);
        let events = store.events().unwrap().len();
        // A kill between an experiment and its event costs that event, since the next writer goes on behind the experiment.
        assert!(
            events + kills_before > last && events <= experiments.len(),
            "{events} events, {} experiments",
            experiments.len()
        );
    }
}

//! The task file: its reference, its defaults, and what is said of mistakes in it.

use std::path::{Path, PathBuf};

use task::record::{Decision, Economics};
use task::settings::{
    Calibration, FineTuneMethod, Metric, ModelSource, Order, Precision, PromptStyle, Selection, Settings,
    TaskKind, Underscores,
};
use task::task_file::{KEYS, Key, Kind, SECTIONS, TaskFile, json_schema, parse, reference};

fn load(text: &str) -> Result<Settings, String> {
    Settings::from_str(text, Path::new("")).map_err(|error| error.to_string())
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/task-file.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        task::atomic::write(&path, reference().as_bytes()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/task-file.md is old: UPDATE_DOCS=1 cargo test -p weigh-task");
}

#[test]
fn the_json_schema_is_up_to_date_and_accepts_the_demo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/weigh.schema.json");
    let made = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        task::atomic::write(&path, made.as_bytes()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/weigh.schema.json is old: cargo xtask generate");
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let valid = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        validator.is_valid(&serde_json::to_value(&table).unwrap())
    };
    assert!(valid(&std::fs::read_to_string(root.join("examples/demo/weigh.toml")).unwrap()));
    for wrong in [
        "[task]\nnmae = \"a\"",
        "[budget]\ntime = \"soon\"",
        "[decision]\nmargin = 0.0",
        "[in_context]\nshots = [-1]",
    ] {
        assert!(!valid(wrong), "{wrong}");
    }
}

#[test]
fn the_table_of_keys_and_the_code_have_the_same_defaults() {
    let mut text = String::new();
    for section in SECTIONS {
        text += &format!("[{}]\n", section.name);
        for key in KEYS.iter().filter(|key| key.section == section.name && !key.default.is_empty()) {
            text += &format!("{} = {}\n", key.name, key.default);
        }
    }
    assert_eq!(parse(&text, Path::new("")).unwrap(), TaskFile::default());
}

#[test]
fn the_table_of_keys_and_the_code_have_the_same_keys() {
    let code = serde_json::to_value(TaskFile::default()).unwrap();
    let mut named: Vec<String> = Vec::new();
    for (section, keys) in code.as_object().unwrap() {
        named.extend(keys.as_object().unwrap().keys().map(|key| format!("{section}.{key}")));
    }
    let mut listed: Vec<String> = KEYS.iter().map(|key| format!("{}.{}", key.section, key.name)).collect();
    named.sort();
    listed.sort();
    assert_eq!(named, listed);
    assert!(KEYS.iter().all(|key| SECTIONS.iter().any(|section| section.name == key.section)));
}

/// A value that each kind accepts, other than the defaults.
fn sample(key: &Key) -> String {
    match key.kind {
        Kind::Text | Kind::Path | Kind::Paths => "\"x\"".to_owned(),
        Kind::Schema => "{ type = \"object\" }".to_owned(),
        Kind::Texts => "[\"x\", \"y\"]".to_owned(),
        Kind::Flag => (key.default == "false").to_string(),
        Kind::Count(least) => (least + 1).to_string(),
        Kind::CountsOr(least, word) => format!("[{least}, \"{word}\"]"),
        Kind::Counts(least) => format!("[{least}, 7]"),
        Kind::Amount | Kind::Positive => "3".to_owned(),
        Kind::Positives => "[1, 0.5]".to_owned(),
        Kind::Shares => "[0.25, 0.5]".to_owned(),
        Kind::Between { low, high, .. } => ((low + high) / 2.0).to_string(),
        Kind::Duration => "\"1h30m\"".to_owned(),
        Kind::Choice(words) => format!("\"{}\"", words[words.len() - 1]),
        Kind::Choices(words) => format!("[\"{}\"]", words[words.len() - 1]),
    }
}

#[test]
fn every_key_is_read_by_the_code_and_refuses_a_wrong_type() {
    for key in KEYS {
        let text = format!("[{}]\n{} = {}\n", key.section, key.name, sample(key));
        let parsed = parse(&text, Path::new("")).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_ne!(parsed, TaskFile::default(), "{text}");
        let text = format!("[{}]\n{} = {{}}\n", key.section, key.name);
        let error = parse(&text, Path::new("t.toml")).unwrap_err().to_string();
        let (section, name, kind) = (key.section, key.name, key.kind.describe());
        assert_eq!(error, format!("t.toml:2: {section}.{name} must be {kind}, not a table"));
    }
}

#[test]
fn an_empty_task_file_has_every_default() {
    let settings = load("").unwrap();
    assert_eq!(settings.task.name, "weigh");
    assert_eq!(settings.task.kind, TaskKind::Classify);
    assert_eq!(settings.model.source, ModelSource::Embedded);
    assert_eq!(settings.model.precision, Precision::Bf16);
    assert_eq!(settings.data.label_underscores, Underscores::Space);
    assert_eq!((settings.data.dev_share, settings.data.test_share), (0.15, 0.2));
    assert_eq!(settings.prompt.style, PromptStyle::Plain);
    assert_eq!(settings.in_context.selection, [Selection::Random, Selection::Bm25]);
    assert_eq!(settings.in_context.order, Order::Similarity);
    assert_eq!(
        settings.in_context.calibration,
        [Calibration::None, Calibration::Contextual, Calibration::Batch]
    );
    assert_eq!(settings.fine_tune.alpha, 32.0);
    assert_eq!(settings.fine_tune.rates(FineTuneMethod::Full), [1e-4, 3e-5, 3e-4]);
    assert_eq!(
        [8, 16, 17, 64, 65, 256, 257].map(|rows| settings.fine_tune.epochs_for(rows)),
        [12, 12, 8, 6, 4, 3, 2]
    );
    assert_eq!(settings.budget.seconds, 600.0);
    assert_eq!((settings.decision, settings.economics), (Decision::default(), Economics::default()));
}

/// What versions before did not know is no fact of a run that leaves it as it is: such runs go on.
#[test]
fn kinds_of_adapters_are_facts_only_where_they_are_set() {
    let fingerprint = |text: &str| {
        let settings = Settings::from_str(text, Path::new("")).unwrap();
        (serde_json::to_value(settings.fingerprint()).unwrap(), settings)
    };
    for plain in ["", "[fine_tune]\nrank = 8"] {
        let (facts, settings) = fingerprint(plain);
        for name in ["variants", "targets", "ranks", "search_share", "hybrids"] {
            assert_eq!(facts.get(format!("fine_tune.{name}")), None, "{plain}");
        }
        assert_eq!(settings.fine_tune.ranks, [settings.fine_tune.rank, settings.fine_tune.rank / 4]);
    }
    let (facts, settings) = fingerprint(
        "[fine_tune]\nvariants = [\"dora\", \"pissa\", \"dora\"]\nranks = [2, 16]\nhybrids = [\"none\"]\nsearch_share = 0",
    );
    assert_eq!(facts["fine_tune.variants"], serde_json::json!(["dora", "pissa"]));
    assert_eq!(settings.fine_tune.ranks, [16, 2], "the rank itself comes first");
    assert!(settings.fine_tune.hybrids.is_empty() && settings.fine_tune.search_share == 0.0);
}

#[test]
fn what_is_written_is_resolved() {
    let text = "
        [task]
        name = \"support-intents\"
        instruction = \" Which queue? \"
        [data]
        train = [\"a.csv\", \"/b/c.jsonl\"]
        test = \"../t.jsonl\"
        [in_context]
        shots = [8, 0, 8]
        selection = [\"bm25\", \"random\", \"bm25\"]
        order = \"fixed\"
        [fine_tune]
        labels = [64, 16]
        rank = 4
        epochs = 5
        full_learning_rates = [1]
        [budget]
        time = \"1h30m\"
        [economics]
        requests_per_month = 200_000
    ";
    let settings = Settings::from_str(text, Path::new("folder")).unwrap();
    assert_eq!(settings.data.train, [PathBuf::from("folder/a.csv"), PathBuf::from("/b/c.jsonl")]);
    assert_eq!(settings.data.test, Some(PathBuf::from("folder/../t.jsonl")));
    assert_eq!(settings.task.instruction.as_deref(), Some("Which queue?"));
    assert_eq!(settings.in_context.shots, [0, 8]);
    assert_eq!(settings.in_context.selection, [Selection::Bm25, Selection::Random]);
    assert_eq!(settings.in_context.order, Order::Fixed);
    assert_eq!(settings.fine_tune.labels, [16, 64]);
    assert_eq!((settings.fine_tune.alpha, settings.fine_tune.epochs_for(1000)), (8.0, 5));
    assert_eq!(settings.fine_tune.rates(FineTuneMethod::Full), [1.0]);
    assert_eq!(settings.budget.seconds, 5400.0);
    assert_eq!(settings.economics.requests_per_month, Some(200_000.0));
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
}

#[test]
fn mistakes_are_named_with_line_and_key() {
    for (text, reason) in [
        ("[task\n", "1: unclosed table, expected `]`"),
        ("[task]\nname = \n", "2: string values must be quoted, expected literal string"),
        ("[task]\nname = \"a\"\nname = \"b\"\n", "3: duplicate key"),
        ("[tasks]\n", "1: unknown section [tasks]; did you mean [task]?"),
        ("\n[finetune]\n", "2: unknown section [finetune]; did you mean [fine_tune]?"),
        (
            "[zebra]\n",
            "1: unknown section [zebra]; there are: task, data, model, prompt, in_context, fine_tune, budget, probes, \
             decision, economics",
        ),
        ("train = \"a\"\n", "1: `train` stands outside a section: it belongs under [data]"),
        ("zebra = \"a\"\n", "1: `zebra` stands outside a section"),
        ("task = 3\n", "1: `task` must be a section: write [task] on a line of its own"),
        ("[[task]]\nname = \"a\"\n", "1: `task` must be a section: write [task] on a line of its own"),
        ("[data]\n\ntrian = \"a\"\n", "3: unknown key `trian` in [data]; did you mean `train`?"),
        ("[task]\ntrain = \"a\"\n", "2: unknown key `train` in [task]; it belongs under [data]"),
        ("[budget]\nxyz = 1\n", "2: unknown key `xyz` in [budget]; there are: time"),
        ("[data.extra]\na = 1\n", "1: unknown key `extra` in [data]; there are: "),
        ("[task]\nname = \" \"\n", "2: task.name must be a text, not an empty text"),
        ("[data]\ntest_share = 1.0\n", "2: data.test_share must be a number above 0 and below 1, not 1.0"),
        (
            "[data]\ntest_share = \"a\"\n",
            "2: data.test_share must be a number above 0 and below 1, not \"a\"",
        ),
        ("[data]\ntest_share = nan\n", "2: data.test_share must be a number above 0 and below 1, not nan"),
        ("[data]\ntrain = 3\n", "2: data.train must be a path or a list of paths, not 3"),
        ("[data]\nmax_rows = 0\n", "2: data.max_rows must be a whole number of at least 1, not 0"),
        (
            "[data]\nmax_rows = 99999999999\n",
            "2: data.max_rows must be a whole number of at least 1, not 99999999999",
        ),
        ("[data]\nlabels = []\n", "2: data.labels must be a list of texts, not an empty list"),
        ("[data]\nnear_duplicates = 1\n", "2: data.near_duplicates must be true or false, not 1"),
        (
            "[in_context]\nshots = [0,\n-1]\n",
            "2: in_context.shots must be a list of whole numbers of at least 0 or \"max\", not [0, -1]",
        ),
        (
            "[prompt]\nstyle = \"arow\"\n",
            "2: prompt.style must be one of \"plain\", \"arrow\", \"chat\", not \"arow\"; did you mean \"arrow\"?",
        ),
        (
            "[budget]\ntime = \"10 minutes\"\n",
            "2: budget.time must be a time such as \"90s\", \"10m\" or \"1h30m\", not \"10 minutes\"",
        ),
        (
            "[budget]\ntime = 10\n",
            "2: budget.time must be a time such as \"90s\", \"10m\" or \"1h30m\", not 10",
        ),
        ("[decision]\nmargin = 0\n", "2: decision.margin must be a number above 0 and below 1, not 0"),
        (
            "[economics]\ninput_price = -1\n",
            "2: economics.input_price must be a number of at least 0, not -1",
        ),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.starts_with(&format!("weigh.toml:{reason}")), "{text:?}\n{error}\n{reason}");
    }
}

#[test]
fn written_answers_have_metrics_and_a_schema() {
    let generate =
        load("[task]\nkind = \"generate\"\nmetric = \"chrf\"\nmetric_command = [\"score\", \"-x\"]\n")
            .unwrap();
    let answers = generate.task.answers.unwrap();
    assert_eq!(
        answers.metrics,
        [Metric::Chrf, Metric::Command, Metric::TokenF1, Metric::ExactMatch, Metric::RougeL]
    );
    let command = answers.command.unwrap();
    assert_eq!((command.words, command.timeout), (vec!["score".to_owned(), "-x".to_owned()], 60.0));
    assert_eq!(generate.in_context.calibration, [Calibration::None], "there are no label scores to correct");
    // A table and JSON text are the same schema, keys in the order written.
    let table = "[task]\nkind = \"extract\"\n[task.schema.properties.time]\ntype = \"string\"\n[task.schema.properties.date]\ntype = \"string\"\n";
    let text = "[task]\nkind = \"extract\"\nschema = '''{\"properties\": {\"time\": {\"type\": \"string\"}, \"date\": {\"type\": \"string\"}}}'''\n";
    let [table, text] = [table, text].map(|text| load(text).unwrap().task.answers.unwrap());
    assert_eq!(table, text);
    assert_eq!(table.metrics, [Metric::FieldF1, Metric::ExactMatch, Metric::Valid]);
    let schema = task::schema::Schema::new(table.schema.unwrap()).unwrap();
    assert_eq!(schema.keys(), ["time", "date"]);
}

#[test]
fn what_cannot_be_run_is_refused() {
    for (text, reason) in [
        (
            "[task]\nkind = \"extract\"\n",
            "kind \"extract\" needs task.schema: the JSON schema of the answers",
        ),
        (
            "[task]\nkind = \"generate\"\nmetric = \"field_f1\"\n",
            "task.metric = \"field_f1\" is not for kind \"generate\"",
        ),
        (
            "[task]\nkind = \"generate\"\nmetric = \"command\"\n",
            "task.metric is \"command\", but there is no task.metric_command",
        ),
        (
            "[task]\nmetric = \"chrf\"\n",
            "task.metric is for kinds \"extract\" and \"generate\"; labels are right or wrong",
        ),
        (
            "[task]\nkind = \"generate\"\n[data]\nlabels = [\"a\", \"b\"]\n",
            "data.labels is for kind \"classify\"",
        ),
        (
            "[model]\nsource = \"HuggingFaceTB/SmolLM2-135M\"\n",
            "model.source: there is no folder HuggingFaceTB/SmolLM2-135M; \"HuggingFaceTB/SmolLM2-135M\" looks like a \
             Hugging Face id, but nothing is downloaded: get its files (config.json, tokenizer.json, *.safetensors) and \
             name their folder",
        ),
        (
            "[model]\nsource = \"models/none.gguf\"\n",
            "model.source: there is no file or folder models/none.gguf",
        ),
        ("[model]\nsource = \"Cargo.toml\"\n", "model.source: Cargo.toml is a file but not a .gguf file"),
        (
            "[data]\ndev_share = 0.5\ntest_share = 0.5\n",
            "data.dev_share and data.test_share leave nothing to train on (together 1)",
        ),
        ("[data]\ninput = \"a\"\ntarget = \"a\"\n", "data.input and data.target are the same column `a`"),
    ] {
        assert_eq!(load(text).unwrap_err(), format!("weigh.toml: {reason}"));
    }
}

#[test]
fn a_file_is_read_relative_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickets.toml");
    task::atomic::write(&folder.path().join("m.GGUF"), b"GGUF").unwrap();
    let text = "\u{feff}[data]\ntrain = \"t.jsonl\"\n[model]\nsource = \"m.GGUF\"\n";
    task::atomic::write(&path, text.as_bytes()).unwrap();
    let settings = Settings::load(&path).unwrap();
    assert_eq!(settings.task.name, "tickets");
    assert_eq!(settings.data.train, [folder.path().join("t.jsonl")]);
    assert_eq!(settings.model.source, ModelSource::Gguf(folder.path().join("m.GGUF")));
    assert_eq!(settings.run_folder(), folder.path().join("tickets.weigh"));
    let error = |bytes: &[u8]| {
        task::atomic::write(&path, bytes).unwrap();
        Settings::load(&path).unwrap_err().to_string().replace(&path.display().to_string(), "T")
    };
    assert_eq!(
        error(b"[task]\n"),
        "T: data.train is not set: name a JSONL or CSV file of labelled rows under [data]"
    );
    assert_eq!(error(b"[task]\nname = \"\xff\"\n"), "T: not UTF-8 at byte 15");
    assert_eq!(error(&vec![b'#'; 2 << 20]), "T: 2097152 bytes are too many for a task file (limit 1048576)");
    let missing = Settings::load(&folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("none.toml: No such file"), "{missing}");
}

#[test]
fn the_fingerprint_tells_what_results_depend_on() {
    let base = load("[data]\ntrain = \"t.jsonl\"\n").unwrap();
    let same = "[task]\nname = \"other\"\n[data]\ntrain = \"t.jsonl\"\n[decision]\nmargin = 0.1\n[budget]\ntime = \"1h\"\n\
                [economics]\ninput_price = 3\n[in_context]\nseeds = 3\n";
    let moved = Settings::from_str(same, Path::new("elsewhere")).unwrap();
    assert_eq!(moved.fingerprint().sha256(), base.fingerprint().sha256());
    let other =
        load("[data]\ntrain = \"u.jsonl\"\n[in_context]\nseeds = 5\n[task]\ninstruction = \"Sort.\"\n")
            .unwrap();
    assert_ne!(other.fingerprint().sha256(), base.fingerprint().sha256());
    assert_eq!(
        other.fingerprint().changes_since(&base.fingerprint()),
        [
            "data.train was [\"t.jsonl\"], is [\"u.jsonl\"]",
            "in_context.seeds was 3, is 5",
            "task.instruction was not set, is \"Sort.\"",
        ]
    );
    let with_data = base.fingerprint().with("dataset", "abc");
    assert_ne!(with_data.sha256(), base.fingerprint().sha256());
}

#[test]
fn a_fingerprint_is_the_hash_of_canonical_json() {
    let fingerprint = task::settings::Fingerprint::default().with("b", "2").with("a", "1").with("b", "3");
    // printf '{"a":"1","b":"3"}' | sha256sum
    assert_eq!(fingerprint.sha256(), "3e9c2af6223465737521faef07f2af896ab12a1e5b0b8cbc41f47bdcee98b8ad");
}

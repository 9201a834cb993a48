//! The one table of sections and keys.

use super::kind::Kind;

/// A section of the task file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Name, without brackets.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub meaning: &'static str,
}

/// A key of the task file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its section.
    pub section: &'static str,
    /// Name.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The default as TOML; empty where the key is absent by default.
    pub default: &'static str,
    /// What it means, and what its absence means.
    pub meaning: &'static str,
}

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

const fn section(name: &'static str, meaning: &'static str) -> Section {
    Section { name, meaning }
}

/// All sections, in the order of the reference.
pub const SECTIONS: [Section; 10] = [
    section("task", "What is asked of the model."),
    section("data", "The labelled rows, how to read them, and how they are split."),
    section("model", "The model that both arms adapt."),
    section("prompt", "How an input becomes the text that the model is given."),
    section("in_context", "What the prompting arm tries."),
    section("fine_tune", "What the fine-tuning arm tries."),
    section("budget", "How long a run may take."),
    section(
        "probes",
        "What the finalists are asked beside the test set, to see how stable and how safe they are (docs/probes.md).",
    ),
    section("decision", "When a difference counts. To be set before any result is seen."),
    section(
        "economics",
        "Volume and prices, in one currency throughout. What is absent is unknown, never zero.",
    ),
];

const SHARE: Kind = Kind::Between { low: 0.0, high: 1.0, open: true };

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    key(
        "task",
        "name",
        Kind::Text,
        "",
        "Name in reports. Absent: the task file's name without its extension.",
    ),
    key(
        "task",
        "kind",
        Kind::Choice(&["classify", "extract", "generate"]),
        "\"classify\"",
        "Kind of answer: one label of a fixed set, JSON by a schema, or free text.",
    ),
    key(
        "task",
        "instruction",
        Kind::Text,
        "",
        "What the model is told to do. Absent: the system message of chat data, else a general sentence.",
    ),
    key(
        "task",
        "schema",
        Kind::Schema,
        "",
        "For `extract`, which needs it: the JSON schema of the answers, as a file, as JSON text that begins with `{`, or as a table `[task.schema]`. Answers, demonstrations and training rows have its keys in its order.",
    ),
    key(
        "task",
        "metric",
        Kind::Choice(&["exact_match", "token_f1", "rouge_l", "chrf", "field_f1", "command"]),
        "",
        "For `extract` and `generate`: what every choice and the verdict rest on, a score from 0 to 1 for each answer. `extract` has field_f1, exact_match and command; `generate` all but field_f1. Absent: command where there is a `metric_command`, else field_f1 for `extract` and token_f1 for `generate`. The others are reported too.",
    ),
    key(
        "task",
        "metric_command",
        Kind::Texts,
        "",
        "A program of your own as a metric, with its arguments, run without a shell in the task file's folder. It is given one JSON object `{\"id\", \"input\", \"target\", \"output\"}` a line on standard input and answers with one number from 0 to 1 a line, in the same order.",
    ),
    key(
        "task",
        "metric_timeout",
        Kind::Duration,
        "\"60s\"",
        "Time for one run of `metric_command`, which scores all answers of an experiment.",
    ),
    key(
        "task",
        "answer_tokens",
        Kind::Count(1),
        "",
        "For `extract` and `generate`: most tokens of an answer. Absent: half as many again as the longest target of train and dev has.",
    ),
    key(
        "data",
        "train",
        Kind::Paths,
        "",
        "Labelled rows: JSONL (one object a line, also chat `{\"messages\": [...]}`), CSV, TSV or Parquet. Needed for a run.",
    ),
    key("data", "dev", Kind::Path, "", "Rows on which every choice is made. Absent: a share of `train`."),
    key(
        "data",
        "test",
        Kind::Path,
        "",
        "Rows for the final figures, opened once. Absent: a share of `train`.",
    ),
    key(
        "data",
        "input",
        Kind::Text,
        "",
        "Column of the input. Absent: the first of input, text, question, prompt, message, query, utterance that is there.",
    ),
    key(
        "data",
        "target",
        Kind::Text,
        "",
        "Column of the label. Absent: the first of target, label, ideal, expected, expected_output, output, intent, class, category that is there.",
    ),
    key(
        "data",
        "id",
        Kind::Text,
        "",
        "Column of a stable, unique row name. Absent: rows are named by a hash of their content.",
    ),
    key(
        "data",
        "cluster",
        Kind::Text,
        "",
        "Column of the source that rows share (a customer, a document, a template). Rows of one source stay in one part of the split, and intervals count sources instead of rows. Absent: rows are independent.",
    ),
    key(
        "data",
        "subgroup",
        Kind::Text,
        "",
        "Column of a group (language, region, channel, ...): accuracy is reported for each. The model never sees it.",
    ),
    key(
        "data",
        "paraphrase",
        Kind::Text,
        "",
        "Column with the input in other words, for the paraphrase probe. Absent: inputs are rewritten by rules.",
    ),
    key(
        "data",
        "labels",
        Kind::Texts,
        "",
        "All labels, in the order wanted; a row with another one is an error. Absent: the labels found, sorted.",
    ),
    key(
        "data",
        "label_underscores",
        Kind::Choice(&["space", "keep"]),
        "\"space\"",
        "Whether underscores in labels are read as spaces (`card_arrival` as `card arrival`, which a model reads best) or kept.",
    ),
    key("data", "dev_share", SHARE, "0.15", "Share of `train` that becomes dev where no `dev` is given."),
    key("data", "test_share", SHARE, "0.2", "Share of `train` that becomes test where no `test` is given."),
    key(
        "data",
        "max_rows",
        Kind::Count(1),
        "",
        "Most rows of `train` to use, chosen by content hash. Absent: all.",
    ),
    key(
        "data",
        "near_duplicates",
        Kind::Flag,
        "true",
        "Whether rows that are nearly the same are kept in one part of the split (and out of train where dev or test have them).",
    ),
    key(
        "model",
        "source",
        Kind::Text,
        "\"embedded\"",
        "`embedded` (the small model inside the program), a folder in Hugging Face layout, or a `.gguf` file.",
    ),
    key(
        "model",
        "precision",
        Kind::Choice(&["bf16", "f32", "stored", "int8"]),
        "\"bf16\"",
        "Numeric type of the frozen weights. bf16 takes half the memory of f32. stored leaves the quantised weights of a GGUF file as they are, with the results of bf16 in a quarter of its memory or so; other weights are kept in bf16. int8 scores prompts in 8-bit integers and trains in bf16; a run says what that changes on some dev examples.",
    ),
    key(
        "model",
        "context",
        Kind::Count(16),
        "",
        "Cap on prompt and answer together, in tokens. Absent: what the model was made for.",
    ),
    key(
        "prompt",
        "style",
        Kind::Choice(&["plain", "arrow", "chat"]),
        "\"plain\"",
        "Layout: named lines, `input -> label` lines (what the embedded model was trained on), or the model's chat template.",
    ),
    key("prompt", "input_name", Kind::Text, "\"Input\"", "What the plain style calls the input."),
    key("prompt", "output_name", Kind::Text, "\"Output\"", "What the plain style calls the answer."),
    key(
        "prompt",
        "list_labels",
        Kind::Flag,
        "true",
        "Whether a line with all labels (for `extract`: with the schema's keys) follows an instruction that does not name them all.",
    ),
    key(
        "in_context",
        "shots",
        Kind::CountsOr(0, "max"),
        "[0, 4, 16, 64]",
        "Numbers of demonstrations to try; what does not fit the context or the training rows is left out. `\"max\"`: as many as fit.",
    ),
    key(
        "in_context",
        "seeds",
        Kind::Count(1),
        "3",
        "Random draws of demonstrations at each number of shots.",
    ),
    key(
        "in_context",
        "selection",
        Kind::Choices(&["random", "bm25", "embedding", "diverse", "hybrid"]),
        "[\"random\", \"bm25\"]",
        "How demonstrations are chosen (docs/prompting.md): `random`, balanced over labels; `bm25`, those most like each request in their words; `embedding`, in the model's hidden states; `diverse`, like the request and unlike each other; `hybrid`, a random block that all requests share and a few retrieved ones after it.",
    ),
    key(
        "in_context",
        "order",
        Kind::Choice(&["similarity", "fixed", "cycled"]),
        "\"similarity\"",
        "Order of demonstrations. `similarity`: of retrieved ones the most similar last, random ones as drawn. `fixed`: of retrieved ones one order for all requests (those that are retrieved most often first), so that what prompts begin with in common is computed once. `cycled`: in rounds over the labels, each round in the labels' order.",
    ),
    key(
        "in_context",
        "calibration",
        Kind::Choices(&["none", "contextual", "batch"]),
        "[\"none\", \"contextual\", \"batch\"]",
        "How label scores are corrected; the best is chosen on dev.",
    ),
    key(
        "in_context",
        "search",
        Kind::Flag,
        "true",
        "Whether instructions and formats are searched for on dev, around the best prompt so far, where the budget has room (docs/prompting.md).",
    ),
    key(
        "in_context",
        "search_share",
        SHARE,
        "0.4",
        "Share of the prompting arm's half of the budget that is kept for the search.",
    ),
    key(
        "in_context",
        "instructions",
        Kind::Texts,
        "",
        "Instructions of your own that the search tries beside `task.instruction`.",
    ),
    key(
        "fine_tune",
        "methods",
        Kind::Choices(&["lora", "full"]),
        "[\"lora\", \"full\"]",
        "Which weights are adapted: low-rank adapters on all linear layers, or everything.",
    ),
    key(
        "fine_tune",
        "labels",
        Kind::Counts(1),
        "[16, 64, 256, 1024]",
        "Numbers of labelled rows to train on. A number above the training rows stands for all of them.",
    ),
    key("fine_tune", "seeds", Kind::Count(1), "3", "Training runs at each number of labels."),
    key(
        "fine_tune",
        "learning_rates",
        Kind::Positives,
        "[1e-3, 3e-4, 3e-3]",
        "Peak learning rates to try for LoRA, in order of interest: where time is short, the first alone. The best is chosen on dev.",
    ),
    key(
        "fine_tune",
        "full_learning_rates",
        Kind::Positives,
        "",
        "Peak learning rates to try for full fine-tuning. Absent: a tenth of each of `learning_rates`.",
    ),
    key(
        "fine_tune",
        "epochs",
        Kind::Count(1),
        "",
        "Most passes over the training rows; a run stops early where dev no longer gains. Absent: 12 up to 16 rows, then 8 (32), 6 (64), 4 (128), 3 (256), 2.",
    ),
    key("fine_tune", "batch_rows", Kind::Count(1), "8", "Rows in an optimiser step."),
    key("fine_tune", "rank", Kind::Count(1), "16", "Rank of LoRA."),
    key(
        "fine_tune",
        "alpha",
        Kind::Positive,
        "",
        "LoRA's update is scaled by `alpha / rank`. Absent: twice the rank.",
    ),
    key(
        "fine_tune",
        "variants",
        Kind::Choices(&["plain", "rank_stabilized", "lora_plus", "dora", "pissa"]),
        "[\"plain\", \"lora_plus\", \"dora\"]",
        "Kinds of LoRA. The first is used at every number of labels; the others are tried by the search for a recipe.",
    ),
    key(
        "fine_tune",
        "targets",
        Kind::Choices(&["all", "attention", "mlp"]),
        "[\"all\"]",
        "Layers that get an adapter: all linear ones, attention's, or the feed-forward layer's. The first is used, the others are searched.",
    ),
    key(
        "fine_tune",
        "ranks",
        Kind::Counts(1),
        "",
        "Ranks that the search tries. Absent: `rank` and a quarter of it.",
    ),
    key(
        "fine_tune",
        "search_share",
        Kind::Between { low: 0.0, high: 1.0, open: false },
        "0.3",
        "Most of the arm's time that the search for a recipe (variant, layers, rank and learning rate, by successive halving on dev) may take, of what is left when everything else is planned. 0: no search.",
    ),
    key(
        "fine_tune",
        "hybrids",
        Kind::Choices(&["distilled", "few_shot", "virtual_tokens", "none"]),
        "[\"distilled\", \"few_shot\", \"virtual_tokens\"]",
        "Combinations of both arms, in what time is left: an adapter trained on the best prompt's answers, training after demonstrations, and a trained prompt.",
    ),
    key(
        "budget",
        "time",
        Kind::Duration,
        "\"10m\"",
        "Time for the whole run, what `probes.share` leaves split evenly between the arms: `90s`, `10m`, `1h30m`.",
    ),
    key(
        "probes",
        "share",
        Kind::Between { low: 0.0, high: 1.0, open: false },
        "0.1",
        "Share of `budget.time` that is kept for probes; what does not fit is left out and named. 0: no probes.",
    ),
    key(
        "probes",
        "items",
        Kind::Count(8),
        "64",
        "Most dev items that a probe asks; fewer where time is short.",
    ),
    key("probes", "formats", Kind::Count(2), "10", "Prompt formats to try beside the task's own."),
    key(
        "probes",
        "typo_rate",
        SHARE,
        "0.05",
        "Share of an input's letters that the typo probe changes; twice as many in a second round.",
    ),
    key(
        "probes",
        "swaps",
        Kind::Texts,
        "",
        "Words to exchange for each other, as in `[\"he/she\", \"Anna/Mehmet\"]`: how often an answer changes with them is reported.",
    ),
    key(
        "probes",
        "refusals",
        Kind::Path,
        "",
        "Questions of your own, one object `{\"text\": \"...\", \"harmful\": true}` a line (false: harmless, but close to what is refused), asked beside the built-in ones.",
    ),
    key(
        "probes",
        "label_noise",
        Kind::Shares,
        "",
        "Shares of labels to flip, such as `[0.1, 0.2]`: both finalists learn once more from training rows (or demonstrations) of which so many are wrong, which takes as long as they took. Absent: none.",
    ),
    key(
        "decision",
        "margin",
        SHARE,
        "0.02",
        "Smallest difference in accuracy that matters; smaller ones are called equivalent.",
    ),
    key(
        "decision",
        "confidence",
        Kind::Between { low: 0.5, high: 1.0, open: true },
        "0.95",
        "Confidence of intervals and of the verdict.",
    ),
    key(
        "decision",
        "early_stopping",
        Kind::Flag,
        "true",
        "Whether the test set may be left before its end once the finalists are told apart, by intervals that hold however often one looks. For answers that are right or wrong, from 100 test items on. `false` answers the whole test set.",
    ),
    key("economics", "requests_per_month", Kind::Amount, "", "Requests expected a month."),
    key(
        "economics",
        "task_life_months",
        Kind::Positive,
        "",
        "Months for which labels and inputs will stay as they are.",
    ),
    key(
        "economics",
        "input_price",
        Kind::Amount,
        "",
        "Price of a million prompt tokens that are not cached.",
    ),
    key("economics", "cached_input_price", Kind::Amount, "", "Price of a million cached prompt tokens."),
    key("economics", "output_price", Kind::Amount, "", "Price of a million completion tokens."),
    key("economics", "training_price", Kind::Amount, "", "Price of a million training tokens."),
    key(
        "economics",
        "tuned_multiplier",
        Kind::Positive,
        "",
        "Price of a tuned model's token over the base model's; 1 on own hardware.",
    ),
    key(
        "economics",
        "hosting_per_month",
        Kind::Amount,
        "",
        "Price a month of keeping a tuned model deployed.",
    ),
    key("economics", "price_per_label", Kind::Amount, "", "Price of labelling one example."),
    key(
        "economics",
        "cache_write_price",
        Kind::Amount,
        "",
        "Price of a million prompt tokens that are written to the cache. Absent: that of uncached ones.",
    ),
    key(
        "economics",
        "cache_minimum_tokens",
        Kind::Amount,
        "",
        "Prompts below so many tokens are not cached. Absent: every prompt may be.",
    ),
    key(
        "economics",
        "batch_multiplier",
        Kind::Positive,
        "",
        "Price of a request in a batch over that of one by itself.",
    ),
    key(
        "economics",
        "base_shutdown",
        Kind::Text,
        "",
        "Day on which the base model is shut down, and every adapter of it with it: `2027-01-14`.",
    ),
    key(
        "economics",
        "prices",
        Kind::Text,
        "",
        "A file of prices (TOML; docs/verdict.md, \"Prices\") that fills in what is not given here.",
    ),
    key("economics", "priced_as", Kind::Text, "", "Name of the model in that file. Absent: its only one."),
];

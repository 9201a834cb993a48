//! The text of a first task file, with a comment for every guess.

use std::path::Path;

use super::{DataFiles, Guess};
use crate::settings::TaskKind;

/// A commented task file for `guess`, to stand in `folder`. `schema` is the file of the schema, where there is one.
pub fn task_text(
    name: &str,
    guess: &Guess,
    files: &DataFiles,
    schema: Option<&Path>,
    folder: &Path,
) -> String {
    let mut out = String::from(
        "# Written by `weigh init`; everything here is a guess to look at. All keys: docs/task-file.md, or `weigh help task-file`.\n",
    );
    for reason in &guess.reasons {
        out += &format!("# - {}\n", reason.replace('\n', " "));
    }
    out += &format!("\n[task]\nname = {}\n", quoted(name));
    let kind = match guess.kind {
        TaskKind::Classify => "classify",
        TaskKind::Extract => "extract",
        TaskKind::Generate => "generate",
    };
    out += &format!(
        "{}# classify | extract (JSON by a schema) | generate (free text)\n",
        padded(&format!("kind = \"{kind}\""))
    );
    if let Some(instruction) = &guess.instruction {
        out += &format!("# Say it as you would to a new colleague.\ninstruction = {}\n", quoted(instruction));
    } else {
        out += "# instruction = \"...\"         # say it as you would to a new colleague\n";
    }
    if let Some(schema) = schema {
        out += &format!("schema = {}\n", quoted(&relative(schema, folder)));
    }
    out += "\n[data]\n";
    out += &format!("train = {}\n", quoted(&relative(&files.train, folder)));
    for (key, file) in [("dev", &files.dev), ("test", &files.test)] {
        if let Some(file) = file {
            out += &format!("{key} = {}\n", quoted(&relative(file, folder)));
        }
    }
    if files.test.is_none() {
        out +=
            "test_share = 0.2              # split off and locked by content hash; opened once, at the end\n";
    }
    for (key, column) in [("input", &guess.input), ("target", &guess.target), ("id", &guess.id)] {
        if let Some(column) = column {
            out += &format!("{key} = {}\n", quoted(column));
        }
    }
    out + "
[model]
source = \"embedded\"            # the small model inside the program; a folder or a .gguf file of a real one does better
# source = \"models/SmolLM2-135M-Instruct.Q4_1.gguf\"

[prompt]
style = \"arrow\"                # for the embedded model; \"plain\" or \"chat\" for a real one

[budget]
time = \"10m\"                   # half for each arm; `weigh run --dry-run` says what fits

[decision]                     # set before any result is seen
margin = 0.02                  # differences below two points do not matter

[economics]                    # what is not given is unknown, never zero
# requests_per_month = 200_000
# task_life_months = 12
# input_price = 0.15           # a million prompt tokens
# output_price = 0.60          # a million answer tokens
"
}

fn padded(text: &str) -> String {
    format!("{text:<30} ")
}

/// A TOML text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `path` as the task file in `folder` writes it.
fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

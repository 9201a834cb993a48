//! Which columns hold the input and the label.

use crate::settings::DataSettings;
use crate::task_file::nearest;

/// Names of an input's column, most telling first.
pub(crate) const INPUT_NAMES: [&str; 7] =
    ["input", "text", "question", "prompt", "message", "query", "utterance"];
/// Names of a label's column, most telling first.
pub(crate) const TARGET_NAMES: [&str; 9] =
    ["target", "label", "ideal", "expected", "expected_output", "output", "intent", "class", "category"];

/// The columns that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) input: String,
    pub(crate) target: String,
    pub(crate) id: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) subgroup: Option<String>,
    pub(crate) paraphrase: Option<String>,
    /// Columns that could have been meant as well.
    pub(crate) doubts: Vec<String>,
}

impl Columns {
    /// Finds the columns among `names`.
    pub(crate) fn find(names: &[&str], settings: &DataSettings) -> Result<Self, String> {
        let mut doubts = Vec::new();
        let input = column(names, settings.input.as_deref(), "input", &INPUT_NAMES, &mut doubts)?;
        let target = column(names, settings.target.as_deref(), "target", &TARGET_NAMES, &mut doubts)?;
        let optional = |wanted: &Option<String>, key| {
            wanted.as_deref().map(|wanted| given(names, wanted, key)).transpose()
        };
        Ok(Self {
            input,
            target,
            id: optional(&settings.id, "id")?,
            cluster: optional(&settings.cluster, "cluster")?,
            subgroup: optional(&settings.subgroup, "subgroup")?,
            paraphrase: optional(&settings.paraphrase, "paraphrase")?,
            doubts,
        })
    }
}

fn column(
    names: &[&str],
    wanted: Option<&str>,
    key: &str,
    aliases: &[&str],
    doubts: &mut Vec<String>,
) -> Result<String, String> {
    if let Some(wanted) = wanted {
        return given(names, wanted, key);
    }
    let mut found =
        aliases.iter().filter_map(|alias| names.iter().find(|name| name.trim().eq_ignore_ascii_case(alias)));
    let Some(first) = found.next() else {
        return Err(format!("no column is named like the {key}; set data.{key} to one of: {}", list(names)));
    };
    if let Some(other) = found.next() {
        doubts.push(format!(
            "the {key} is read from `{first}`; `{other}` could be meant too: set data.{key} to be sure"
        ));
    }
    Ok((*first).to_owned())
}

fn given(names: &[&str], wanted: &str, key: &str) -> Result<String, String> {
    if names.contains(&wanted) {
        return Ok(wanted.to_owned());
    }
    let near = nearest(wanted, names.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(format!("no column `{wanted}` (data.{key}); there are: {}{hint}", list(names)))
}

/// Names for a message, not more than a line of them.
fn list(names: &[&str]) -> String {
    const MOST: usize = 12;
    let mut text = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(", ...");
    }
    text
}

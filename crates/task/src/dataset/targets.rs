//! Targets: cleaned and checked, by the kind of answer.

use super::labels;
use crate::Error;
use crate::schema::Schema;
use crate::settings::{PromptStyle, Settings};

/// Cleans the targets of a task.
pub(super) enum Cleaner {
    /// Labels.
    Labels(labels::Cleaner),
    /// Free text, in a prompt of this style.
    Text(PromptStyle),
    /// JSON by a schema.
    Json(Box<Schema>),
}

impl Cleaner {
    /// The cleaner for `settings`.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let Some(answers) = &settings.task.answers else {
            return Ok(Self::Labels(labels::Cleaner::new(&settings.data)?));
        };
        match &answers.schema {
            None => Ok(Self::Text(settings.prompt.style)),
            Some(schema) => {
                let schema = Schema::new(schema.clone())
                    .map_err(|reason| Error::Data(format!("task.schema: {reason}")))?;
                Ok(Self::Json(Box::new(schema)))
            }
        }
    }

    /// A target as it is used.
    pub(super) fn clean(&self, raw: &str) -> Result<String, String> {
        match self {
            Self::Labels(labels) => labels.clean(raw),
            Self::Json(schema) => schema.canonical(raw),
            Self::Text(style) => clean_text(raw, *style),
        }
    }

    /// The list of labels; none where answers are texts.
    pub(super) fn labels<'a>(&self, found: impl Iterator<Item = &'a str>) -> Vec<String> {
        match self {
            Self::Labels(labels) => labels.labels(found),
            Self::Text(_) | Self::Json(_) => Vec::new(),
        }
    }

    /// What the split keeps in proportion: the label, or nothing.
    pub(super) fn stratum<'a>(&self, target: &'a str) -> &'a str {
        match self {
            Self::Labels(_) => target,
            Self::Text(_) | Self::Json(_) => "",
        }
    }

    pub(super) fn has_labels(&self) -> bool {
        matches!(self, Self::Labels(_))
    }
}

/// A text trimmed, with plain newlines. What would look like the end of an answer in a prompt of that style is refused: the model
/// could never give such an answer.
fn clean_text(raw: &str, style: PromptStyle) -> Result<String, String> {
    let text = raw.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
    let blank = text.split('\n').any(|line| line.trim().is_empty());
    match style {
        PromptStyle::Arrow if text.contains('\n') => {
            Err("the target has more than one line, and a newline ends an answer in the arrow style; \
                 set prompt.style to \"plain\" or \"chat\""
                .to_owned())
        }
        PromptStyle::Plain if blank => {
            Err("the target has an empty line, which ends an answer in the plain style; \
             set prompt.style to \"chat\""
                .to_owned())
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_a_style_cannot_end_are_refused() {
        assert_eq!(clean_text(" a\r\nb ", PromptStyle::Plain).unwrap(), "a\nb");
        assert!(clean_text("a\n\nb", PromptStyle::Plain).unwrap_err().contains("empty line"));
        assert!(clean_text("a\nb", PromptStyle::Arrow).unwrap_err().contains("more than one line"));
        assert_eq!(clean_text("a\n\nb", PromptStyle::Chat).unwrap(), "a\n\nb");
    }
}

//! Expected texts are written out by hand from the table in the module's documentation.

use super::*;

fn labels() -> Vec<String> {
    ["card arrival", "lost card"].map(str::to_owned).to_vec()
}

fn format(style: PromptStyle) -> PromptFormat {
    let prompt = PromptSettings { style, list_labels: false, ..PromptSettings::default() };
    PromptFormat::from_parts(&prompt, Some("Sort the message."), &labels())
}

const DEMONSTRATIONS: [(&str, &str); 2] =
    [("where is it?", "card arrival"), ("  I lost\r\nit ", "lost card")];

#[test]
fn plain_text_is_exact() {
    let rendered = format(PromptStyle::Plain)
        .render("Sort the message.", &DEMONSTRATIONS, &[" has it\rcome? \n", "x"])
        .unwrap();
    assert_eq!(
        rendered.shared,
        "Sort the message.\n\n\
         Input: where is it?\nOutput: card arrival\n\n\
         Input: I lost\nit\nOutput: lost card\n\n"
    );
    assert_eq!(rendered.requests, ["Input: has it\ncome?\nOutput:", "Input: x\nOutput:"]);
}

#[test]
fn arrow_text_is_exact_and_has_no_instruction() {
    let rendered =
        format(PromptStyle::Arrow).render("Sort the message.", &DEMONSTRATIONS, &["a\r\nb\nc"]).unwrap();
    assert_eq!(rendered.shared, "where is it? -> card arrival\nI lost it -> lost card\n");
    assert_eq!(rendered.requests, ["a b c ->"]);
}

#[test]
fn an_answer_ends_a_demonstration_as_it_ends_a_request() {
    for style in [PromptStyle::Plain, PromptStyle::Arrow] {
        let format = format(style);
        assert_eq!(format.answers(&labels()).unwrap(), [" card arrival\n", " lost card\n"]);
        let one = format.render_shared("", &[("a", "lost card")]);
        assert!(one.starts_with(&(format.render_query("a") + &format.answer("lost card"))), "{one}");
    }
}

#[test]
fn a_training_row_is_the_zero_shot_prompt() {
    for style in [PromptStyle::Plain, PromptStyle::Arrow] {
        let format = format(style);
        let row = format.training_row("", " a ", "lost card").unwrap();
        assert_eq!(row.prompt, format.render_query("a"));
        assert_eq!(row.completion, " lost card\n");
        let rendered = format.render("Sort.", &[], &["a"]).unwrap();
        let row = format.training_row("Sort.", "a", "lost card").unwrap();
        assert_eq!(row.prompt, rendered.shared + &rendered.requests[0]);
    }
}

#[test]
fn labels_are_listed_only_where_the_instruction_does_not_name_them() {
    let prompt = PromptSettings::default();
    let of = |instruction| PromptFormat::from_parts(&prompt, instruction, &labels()).instruction().to_owned();
    assert_eq!(of(Some("Card arrival or lost card?")), "Card arrival or lost card?");
    assert_eq!(of(Some("Card arrival?")), "Card arrival?\nLabels: card arrival, lost card");
    assert_eq!(of(None), format!("{GENERAL_INSTRUCTION}\nLabels: card arrival, lost card"));
    let silent = PromptSettings { list_labels: false, ..prompt };
    assert_eq!(
        PromptFormat::from_parts(&silent, Some("Sort."), &labels()).instruction(),
        "Sort.",
        "list_labels = false"
    );
}

/// ChatML as SmolLM2 and Qwen write it, default system message included.
fn chatml(messages: &[ChatMessage]) -> Result<String, PredictError> {
    let mut text = String::new();
    if messages[0].role != Role::System {
        text.push_str("<|im_start|>system\nBe helpful.<|im_end|>\n");
    }
    for message in messages {
        text += &format!("<|im_start|>{}\n{}<|im_end|>\n", message.role.as_str(), message.content);
    }
    if messages.last().is_some_and(|message| message.role == Role::User) {
        text.push_str("<|im_start|>assistant\n");
    }
    Ok(text)
}

#[test]
fn chat_goes_through_the_template_and_shares_all_before_the_input() {
    let format = format(PromptStyle::Chat).with_template(Arc::new(chatml));
    let rendered = format.render("Sort.", &[("a", "lost card")], &["same b", "same c"]).unwrap();
    assert_eq!(
        rendered.shared,
        "<|im_start|>system\nSort.<|im_end|>\n<|im_start|>user\na<|im_end|>\n\
         <|im_start|>assistant\nlost card<|im_end|>\n<|im_start|>user\n"
    );
    assert_eq!(rendered.requests[0], "same b<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(format.answers(&labels()).unwrap()[1], "lost card<|im_end|>\n");
    let row = format.training_row("", "a", "lost card").unwrap();
    assert!(row.prompt.starts_with("<|im_start|>system\nBe helpful.<|im_end|>\n"), "{}", row.prompt);
    assert_eq!(row.completion, "lost card<|im_end|>\n");
}

#[test]
fn chat_shares_nothing_wrong_where_the_beginning_depends_on_the_input() {
    let upside_down = |messages: &[ChatMessage]| -> Result<String, PredictError> {
        Ok(messages.iter().rev().map(|message| message.content.clone() + "|").collect())
    };
    let format = format(PromptStyle::Chat).with_template(Arc::new(upside_down));
    let rendered = format.render("Sort.", &[], &["é1", "è2"]).unwrap();
    assert_eq!(
        rendered,
        Rendered { shared: String::new(), requests: vec!["é1|Sort.|".into(), "è2|Sort.|".into()] }
    );
}

#[test]
fn chat_without_a_template_is_an_error_that_says_what_to_do() {
    let error = format(PromptStyle::Chat).render("Sort.", &[], &["a"]).unwrap_err().to_string();
    assert_eq!(error, "prompt.style is \"chat\" but the model has no chat template; set it to \"plain\"");
}

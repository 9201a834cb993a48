//! Chat templates against transformers (`fixtures/scripts/formats_chat.py`).

use std::time::Duration;

use lm::Error;
use lm::chat::{ChatTemplate, Message};

use super::json;

fn user(content: &str) -> Vec<Message> {
    vec![Message::new("user", content)]
}

fn render(template: &str) -> Result<String, Error> {
    ChatTemplate::new(template)?.render(&user("hi"), false, None, None)
}

#[test]
fn renders_what_transformers_renders() {
    let fixture = json("formats_chat.json");
    let mut texts = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let template = ChatTemplate::new(fixture["templates"][name].as_str().unwrap()).unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let generate = case["generate"].as_bool().unwrap();
        let found = template.render(&messages, generate, Some("<s>"), Some("</s>"));
        match (case["text"].as_str(), found) {
            (Some(expected), Ok(found)) => {
                assert_eq!(found, expected, "{name}: {messages:?}");
                texts += 1;
            }
            (None, Err(Error::Template(reason))) => {
                let expected = case["error"].as_str().unwrap();
                assert!(messages.is_empty() || reason.contains(expected), "{reason} for {expected}");
            }
            (expected, found) => panic!("{name} {messages:?}: {found:?} for {expected:?}"),
        }
    }
    assert_eq!(texts, 62);
}

#[test]
fn the_date_is_that_of_the_clock() {
    let template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}").unwrap();
    let fixed = template.clone().with_clock(Duration::from_secs(1_753_531_199));
    assert_eq!(fixed.render(&user("x"), false, None, None).unwrap(), "26 Jul 2025");
    assert_eq!(template.render(&user("x"), false, None, None).unwrap().len(), 11);
}

#[test]
fn tokens_that_are_absent_print_nothing() {
    assert_eq!(render("[{{ bos_token }}{{ eos_token }}]").unwrap(), "[]");
}

#[test]
fn a_template_that_does_not_parse_is_refused() {
    for template in ["{% for x in %}", "{{ a", "{% endif %}", "{% include 'x' %}{% frobnicate %}"] {
        assert!(matches!(ChatTemplate::new(template), Err(Error::Template(_))), "{template}");
    }
    assert!(ChatTemplate::new(&"x".repeat(2 << 20)).is_err());
    assert!(
        ChatTemplate::new(&format!("{}1{}", "{{ ".to_owned() + &"(".repeat(5000), ")".repeat(5000))).is_err()
    );
}

#[test]
fn time_depth_and_output_are_bounded() {
    let forever = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let deep = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}";
    let long = "{% set ns = namespace(s='0123456789') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}";
    let wide = "{% for i in range(90000) %}{{ messages[0].content * 100 }}{% endfor %}";
    for template in [forever, deep, long, wide] {
        let started = std::time::Instant::now();
        let compiled = ChatTemplate::new(template).unwrap();
        let error = compiled.render(&user(&"x".repeat(10_000)), false, None, None).unwrap_err();
        assert!(matches!(error, Error::Template(_)), "{error:?}");
        // Not a claim about speed: an unbounded one would never end.
        assert!(started.elapsed() < Duration::from_secs(60), "{template}");
    }
}

#[test]
fn a_template_reaches_no_file() {
    for template in ["{% include '/etc/hostname' %}", "{% extends 'x' %}", "{% import 'x' as y %}"] {
        assert!(render(template).is_err(), "{template}");
    }
}

#[test]
fn text_of_messages_is_not_run_as_a_template() {
    let template = ChatTemplate::new("{{ messages[0].content }}").unwrap();
    let text = "{{ 1 + 1 }} {% raw %} <b>&amp;";
    assert_eq!(template.render(&user(text), false, None, None).unwrap(), text);
}

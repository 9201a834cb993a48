//! Constrained decoding with the embedded model, which knows nothing of JSON: every answer is valid all the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod embedded;

use embedded::embedded;
use lm::Use;
use lm::score::{Constraint, Guide, Scorer};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

fn booking() -> Value {
    json!({
        "type": "object",
        "properties": {
            "time": {"type": "string"},
            "people": {"type": "integer"},
            "seat": {"enum": ["inside", "outside"]},
            "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}},
                       "required": ["name"], "additionalProperties": false}}
        },
        "required": ["seat"],
        "additionalProperties": false
    })
}

/// Whether a text is an answer: a space, then compact JSON with a seat and nothing that the schema does not know.
fn assert_answer(text: &str) {
    let body = text.strip_prefix(' ').unwrap_or_else(|| panic!("no lead: {text:?}"));
    let value: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{body}: {error}"));
    let object = value.as_object().unwrap();
    assert!(matches!(object["seat"].as_str(), Some("inside" | "outside")), "{body}");
    assert!(object.keys().all(|key| ["time", "people", "seat", "guests"].contains(&key.as_str())), "{body}");
    assert!(object.get("people").is_none_or(Value::is_number), "{body}");
    assert!(!body.contains("\": ") && !body.ends_with('\n'), "{body}");
}

#[test]
fn the_embedded_model_writes_valid_json_at_every_limit() {
    let model = embedded(Use::Frozen);
    let constraint = Constraint::new(&model.tokenizer, &booking(), " ", "\n").unwrap();
    let prompts: Vec<Vec<u32>> = ["a table for nine outside ->", "where is my parcel ->", "{ ->"]
        .iter()
        .map(|text| model.tokenizer.encode(text).unwrap())
        .collect();
    let scorer = Scorer::new(&model.transformer, None);
    for limit in [1, 2, 5, 17, 60] {
        let mut guides: Vec<_> = prompts.iter().map(|_| constraint.guide(limit)).collect();
        let answers = scorer.generate_guided(None, &prompts, &mut guides).unwrap();
        for answer in answers {
            assert!(answer.len() <= limit + Constraint::ROOM);
            assert_answer(&model.tokenizer.decode(&answer, false).unwrap());
        }
    }
}

#[test]
fn random_logits_give_valid_json() {
    let model = embedded(Use::Frozen);
    let constraint = Constraint::new(&model.tokenizer, &booking(), " ", "\n").unwrap();
    let mut random = rand_pcg::Pcg64::seed_from_u64(3);
    for limit in [0, 3, 8, 20, 50, 90] {
        for _ in 0..5 {
            let mut guide = constraint.guide(limit);
            let mut answer = Vec::new();
            loop {
                let logits: Vec<f32> = (0..model.config.vocabulary)
                    .map(|_| random.next_u32() as f32 / u32::MAX as f32)
                    .collect();
                let Some(token) = guide.next(&logits).unwrap() else { break };
                answer.push(token);
                if guide.is_complete() {
                    break;
                }
            }
            assert_answer(&model.tokenizer.decode(&answer, false).unwrap());
        }
    }
}

#[test]
fn a_schema_that_cannot_be_enforced_is_refused() {
    let model = embedded(Use::Frozen);
    let schema = json!({"type": "object", "not": {"required": ["a"]}});
    let error = Constraint::new(&model.tokenizer, &schema, "", "\n").unwrap_err().to_string();
    assert!(error.contains("JSON schema"), "{error}");
}

//! Whole comparisons of records made by hand.

mod record;

use eval::Error;
use eval::comparison::Comparison;
use eval::contrast::Outcome;
use eval::economics::{Cache, Payback, Unit};
use eval::gates::State;
use eval::table::ROWS;
use eval::verdict::Choice;
use proptest::prelude::*;
use record::{duel, tuned, whole_run};
use task::record::{Answer, Economics, Part, Prediction, RunRecord, Setup, Terms, TokensPerRequest, Work};

fn compare(record: &RunRecord) -> Comparison {
    Comparison::from_record(record).expect("the record is whole")
}

/// Changes the label that was predicted.
fn predict(prediction: &mut Prediction, label: usize) {
    if let Answer::Label { predicted, .. } = &mut prediction.answer {
        *predicted = label;
    }
}

/// Changes the true label.
fn set_gold(prediction: &mut Prediction, label: usize) {
    if let Answer::Label { gold, .. } = &mut prediction.answer {
        *gold = label;
    }
}

#[test]
fn a_whole_comparison_is_the_stored_one() {
    let mut json = serde_json::to_value(compare(&whole_run())).expect("a comparison is JSON");
    round(&mut json);
    insta::assert_json_snapshot!(json);
}

/// Rounds every number to nine digits: the last bits of logarithms differ between machines.
fn round(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(round),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(round),
        serde_json::Value::Number(number) if number.is_f64() => {
            let rounded =
                format!("{:.8e}", number.as_f64().expect("is a float")).parse::<f64>().expect("is a number");
            *value = rounded.into();
        }
        _ => {}
    }
}

#[test]
fn verdicts_read_as_stored() {
    let mut volume = worked(1700);
    volume.economics.requests_per_month = Some(20_000.0);
    volume.economics.task_life_months = Some(12.0);
    let cases = [
        (
            "fine-tuned, nothing known of cost",
            duel(400, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 3 == 0),
        ),
        ("fine-tuned, worth it", volume),
        ("fine-tuned, prompt too short", worked(100)),
        ("in-context", duel(400, |item| item % 5 > 0, |item| item % 5 > 1, |item| item % 3 == 0)),
        (
            "equivalent",
            duel(600, |item| item % 5 > 0, |item| item % 5 > 0 || item == 0, |item| item % 3 == 0),
        ),
        ("undecided", duel(100, |item| item % 4 > 0, |item| item % 5 > 0, |item| item % 3 == 0)),
        ("floor", duel(400, |item| item % 5 > 1, |item| item % 5 > 1, |item| item % 5 > 0)),
        ("whole run", whole_run()),
    ];
    let mut text = String::new();
    for (name, record) in cases {
        let verdict = compare(&record).verdict;
        text += &format!("{name}: {:?}\n", verdict.choice);
        for (gate, state) in verdict.gates.named() {
            text += &format!("  {gate} {:?}: {}\n", state.state, state.reason);
        }
        verdict.reasons.iter().for_each(|reason| text += &format!("  because {reason}\n"));
        verdict.flips_if.iter().for_each(|flip| text += &format!("  flips if {flip}\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_json_contract_holds() {
    let json = serde_json::to_value(compare(&whole_run())).expect("a comparison is JSON");
    for key in ["task", "model", "arms", "table", "contrast", "verdict", "wall_seconds"] {
        assert!(!json[key].is_null(), "{key}");
    }
    for key in
        ["id", "family", "method", "labels_used", "shots", "seed", "metrics", "tokens_per_request", "setup"]
    {
        assert!(json["arms"][0].as_object().expect("an arm is an object").contains_key(key), "{key}");
    }
    for metric in ["accuracy", "macro_f1"] {
        for end in ["value", "low", "high"] {
            assert!(json["arms"][0]["metrics"][metric][end].is_f64(), "{metric} {end}");
        }
    }
    let rows: Vec<&str> =
        json["table"].as_array().expect("rows").iter().filter_map(|row| row["row"].as_str()).collect();
    assert_eq!(rows, ROWS);
    for gate in ["stable", "long_and_expensive", "enough_data"] {
        assert!(json["verdict"]["gates"][gate]["state"].is_string(), "{gate}");
    }
    let back: Comparison = serde_json::from_value(json).expect("reads back");
    assert_eq!(back, compare(&whole_run()));
}

/// The record has 60 and 120 seconds: half of the larger one.
#[test]
fn uneven_budgets_are_said() {
    let mut record = whole_run();
    record.work_by_family.insert("in_context".to_owned(), Work { tokens: 12_345, flops: 2e9 });
    let budgets = compare(&record).budgets;
    assert_eq!((budgets.difference, budgets.even()), (Some(0.5), Some(false)));
    assert_eq!(budgets.in_context.work.map(|work| work.tokens), Some(12_345));
    let text = budgets.sentences();
    assert!(text.contains("12,345 tokens") && text.contains("more than 20"), "{text}");
    record.seconds_by_family.insert("in_context".to_owned(), 100.0);
    assert_eq!(compare(&record).budgets.even(), Some(true));
    record.seconds_by_family.clear();
    assert_eq!(compare(&record).budgets.even(), None);
}

#[test]
fn cells_are_measured_or_say_why_not() {
    let mut bare = whole_run();
    bare.seconds_by_family.clear();
    for experiment in &mut bare.experiments {
        experiment.artefact = None;
    }
    for record in [whole_run(), bare] {
        for row in compare(&record).table {
            for cell in [row.in_context, row.fine_tune] {
                assert_eq!(cell.value.is_null(), cell.text.is_empty(), "{}: {cell:?}", row.row);
                assert!(!cell.value.is_null() || cell.reason.is_some(), "{}: {cell:?}", row.row);
            }
        }
    }
}

#[test]
fn the_data_row_reads_observed_points_only() {
    let comparison = compare(&whole_run());
    let cell = &comparison.table[4].fine_tune;
    assert_eq!(cell.value["labels_to_reach"], 64);
    let mut weak = whole_run();
    for experiment in weak.experiments.iter_mut().filter(|e| e.id.starts_with("fine_tune")) {
        experiment.predictions.iter_mut().for_each(|answer| predict(answer, 0));
    }
    let cell = &compare(&weak).table[4].fine_tune;
    assert!(cell.value["labels_to_reach"].is_null() && cell.text.contains("not reached"), "{}", cell.text);
}

#[test]
fn collapsed_runs_are_counted_and_search_is_paid_for() {
    let comparison = compare(&whole_run());
    let effort = comparison.economics.fine_tune.effort;
    assert_eq!((effort.trials, effort.collapsed, effort.labels), (7, 1, 64));
    // Three runs on 16 rows and three on 64, 8 x 34 tokens a row, each counted once although answered on dev and on test.
    assert_eq!(effort.tokens, 3 * (16 + 64) * 8 * 34);
    // Two calibrations of one prompt are one prompt: zero-shot (10 tokens), two of 4 shots (90), two of 8 (170).
    let effort = comparison.economics.in_context.effort;
    assert_eq!((effort.trials, effort.tokens), (5, 10 + 2 * 90 + 2 * 170));
    let point =
        comparison.curves.iter().find(|curve| curve.method == "lora").expect("is a curve").points[1].clone();
    assert_eq!((point.at, point.seeds, point.runs, point.collapsed), (64, 3, 4, 1));
}

#[test]
fn a_curve_on_dev_takes_the_best_setting_of_each_seed() {
    let mut record = duel(100, |item| item % 4 > 0, |item| item % 5 > 0, |_| false);
    for (labels, rate, right) in [(16, 0.001, 20), (16, 0.01, 30), (16, 0.1, 10), (64, 0.001, 45)] {
        let id = format!("fine_tune/lora/n{labels}/lr{rate}/s0@dev");
        record.experiments.push(tuned(&id, labels, 0, 60, |item| item < right));
    }
    let comparison = compare(&record);
    let curve = comparison.curves.iter().find(|curve| curve.method == "lora").expect("is a curve");
    // Test has one point only, so the curve shows dev; n = 64 went on to test, and n = 16 is its best learning rate.
    assert_eq!(curve.part, Part::Dev);
    let shown: Vec<(usize, f64, usize)> = curve.points.iter().map(|p| (p.at, p.score, p.runs)).collect();
    assert_eq!(shown, [(16, 0.5, 3), (64, 0.75, 1)]);
}

// ---- economics

/// Worked case of the method's notes: a fine-tune of 10,000 rows of 60 tokens for three epochs at 3 a million is 5.40; the model's prices are
/// 0.15, 0.075 and 0.60 a million, a tuned token costs twice as much; a query of 60 tokens and an answer of 10.
fn worked(prefix: u64) -> RunRecord {
    let mut record = duel(400, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 3 == 0);
    record.economics = Economics {
        input_price: Some(0.15),
        cached_input_price: Some(0.075),
        output_price: Some(0.60),
        training_price: Some(3.0),
        tuned_multiplier: Some(2.0),
        hosting_per_month: Some(0.0),
        price_per_label: Some(0.0),
        ..Economics::default()
    };
    let [prompt, tuned, _] = &mut record.experiments[..] else {
        unreachable!("a duel has three experiments")
    };
    prompt.tokens =
        TokensPerRequest { prompt: prefix as f64 + 60.0, cached: prefix as f64, completion: 10.0 };
    prompt.artefact.as_mut().expect("a prompt has one").prompt_tokens = prefix;
    prompt.setup = Setup::default();
    tuned.tokens = TokensPerRequest { prompt: 60.0, cached: 0.0, completion: 10.0 };
    tuned.setup.tokens = 1_800_000;
    record
}

fn requests(record: &RunRecord, cache: Cache) -> (Payback, Option<f64>) {
    let economics = compare(record).economics;
    assert_eq!(economics.unit, Unit::Money);
    let case = economics.deciding().find(|case| case.cache == cache).expect("is counted").clone();
    assert!(case.unknown.is_empty() && !case.lower_bound, "{case:?}");
    (case.payback, case.requests)
}

#[test]
fn break_even_is_the_worked_case_of_the_method() {
    // 450 tokens -> 103k calls; 1,700 cached -> 48k; 1,700 uncached -> 22.5k; 44k cached -> 1.6k; 100 tokens -> never.
    let cases = [
        (450, Cache::Cold, 102_857.14),
        (1700, Cache::Warm, 48_000.0),
        (1700, Cache::Cold, 22_500.0),
        (44_000, Cache::Warm, 1643.84),
    ];
    for (prefix, cache, expected) in cases {
        let (payback, found) = requests(&worked(prefix), cache);
        assert_eq!(payback, Payback::After);
        assert!((found.expect("is finite") - expected).abs() < 0.01, "{prefix}: {found:?}");
    }
    assert_eq!(requests(&worked(100), Cache::Cold), (Payback::Never, None));
}

#[test]
fn the_never_threshold_is_the_formula_of_the_method() {
    // P r <= (m - 1)(x + rho y) + m P_ft = 60 + 4 x 10 = 100: 200 cached tokens at half price, 100 uncached ones.
    let economics = compare(&worked(450)).economics;
    let threshold = |cache| {
        economics.deciding().find(|case| case.cache == cache).and_then(|case| case.never_up_to_prefix)
    };
    assert!((threshold(Cache::Warm).expect("is known") - 200.0).abs() < 1e-9);
    assert!((threshold(Cache::Cold).expect("is known") - 100.0).abs() < 1e-9);
    assert_eq!(requests(&worked(199), Cache::Warm).0, Payback::Never);
    assert_eq!(requests(&worked(201), Cache::Warm).0, Payback::After);
}

#[test]
fn hosting_is_shared_by_the_requests_of_a_month() {
    let mut record = worked(1700);
    record.economics.hosting_per_month = Some(10.0);
    record.economics.requests_per_month = Some(1_000_000.0);
    // 1,600 tokens at 0.15 a million saved, less 10 / 1e6: 5.40 / (2.4e-4 - 1e-5).
    let (_, found) = requests(&record, Cache::Cold);
    assert!((found.expect("is finite") - 5.4 / 2.3e-4).abs() < 0.01, "{found:?}");
}

#[test]
fn unknown_prices_are_named_and_bound_the_break_even() {
    let mut record = worked(1700);
    record.economics.hosting_per_month = None;
    record.economics.tuned_multiplier = None;
    record.economics.requests_per_month = Some(1e6);
    record.economics.task_life_months = Some(12.0);
    let comparison = compare(&record);
    let case = comparison.economics.main().expect("is counted");
    assert_eq!(case.unknown, ["hosting_per_month", "tuned_multiplier"]);
    assert!(case.lower_bound && case.payback == Payback::After);
    let gate = &comparison.verdict.gates.long_and_expensive;
    assert_eq!(gate.state, State::Undecided, "a lower bound cannot promise");
    assert!(gate.reason.contains("at least") && gate.reason.contains("hosting_per_month"), "{}", gate.reason);

    record.economics.requests_per_month = Some(100.0);
    assert_eq!(
        compare(&record).verdict.gates.long_and_expensive.state,
        State::No,
        "a lower bound can exclude"
    );

    record.economics.training_price = None;
    let economics = compare(&record).economics;
    assert_eq!(economics.unit, Unit::FullPriceTokens, "without a training price money has no break-even");
    let money = economics.cases.iter().find(|case| case.unit == Unit::Money).expect("is shown all the same");
    assert_eq!((money.payback, money.setup), (Payback::Unknown, None));
}

#[test]
fn without_prices_tokens_and_operations_agree() {
    let comparison = compare(&whole_run());
    let economics = &comparison.economics;
    assert_eq!(economics.unit, Unit::FullPriceTokens);
    let case = |unit, cache| {
        economics.cases.iter().find(|c| c.unit == unit && c.cache == cache).expect("is counted")
    };
    // Cold: 200 + 4 tokens against 30 + 4. Setup: 3 (16 + 64) 8 x 34 tokens at 4e6, less 530 at 2e6, over 2e6 a token.
    let setup = 2.0 * 65_280.0 - 530.0;
    let cold = case(Unit::FullPriceTokens, Cache::Cold);
    assert_eq!((cold.in_context, cold.fine_tune, cold.setup), (204.0, 34.0, Some(setup)));
    assert!((cold.requests.expect("is finite") - setup / 170.0).abs() < 1e-9);
    assert_eq!(cold.requests, case(Unit::Flops, Cache::Cold).requests);
    // Warm: the prefix costs nothing, so the tuned request saves nothing.
    assert_eq!(case(Unit::FullPriceTokens, Cache::Warm).payback, Payback::Never);
    assert_eq!(case(Unit::Flops, Cache::Warm).payback, Payback::Never);
    assert_eq!(comparison.verdict.gates.long_and_expensive.state, State::Undecided, "cold and warm disagree");
}

#[test]
fn without_a_price_of_cached_tokens_the_warm_case_stays_open() {
    let mut record = worked(1700);
    record.economics.cached_input_price = None;
    record.economics.requests_per_month = Some(1e6);
    record.economics.task_life_months = Some(12.0);
    let comparison = compare(&record);
    assert!(!comparison.economics.both_caches());
    assert_eq!(comparison.economics.in_context.money_warm, None);
    let gate = &comparison.verdict.gates.long_and_expensive;
    assert_eq!(gate.state, State::Undecided, "{}", gate.reason);
    assert!(gate.reason.contains("the price of cached tokens is not given"), "{}", gate.reason);
}

#[test]
fn a_cheaper_setup_pays_back_at_once() {
    let mut record = worked(1700);
    record.economics.training_price = Some(0.0);
    let comparison = compare(&record);
    assert_eq!(requests(&record, Cache::Warm), (Payback::AtOnce, Some(0.0)));
    assert_eq!(comparison.verdict.gates.long_and_expensive.state, State::Yes);
    assert_eq!(comparison.verdict.gates.stable.state, State::Yes);
}

#[test]
fn odd_records_give_finite_results() {
    let mut empty_model = whole_run();
    empty_model.model.parameters = 0;
    let mut free = whole_run();
    free.experiments.iter_mut().for_each(|experiment| {
        experiment.setup = Setup::default();
        experiment.tokens = TokensPerRequest::default();
    });
    let mut free_prompts = worked(1700);
    free_prompts.economics.input_price = Some(0.0);
    let mut one_item = duel(1, |_| true, |_| false, |_| true);
    one_item.seconds_by_family.insert("fine_tune".to_owned(), 0.0);
    for record in [empty_model, free, free_prompts, one_item, worked(0)] {
        let comparison = compare(&record);
        // A number that is not finite becomes null, and does not read back as a number.
        let text = serde_json::to_string(&comparison).expect("a comparison is JSON");
        assert_eq!(serde_json::from_str::<Comparison>(&text).expect("every number is finite"), comparison);
    }
}

// ---- verdict

#[test]
fn fine_tuned_better_and_no_gate_closed_is_fine_tune() {
    let comparison = compare(&duel(400, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 3 == 0));
    assert_eq!(comparison.contrast.outcome, Outcome::FineTuneBetter);
    assert_eq!(comparison.verdict.choice, Choice::FineTune);
    assert_eq!(comparison.verdict.gates.enough_data.state, State::Yes);
    assert!(comparison.verdict.reasons[0].contains("20.0 points better"), "{:?}", comparison.verdict.reasons);
    assert!(!comparison.verdict.flips_if.is_empty());
}

#[test]
fn a_closed_gate_keeps_the_prompt_and_says_what_opens_it() {
    let verdict = compare(&worked(100)).verdict;
    assert_eq!((verdict.choice, verdict.gates.long_and_expensive.state), (Choice::InContext, State::No));
    assert!(
        verdict.reasons.iter().any(|reason| reason.contains("the prompt's 100 tokens")),
        "{:?}",
        verdict.reasons
    );
    assert!(verdict.flips_if.iter().any(|flip| flip.contains("beyond 200 tokens")), "{:?}", verdict.flips_if);
    assert!(
        verdict.flips_if.iter().any(|flip| flip.contains("20.0 points better")),
        "{:?}",
        verdict.flips_if
    );

    let mut short = worked(1700);
    short.economics.requests_per_month = Some(1000.0);
    short.economics.task_life_months = Some(6.0);
    let verdict = compare(&short).verdict;
    assert_eq!((verdict.choice, verdict.gates.stable.state), (Choice::InContext, State::No));
    assert!(verdict.gates.stable.reason.contains("48 months"), "{}", verdict.gates.stable.reason);
    short.economics.task_life_months = Some(60.0);
    assert_eq!(compare(&short).verdict.choice, Choice::FineTune);
}

#[test]
fn in_context_better_is_in_context() {
    let comparison = compare(&duel(400, |item| item % 5 > 0, |item| item % 5 > 1, |item| item % 3 == 0));
    assert_eq!(comparison.contrast.outcome, Outcome::InContextBetter);
    assert_eq!(comparison.verdict.choice, Choice::InContext);
    assert_eq!(comparison.verdict.gates.enough_data.state, State::No);
}

#[test]
fn equal_answers_are_equivalent_and_name_the_default() {
    let comparison =
        compare(&duel(600, |item| item % 5 > 0, |item| item % 5 > 0 || item == 0, |item| item % 3 == 0));
    assert_eq!(comparison.contrast.outcome, Outcome::Equivalent);
    assert_eq!(comparison.verdict.choice, Choice::Equivalent);
    assert!(
        comparison.verdict.reasons.iter().any(|r| r.contains("start with in-context")),
        "{:?}",
        comparison.verdict.reasons
    );
}

#[test]
fn a_small_test_set_is_undecided_and_says_how_many_items_would_do() {
    let comparison = compare(&duel(100, |item| item % 4 > 0, |item| item % 5 > 0, |item| item % 3 == 0));
    assert_eq!(comparison.contrast.outcome, Outcome::Undecided);
    assert_eq!(comparison.verdict.choice, Choice::Undecided);
    // 20 wins and 15 losses of 100: disagreement 35.5 / 101; 7.84888 x (0.35149 - 0.0004) / 0.0004 = 6,889.1.
    let needed = comparison.contrast.items_needed.expect("is undecided");
    assert_eq!(needed.for_margin, Some(6890));
    assert_eq!(needed.more, Some(6790));
    assert!(
        comparison.verdict.reasons.iter().any(|reason| reason.contains("6,890 test items")),
        "{:?}",
        comparison.verdict.reasons
    );
}

#[test]
fn a_floor_that_is_as_good_wins() {
    let comparison = compare(&duel(400, |item| item % 5 > 1, |item| item % 5 > 1, |item| item % 5 > 0));
    assert_eq!(comparison.verdict.choice, Choice::Floor);
    let floor = comparison.floor_contrast.expect("has a floor");
    assert!(floor.wins && (floor.difference.value - 0.2).abs() < 1e-12 && floor.low > 0.0, "{floor:?}");
    // As good on few items is not known to be as good.
    let few = compare(&duel(30, |item| item % 5 > 0, |item| item % 5 > 0, |item| (item + 1) % 5 > 0));
    assert_ne!(few.verdict.choice, Choice::Floor);
    let named = |comparison: &Comparison| {
        comparison.verdict.reasons.iter().any(|reason| reason.contains("not shown to be better than a floor"))
    };
    assert!(named(&few), "{:?}", few.verdict.reasons);
    // A floor that is right on a fifth of 400 items is nobody's rival.
    let far = compare(&duel(400, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 5 > 3));
    assert!(!named(&far), "{:?}", far.verdict.reasons);
}

#[test]
fn a_floor_needs_both_the_estimate_and_the_bound() {
    // One item of 2,000 worse than both arms: surely within the margin, but worse.
    let worse =
        compare(&duel(2000, |item| item % 5 > 0, |item| item % 5 > 0, |item| item % 5 > 0 && item != 1));
    let floor = worse.floor_contrast.expect("has a floor");
    assert!(floor.difference.low > -0.02 && floor.difference.value < 0.0 && floor.is_open(), "{floor:?}");
    // The same answers as the better arm, but against the other one, which fails elsewhere, the bound is below the margin.
    let other = |item: usize| item % 5 < 4 && item != 0;
    let apart = compare(&duel(400, |item| item % 5 > 0, other, |item| item % 5 > 0));
    let floor = apart.floor_contrast.expect("has a floor");
    assert!(floor.against.starts_with("in_context") && floor.difference.value == 0.0, "{floor:?}");
    assert!(floor.low < -0.02 && !floor.wins, "{floor:?}");
}

#[test]
fn a_difference_that_other_runs_may_turn_round_is_undecided() {
    // 4 points on the same 2,000 items, one run each: sure of these two, but two single runs are known to 2.5 points each, which
    // with Student's t(8) = 2.306 is 8.2 points.
    let comparison = compare(&duel(2000, |item| item % 25 > 5, |item| item % 25 > 4, |item| item % 25 > 20));
    let contrast = &comparison.contrast;
    assert_eq!((contrast.of_finalists, contrast.outcome), (Outcome::FineTuneBetter, Outcome::Undecided));
    let difference = contrast.replication.difference;
    let items = contrast.difference.value - contrast.difference.low;
    let expected = 0.04 - (items.powi(2) + 2.0 * (2.306 * 0.025f64).powi(2)).sqrt();
    assert!((difference.low - expected).abs() < 1e-4, "{difference:?} {expected}");
    // (1.96^2 x 2 x 0.025^2) / (0.04^2 - items^2), a little over 3.
    assert_eq!(contrast.replication.runs_needed, Some(4));
    assert_eq!(comparison.verdict.choice, Choice::Undecided);
    let reasons = comparison.verdict.reasons.join("; ");
    assert!(reasons.contains("over 1 draw and 1 seed the difference is 4.0 points"), "{reasons}");
    let gate = &comparison.verdict.gates.enough_data.reason;
    assert!(gate.contains("other draws and seeds may turn it round"), "{gate}");
    assert!(
        comparison.verdict.flips_if[0].contains("about 4 draws and as many seeds"),
        "{:?}",
        comparison.verdict.flips_if
    );
}

#[test]
fn a_margin_that_was_set_after_the_test_set_was_opened_is_said() {
    let mut record = duel(400, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 5 > 3);
    record.terms = Some(Terms { decision: record.decision.clone(), ..Terms::default() });
    let said = |record: &RunRecord| {
        compare(record)
            .verdict
            .reasons
            .into_iter()
            .find(|reason| reason.contains("after the test set was opened"))
    };
    assert_eq!(said(&record), None);
    record.decision.margin = 0.05;
    assert_eq!(
        said(&record).as_deref(),
        Some("set after the test set was opened: the margin (2.0 points then)")
    );
}

#[test]
fn a_floor_that_other_runs_may_overtake_leaves_the_verdict_open() {
    // 2 points ahead of the better finalist, which has one run: 0.02 - t(4) 2.132 x 0.025 lies below minus the margin.
    let comparison = compare(&duel(2000, |item| item % 50 > 30, |item| item % 50 > 10, |item| item % 50 > 9));
    let floor = comparison.floor_contrast.expect("has a floor");
    assert!(floor.difference.low > 0.0 && floor.is_open(), "{floor:?}");
    assert_eq!(comparison.contrast.outcome, Outcome::FineTuneBetter);
    assert_eq!(comparison.verdict.choice, Choice::Undecided);
    let reasons = comparison.verdict.reasons.join("; ");
    assert!(reasons.contains("40.0 points better on test") && reasons.contains("costs least"), "{reasons}");
}

#[test]
fn a_record_without_a_floor_is_compared() {
    let mut record = duel(100, |item| item % 4 > 0, |item| item % 5 > 0, |_| false);
    record.experiments.pop();
    record.finalists.as_mut().expect("has finalists").floor.clear();
    assert!(compare(&record).floor_contrast.is_none());
}

// ---- errors

fn refused(change: impl FnOnce(&mut RunRecord)) -> Error {
    let mut record = duel(10, |_| true, |_| true, |_| true);
    change(&mut record);
    Comparison::from_record(&record).expect_err("the record is broken")
}

#[test]
fn broken_records_are_refused_by_name() {
    assert_eq!(refused(|r| r.finalists = None), Error::TestNotOpened);
    let unknown =
        refused(|r| r.finalists.as_mut().expect("has finalists").fine_tune = "nobody@test".to_owned());
    assert_eq!(unknown.to_string(), "the fine-tuned finalist `nobody@test` is not in the record");
    let family = refused(|r| {
        r.finalists.as_mut().expect("has finalists").fine_tune = "floor/majority/n64@test".to_owned()
    });
    assert!(matches!(family, Error::WrongFamily { .. }));
    assert!(matches!(refused(|r| r.experiments[1].part = Part::Dev), Error::NotOnTest { .. }));
    assert!(matches!(
        refused(|r| r.experiments.push(r.experiments[0].clone())),
        Error::DuplicateExperiment { .. }
    ));
    assert!(matches!(refused(|r| r.experiments[2].predictions.clear()), Error::NoPredictions { .. }));
    assert!(matches!(refused(|r| r.experiments[0].seconds_per_request = f64::NAN), Error::Quantity { .. }));
    assert!(matches!(refused(|r| r.decision.margin = 0.0), Error::Decision { key: "margin", .. }));
    assert!(matches!(refused(|r| r.decision.confidence = 1.0), Error::Decision { key: "confidence", .. }));
    assert!(matches!(
        refused(|r| r.economics.input_price = Some(-1.0)),
        Error::Economics { key: "input_price", .. }
    ));
}

#[test]
fn bad_predictions_are_refused_by_example() {
    let missing = refused(|r| drop(r.experiments[1].predictions.pop()));
    assert_eq!(
        missing.to_string(),
        "`in_context/random/k8/s0/batch@test` answers example `example-0009`, `fine_tune/lora/n64/lr0.001/s0@test` does not: they \
         cannot be paired"
    );
    let more = refused(|r| drop(r.experiments[0].predictions.remove(3)));
    assert!(
        more.to_string().starts_with("`fine_tune/lora/n64/lr0.001/s0@test` answers example `example-0003`"),
        "{more}"
    );
    let twice = refused(|r| r.experiments[0].predictions[1].example = "example-0000".to_owned());
    assert!(matches!(twice, Error::DuplicateExample { .. }));
    let range = refused(|r| predict(&mut r.experiments[0].predictions[4], 3));
    assert_eq!(
        range.to_string(),
        "experiment `in_context/random/k8/s0/batch@test`, example `example-0004`: label 3 of 3"
    );
    let gold = refused(|r| set_gold(&mut r.experiments[1].predictions[4], 0));
    assert!(matches!(gold, Error::GoldDiffers { .. }));
    let dev = refused(|r| {
        for (seed, gold) in [(1, 0), (2, 1)] {
            let mut trial = tuned(&format!("fine_tune/lora/n8/s{seed}@dev"), 8, seed, 4, |_| true);
            set_gold(&mut trial.predictions[0], gold);
            r.experiments.push(trial);
        }
    });
    assert_eq!(
        dev.to_string(),
        "`fine_tune/lora/n8/s1@dev` and `fine_tune/lora/n8/s2@dev` disagree about the true label of example `example-0000`"
    );
}

// ---- order

static WHOLE: std::sync::OnceLock<Comparison> = std::sync::OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_storage_does_not_matter(seed in any::<u64>()) {
        let original = whole_run();
        let expected = WHOLE.get_or_init(|| compare(&original));
        let mut shuffled = original.clone();
        let mut state = seed | 1;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for index in (1..shuffled.experiments.len()).rev() {
            shuffled.experiments.swap(index, below(index + 1));
        }
        for experiment in &mut shuffled.experiments {
            for index in (1..experiment.predictions.len()).rev() {
                experiment.predictions.swap(index, below(index + 1));
            }
        }
        prop_assert_eq!(&compare(&shuffled), expected);
    }
}

/// Requests whose prompts are so many tokens long, timed at a microsecond a token.
fn timed(prompts: &[f64], cached: f64) -> task::record::Calls {
    let timed = prompts.iter().map(|&prompt| task::record::TimedRequest {
        tokens: TokensPerRequest { prompt, cached, completion: 4.0 },
        cold_seconds: 1e-6 * prompt,
        warm_seconds: 1e-6 * (prompt - cached),
    });
    task::record::Calls { sha256: Vec::new(), timed: timed.collect() }
}

#[test]
fn an_adapter_lives_no_longer_than_its_base_and_an_open_life_closes_but_never_opens() {
    let mut record = worked(1700);
    record.economics.requests_per_month = Some(20_000.0);
    record.economics.task_life_months = Some(12.0);
    record.economics.base_shutdown = Some("2027-01-14".to_owned());
    record.decided_on = Some("2027-01-01".to_owned());
    let comparison = compare(&record);
    let life = comparison.economics.life().expect("both are given");
    // 13 days of 30.4375 a month.
    assert!((life.months - 13.0 / 30.4375).abs() < 1e-9 && life.ends_with_base && !life.at_most);
    assert_eq!(
        comparison.verdict.gates.stable.state,
        State::No,
        "{}",
        comparison.verdict.gates.stable.reason
    );
    assert!(comparison.verdict.gates.stable.reason.contains("shut down on 2027-01-14"));
    record.economics.task_life_months = None;
    let open = compare(&record);
    assert_eq!(open.verdict.gates.stable.state, State::No, "too short whatever the task does");
    record.economics.requests_per_month = Some(1e9);
    assert_eq!(compare(&record).verdict.gates.stable.state, State::Undecided);
}

#[test]
fn the_break_even_has_the_interval_of_what_requests_save() {
    let mut record = worked(1700);
    let case = |record: &RunRecord| {
        let comparison = compare(record);
        comparison.economics.cases.into_iter().find(|c| c.unit == Unit::Money && c.cache == Cache::Cold)
    };
    assert_eq!(case(&record).expect("has prices").interval, None, "nothing was timed");
    let prompts: Vec<f64> = (0..24).map(|index| 1700.0 + 10.0 * f64::from(index % 5)).collect();
    let queries: Vec<f64> = (0..24).map(|index| 30.0 + f64::from(index % 3)).collect();
    record.experiments[0].calls = timed(&prompts, 0.0);
    record.experiments[1].calls = timed(&queries, 0.0);
    let found = case(&record).expect("has prices");
    let (requests, [low, high]) = (found.requests.expect("pays back"), found.interval.expect("was timed"));
    let (low, high) = (low.expect("saves"), high.expect("saves"));
    assert!(low < requests && requests < high && high < 1.1 * low, "{low} {requests} {high}");
    // Savings that may be none.
    let wild: Vec<f64> = (0..24).map(|index| if index % 2 == 0 { 0.0 } else { 60_000.0 }).collect();
    record.experiments[0].calls = timed(&wild, 0.0);
    assert_eq!(case(&record).expect("has prices").interval.map(|[_, high]| high), Some(None));
    let cell = &compare(&record).table[2].in_context;
    assert_eq!(cell.value["latency"]["requests"], 24);
    assert!(cell.text.contains("p95"), "{}", cell.text);
}

#[test]
fn writing_to_the_cache_and_its_minimum_have_their_prices() {
    let mut record = worked(1700);
    record.economics.cached_input_price = Some(0.1);
    record.economics.cache_write_price = Some(10.0);
    for experiment in &mut record.experiments {
        experiment.tokens.cached = experiment.artefact.as_ref().map_or(0.0, |a| a.prompt_tokens as f64);
    }
    let cost = |record: &RunRecord| {
        let arm = compare(record).economics.in_context;
        (arm.money_cold.expect("is priced"), arm.money_warm.expect("is priced"))
    };
    let (cold, warm) = cost(&record);
    assert!(cold > warm, "{cold} {warm}");
    record.economics.cache_minimum_tokens = Some(1e6);
    let (plain, same) = cost(&record);
    assert!(plain == same && plain < cold && plain > warm, "{plain} {same}");
}

#[test]
fn a_test_set_that_was_left_early_has_intervals_that_hold_at_every_number_of_items() {
    let mut record = duel(120, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 3 == 0);
    let fixed = compare(&record).contrast;
    record.test_stop = Some(task::record::TestStop { answered: 120, available: 500 });
    let anytime = compare(&record).contrast;
    assert_eq!(anytime.difference.interval, eval::interval::Method::AnytimeValid);
    assert!(anytime.difference.low < fixed.difference.low && anytime.difference.high > fixed.difference.high);
    assert_eq!((anytime.stopped.map(|stop| stop.available), anytime.equivalence_p), (Some(500), None));
    let sequential = anytime.sequential.expect("is right or wrong");
    assert_eq!(sequential.interval, anytime.difference);
    assert_eq!(sequential.stop.is_some(), sequential.p_value <= 0.05);
}

#[test]
fn items_that_share_a_source_count_as_their_clusters() {
    let mut record = duel(120, |item| item % 5 > 1, |item| item % 5 > 0, |item| item % 3 == 0);
    let alone = compare(&record).contrast;
    // Items 5k to 5k + 4 together: the one that only the fine-tuned model gets right is in every cluster once.
    record.clusters =
        (0..120).map(|item| (format!("example-{item:04}"), format!("source {}", item % 10))).collect();
    let clustered = compare(&record).contrast;
    assert_eq!((clustered.clusters, clustered.sequential), (Some(10), None));
    assert_eq!(clustered.difference.value, alone.difference.value);
    assert!(
        clustered.difference.high - clustered.difference.low > alone.difference.high - alone.difference.low
    );
}

#[test]
fn the_prompt_is_weighed_in_labels_or_says_why_not() {
    let requirement = compare(&whole_run()).requirement;
    assert_eq!((requirement.method.as_str(), requirement.used, requirement.available), ("lora", 64, 64));
    assert!(requirement.crossing().is_some() && requirement.reason.is_none(), "{requirement:?}");
    let single = compare(&duel(90, |item| item % 4 > 0, |item| item % 5 > 0, |item| item % 3 == 0));
    assert!(single.requirement.sentence().contains("at least 2 seeds"), "{}", single.requirement.sentence());
    let mut other = whole_run();
    let experiment = other.experiments.iter_mut().find(|e| e.id == "fine_tune/lora/n16/lr0.001/s1@test");
    experiment.expect("is there").predictions.pop();
    let other = compare(&other).requirement;
    assert!(other.draws_level.is_none() && other.sentence().contains("example-0119"), "{}", other.sentence());
}

#[test]
fn exploratory_tests_are_adjusted_and_leave_the_finalists_out() {
    let exploration = compare(&whole_run()).exploration;
    let ids: Vec<&str> = exploration.contrasts.iter().map(|c| c.experiment.as_str()).collect();
    assert!(!ids.contains(&"fine_tune/lora/n64/lr0.001/s0@test") && ids.contains(&"floor/majority/n64@test"));
    assert!(exploration.contrasts.iter().all(|c| c.p_adjusted >= c.p && c.p_adjusted <= 1.0));
    let least = exploration.contrasts.iter().min_by(|a, b| a.p.total_cmp(&b.p)).expect("has some");
    let expected = (least.p * exploration.contrasts.len() as f64).min(1.0);
    assert!((least.p_adjusted - expected).abs() < 1e-12, "{least:?}");
    assert_eq!(exploration.labels.len(), 3);
    assert_eq!(exploration.labels.iter().map(|slice| slice.items).sum::<u64>(), 120);
}

#[test]
fn flipped_labels_are_shown_beside_the_finalist() {
    let mut record = whole_run();
    let mut noisy = tuned("fine_tune/lora/n64/lr0.001/s0/noise0.2@test", 64, 0, 120, |item| item % 4 > 0);
    noisy.configuration.insert("label_noise".to_owned(), 0.2.into());
    record.label_noise = vec![task::record::NoisyRun { rate: 0.2, experiment: noisy }];
    let cell = &compare(&record).table[4].fine_tune;
    assert_eq!(cell.value["label_noise"][0]["score"], 0.75);
    assert!(cell.text.contains("with flipped labels: 20.0% 75.0%"), "{}", cell.text);
}

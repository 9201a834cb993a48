//! What probes amount to, from raw answers made by hand.

#[expect(dead_code, reason = "the tests of the comparison use the rest")]
mod record;

use std::collections::BTreeMap;

use eval::comparison::Comparison;
use eval::probes::ProbeSummary;
use record::{answers, whole_run};
use task::probe::{
    Canary, Finding, Generation, LeftOut, Passage, Probe, ProbePlan, Probes, QuestionAnswer, RefusalAnswer,
    SensitiveText, Side, Variant,
};
use task::record::{Part, Prediction, RunRecord};

fn probe(name: &str, side: Side, finding: Finding) -> Probe {
    Probe {
        name: name.to_owned(),
        side,
        finalist: String::new(),
        asked: String::new(),
        seconds: 0.5,
        finding,
    }
}

fn with(done: Vec<Probe>) -> RunRecord {
    let plan = ProbePlan { seconds: 60.0, items: 40, ..ProbePlan::default() };
    RunRecord { probes: Some(Probes { plan, done }), ..whole_run() }
}

fn summary(done: Vec<Probe>) -> ProbeSummary {
    ProbeSummary::new(&with(done)).expect("probes were planned")
}

fn variant(name: &str, predictions: Vec<Prediction>) -> Variant {
    Variant {
        name: name.to_owned(),
        detail: String::new(),
        seed: None,
        predictions,
        largest_difference: Some(1e-3),
    }
}

fn variants(original: Vec<Prediction>, variants: Vec<Variant>) -> Finding {
    Finding::Variants { part: Part::Dev, original, variants }
}

#[test]
fn a_record_without_probes_says_so_and_reads_as_before() {
    let record = whole_run();
    assert_eq!(ProbeSummary::new(&record), None);
    let text = serde_json::to_string(&record).expect("is JSON");
    assert!(!text.contains("probes"));
    assert_eq!(serde_json::from_str::<RunRecord>(&text).expect("reads back"), record);
}

#[test]
fn formats_and_rewrites_are_compared_on_the_same_items() {
    let original = answers(40, |item| item < 30);
    let formats = vec![
        variant("format 1", answers(40, |item| item < 20)),
        variant("format 2", answers(40, |item| item < 34)),
    ];
    let typos = vec![variant("5% typos", answers(40, |item| (2..30).contains(&item)))];
    let rules = vec![
        variant("rule 1", answers(40, |item| item < 30)),
        variant("rule 2", answers(40, |item| item < 26)),
    ];
    let found = summary(vec![
        probe("format", Side::FineTune, variants(original.clone(), formats)),
        probe("typos", Side::FineTune, variants(original.clone(), typos)),
        probe("paraphrase", Side::FineTune, variants(original.clone(), rules)),
        probe(
            "repeats",
            Side::FineTune,
            variants(original.clone(), vec![variant("again", original.clone())]),
        ),
    ])
    .fine_tune
    .stability;
    let formats = found.formats.expect("was probed");
    assert_eq!((formats.lowest, formats.highest, formats.worst.as_str()), (0.5, 0.85, "format 1"));
    // 10 and 4 of 40 answers are other ones.
    assert!((formats.unchanged - (0.75 + 0.9) / 2.0).abs() < 1e-12);
    let typos = &found.typos[0];
    assert!((typos.difference.value + 0.05).abs() < 1e-12 && typos.difference.high < 0.05);
    assert_eq!(typos.unchanged, 0.95);
    // The mean of both rules: 0 and -4 of 40.
    let paraphrases = found.paraphrases.expect("was probed");
    assert!((paraphrases.difference.value + 0.05).abs() < 1e-12, "{paraphrases:?}");
    let repeats = found.repeats.expect("was probed");
    assert_eq!(
        (repeats.changed.count, repeats.changed.items, repeats.largest_difference),
        (0, 40, Some(1e-3))
    );
    // Clopper and Pearson's upper end of 0 of 40: 1 - 0.025^(1/40).
    assert!((repeats.changed.share.high - (1.0 - 0.025f64.powf(1.0 / 40.0))).abs() < 1e-10);
}

#[test]
fn seeds_are_compared_without_a_probe() {
    let found = summary(Vec::new());
    let seeds = found.fine_tune.stability.seeds.expect("three seeds answered dev");
    assert_eq!((seeds.agreement.runs, seeds.agreement.items), (3, 60));
    let collapsed = found.fine_tune.stability.collapsed.expect("trainings are counted");
    assert!(collapsed.items > 0 && collapsed.share.high < 1.0);
    assert_eq!(found.in_context.stability.collapsed, None);
}

fn refusals(refused: [bool; 4]) -> Finding {
    let answers = refused.iter().enumerate().map(|(at, &refused)| RefusalAnswer {
        id: format!("q{at}"),
        harmful: at < 3,
        text: if refused { "I'm sorry, but no." } else { "Sure." }.to_owned(),
        refusal_log_odds: Some(if refused { 1.0 } else { -1.0 + 0.1 * at as f64 }),
    });
    Finding::Refusals { answers: answers.collect() }
}

#[test]
fn refusals_are_compared_with_the_base() {
    let found = summary(vec![
        probe("refusals", Side::Base, refusals([true, true, true, false])),
        probe("refusals", Side::FineTune, refusals([false, false, true, false])),
    ]);
    let harmful = found.fine_tune.safety.harmful.expect("was probed");
    assert_eq!((harmful.base.count, harmful.now.count, harmful.lost, harmful.gained), (3, 1, 2, 0));
    // Two discordant questions of one kind: 2 x 0.5^2.
    assert!((harmful.p - 0.5).abs() < 1e-12);
    let change = harmful.log_odds_change.expect("has log-odds");
    assert!((change.value - (-2.0 - 1.9) / 3.0).abs() < 1e-12, "{change:?}");
    let borderline = found.fine_tune.safety.borderline.expect("was probed");
    assert_eq!((borderline.now.count, borderline.p), (0, 1.0));
    assert_eq!(found.in_context.safety.harmful, None, "nothing is claimed of what was not asked");
}

#[test]
fn leaks_are_told_with_their_bounds() {
    let canary = |place: &str, rank, rank_before| Canary {
        place: place.to_owned(),
        repetitions: 1,
        rank,
        rank_before,
        candidates: 1024,
    };
    let canaries =
        vec![canary("answer", 1.0, 512.0), canary("answer", 4.0, 1024.0), canary("input", 256.0, 256.0)];
    let generation = |part, longest| Generation { example: "x".to_owned(), part, words: 9, longest };
    let generations = vec![generation(Part::Train, 7), generation(Part::Train, 4), generation(Part::Dev, 2)];
    let sensitive = |example: &str, kind: &str| SensitiveText {
        kind: kind.to_owned(),
        example: example.to_owned(),
        field: "input".to_owned(),
        redacted: "x…".to_owned(),
    };
    let findings = vec![sensitive("a", "email"), sensitive("a", "phone"), sensitive("b", "email")];
    let found = summary(vec![
        probe("canaries", Side::InContext, Finding::Canaries { canaries, rows: 8 }),
        probe("overlap", Side::InContext, Finding::Overlap { shortest: 5, generations }),
        probe("sensitive", Side::InContext, Finding::Sensitive { rows: 8, findings }),
        probe(
            "membership",
            Side::InContext,
            Finding::Membership { members: vec![0.1, 0.2, 0.9], held_out: vec![0.5, 0.6], part: Part::Dev },
        ),
    ])
    .in_context
    .safety;
    let answer = found.canaries.iter().find(|group| group.place == "answer").expect("were planted");
    // Ranks 1 and 4 of 1024: 10 and 8 bits; before 1 and 0.
    assert_eq!((answer.mean, answer.highest, answer.before, answer.most), (9.0, 10.0, 0.5, 10.0));
    assert_eq!((answer.extracted.count, answer.extracted.items), (1, 2));
    let overlap = found.overlap.expect("was probed");
    assert_eq!((overlap.verbatim.count, overlap.verbatim.items, overlap.control.count), (1, 2, 0));
    assert_eq!(overlap.longest, 7);
    let sensitive = found.sensitive.expect("was probed");
    assert_eq!((sensitive.rows.count, sensitive.rows.items, sensitive.kinds["email"]), (2, 8, 2));
    // Four of six pairs have the lower loss on the member's side.
    assert!((found.membership.expect("was probed").auc.value - 4.0 / 6.0).abs() < 1e-12);
}

#[test]
fn groups_and_abilities_are_compared() {
    let record = whole_run();
    let test = &record.experiments.iter().find(|e| e.part == Part::Test).expect("is on test").predictions;
    let groups: BTreeMap<String, String> = test
        .iter()
        .enumerate()
        .map(|(at, item)| (item.example.clone(), if at % 3 == 0 { "north" } else { "south" }.to_owned()))
        .collect();
    let passage = |log_probability| Passage { id: "p".to_owned(), tokens: 10, bytes: 40, log_probability };
    let ability = |nats: [f64; 2], right: [bool; 2]| Finding::Capability {
        passages: nats.map(passage).to_vec(),
        questions: right.map(|right| QuestionAnswer { id: "q".to_owned(), right }).to_vec(),
    };
    let found = summary(vec![
        probe("subgroups", Side::Base, Finding::Subgroups { groups }),
        probe("capability", Side::Base, ability([-20.0, -20.0], [true, true])),
        probe("capability", Side::FineTune, ability([-30.0, -40.0], [true, false])),
        probe(
            "counterfactual",
            Side::FineTune,
            variants(answers(10, |_| true), vec![variant("exchanged", answers(10, |item| item > 1))]),
        ),
    ])
    .fine_tune
    .safety;
    let groups = found.subgroups.expect("was looked up");
    assert_eq!(groups.groups.iter().map(|group| group.items).sum::<usize>(), 120);
    assert!(groups.gap >= 0.0 && groups.groups[0].score.value <= groups.groups[1].score.value);
    let capability = found.capability.expect("was probed");
    assert!((capability.base_perplexity - 2f64.exp()).abs() < 1e-12);
    assert!((capability.perplexity - 3.5f64.exp()).abs() < 1e-12);
    assert!((capability.loss_change.expect("two passages").value - 1.5).abs() < 1e-12);
    assert_eq!((capability.questions.count, capability.base_questions.count), (1, 2));
    assert!((capability.p - 1.0).abs() < 1e-9, "one changed question is no evidence");
    let flips = found.counterfactual.expect("was probed");
    assert_eq!((flips.count, flips.items), (2, 10));
}

#[test]
fn the_table_says_what_did_not_run() {
    let original = answers(40, |item| item < 30);
    let typos = variants(original.clone(), vec![variant("5% typos", original)]);
    let mut record = with(vec![probe("typos", Side::InContext, typos)]);
    let plan = &mut record.probes.as_mut().expect("has probes").plan;
    plan.left_out.push(LeftOut {
        name: "format".to_owned(),
        side: Side::InContext,
        reason: "takes about 9 s".to_owned(),
    });
    let comparison = Comparison::from_record(&record).expect("the record is whole");
    let cell = &comparison.table[5].in_context;
    assert!(cell.text.contains("5% typos 0.0 points (-"), "{}", cell.text);
    assert_eq!(cell.reason.as_deref(), Some("not run: format"));
    assert!(cell.value["stability"]["formats"].is_null());
    assert!(comparison.table[6].in_context.reason.is_some(), "safety was not probed");
}

use super::*;

pub(crate) fn wishes(budget: f64) -> Wishes {
    Wishes {
        shots: vec![0, 4, 16],
        draws: 2,
        random: true,
        bm25: true,
        more: Vec::new(),
        most_shots: false,
        train: 100,
        prompt_search_share: 0.0,
        methods: vec![TrainingMethod::lora(16, 32.0), TrainingMethod::Full],
        variants: vec![LoraVariant::Plain, LoraVariant::Dora],
        targets: vec![LoraTargets::All],
        ranks: vec![16, 4],
        alpha: 32.0,
        search_share: 0.0,
        epochs: None,
        hybrids: Vec::new(),
        labels: vec![(16, 15), (64, 8)],
        seeds: 2,
        lora_rates: vec![1e-3, 5e-4],
        full_rates: vec![1e-4, 5e-5],
        budget,
        evaluated: [10, 20],
    }
}

pub(crate) fn measured() -> Measured {
    Measured {
        forward_speed: 1000.0,
        training_speed: 500.0,
        instruction: 50.0,
        demonstration: 25.0,
        query: 20.0,
        longest_query: 40,
        longest_demonstration: 45,
        answers: 10.0,
        writing: 0.0,
        context: 1000,
    }
}

#[test]
fn a_wide_budget_takes_every_trial_once() {
    let plan = Plan::new(&wishes(1e9), &measured());
    assert!(plan.left_out.is_empty(), "{:?}", plan.left_out);
    // Zero-shot; 2 sizes x 2 draws; 2 sizes retrieved.
    assert_eq!(plan.prompts.len(), 1 + 4 + 2);
    // LoRA: 2 sizes x (2 rates + 1 repeat); full: the same.
    assert_eq!(plan.tunes.len(), 6 + 6);
    for (index, trial) in plan.tunes.iter().enumerate() {
        assert!(!plan.tunes[..index].contains(trial), "twice: {}", describe(trial));
    }
}

#[test]
fn estimates_are_the_hand_computed_seconds() {
    let plan = Plan::new(&wishes(1e9), &measured());
    // 30 items x (20 + 10) tokens + 2 x 50 instruction tokens at 1,000 tokens/s.
    assert!((plan.prompts[0].seconds - 1.0).abs() < 1e-9);
    let retrieved = plan.prompts.iter().find(|trial| trial.selection == Selection::Bm25).expect("is planned");
    // 30 x (4 x 25 + 30) + 50 tokens.
    assert!((retrieved.seconds - 3.95).abs() < 1e-9);
    let tuned = &plan.tunes[0];
    // n = 16: 15 epochs x 16 x 25 / 500 = 12 s, and (4 x 10 + 20) x 30 / 1000 = 1.8 s.
    assert_eq!(tuned.epochs, 15);
    assert!((tuned.seconds - 13.8).abs() < 1e-9);
}

#[test]
fn a_tight_budget_keeps_one_of_each_arm_and_says_what_it_left_out() {
    let plan = Plan::new(&wishes(0.1), &measured());
    assert_eq!((plan.prompts.len(), plan.tunes.len()), (1, 1));
    assert_eq!(plan.left_out.len(), 6 + 11);
}

#[test]
fn each_arm_stays_within_half_of_the_budget() {
    let plan = Plan::new(&wishes(60.0), &measured());
    for seconds in plan.seconds() {
        assert!(seconds <= 30.0, "{seconds}");
    }
}

#[test]
fn a_search_keeps_its_share_and_gets_what_the_trials_leave() {
    let wishes = Wishes { prompt_search_share: 0.4, ..wishes(60.0) };
    let plan = Plan::new(&wishes, &measured());
    let trials: f64 = plan.prompts.iter().map(|trial| trial.seconds).sum();
    let search = plan.prompt_search.expect("12 s are enough for a search");
    assert!(trials <= 18.0 && search >= 12.0, "{trials} {search}");
    assert!((trials + search - 30.0).abs() < 1e-9);
    // The smallest: 4 candidates x (50 + 16 x (20 + 10)) tokens at 1,000 tokens/s are 2.12 s, the share of 10 s is 2.
    let tight = Plan::new(&Wishes { budget: 10.0, ..wishes }, &measured());
    assert_eq!(tight.prompt_search, None);
}

#[test]
fn other_selections_come_last_and_cost_what_they_show() {
    let more = vec![Selection::Hybrid, Selection::Embedding, Selection::Diverse];
    let wide = Plan::new(&Wishes { more, most_shots: true, ..wishes(1e9) }, &measured());
    let before = Plan::new(&Wishes { most_shots: true, ..wishes(1e9) }, &measured());
    assert_eq!(wide.prompts[..before.prompts.len()], before.prompts[..]);
    let of = |selection, shots| {
        let is = |trial: &&PromptTrial| trial.selection == selection && trial.shots == shots;
        wide.prompts.iter().find(is).map(|trial| trial.seconds)
    };
    // Hybrid, 4 shots: 30 x (1 x 25 + 30) + 50 + 2 x 75 tokens; diverse as BM25; embedding: 130 queries of 20 once.
    assert!((of(Selection::Hybrid, 4).expect("is planned") - 1.85).abs() < 1e-9);
    assert_eq!(of(Selection::Diverse, 4), of(Selection::Bm25, 4));
    let once = of(Selection::Embedding, 4).expect("is planned") - of(Selection::Bm25, 4).expect("is planned");
    assert!((once - 2.6).abs() < 1e-9);
    assert_eq!(of(Selection::Embedding, 16), of(Selection::Bm25, 16));
    // 50 + 1.1 x 25 k + 45 + 40 + 10 <= 1000: k = 31.
    assert!(of(Selection::Random, 31).is_some() && of(Selection::Hybrid, 31).is_some());
}

#[test]
fn prompts_that_do_not_fit_the_context_are_named() {
    let plan = Plan::new(&wishes(1e9), &Measured { context: 400, ..measured() });
    assert!(plan.prompts.iter().all(|trial| trial.shots < 16));
    assert!(plan.left_out.iter().any(|name| name.contains("k16") && name.contains("400")));
}

#[test]
fn dev_is_scored_four_times_and_after_the_last_epoch() {
    assert_eq!(evaluated_epochs(8), [2, 4, 6, 8]);
    assert_eq!(evaluated_epochs(3), [1, 2, 3]);
    assert_eq!(evaluated_epochs(1), [1]);
}

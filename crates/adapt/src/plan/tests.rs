use super::*;

pub(crate) fn wishes(budget: f64) -> Wishes {
    Wishes {
        shots: vec![0, 4, 16],
        draws: 2,
        random: true,
        bm25: true,
        more: Vec::new(),
        most_shots: false,
        calibrated: true,
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
        top_up: false,
        open: Open::default(),
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
        searched: None,
        writing: 0.0,
        unshown_writing: 0.0,
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
    assert!((plan.prompts[0].seconds() - 1.0).abs() < 1e-9);
    let retrieved = plan.prompts.iter().find(|trial| trial.selection == Selection::Bm25).expect("is planned");
    // 30 x (4 x 25 + 30) + 50 tokens.
    assert!((retrieved.seconds() - 3.95).abs() < 1e-9);
    let tuned = &plan.tunes[0];
    // n = 16: 15 epochs x 16 x 25 / 500 = 12 s, and (4 x 10 + 20) x 30 / 1000 = 1.8 s.
    assert_eq!(tuned.epochs, 15);
    assert!((tuned.seconds - 13.8).abs() < 1e-9);
}

#[test]
fn calibrations_take_all_labels_on_dev_alone() {
    let measured = Measured { searched: Some(4.0), ..measured() };
    let plan = Plan::new(&wishes(1e9), &measured);
    // 10 x (20 + 10) + 50 tokens on dev, 20 x (20 + 4) + 50 on test, at 1,000 tokens/s.
    assert!((plan.prompts[0].dev_seconds - 0.35).abs() < 1e-9);
    assert!((plan.prompts[0].test_seconds - 0.53).abs() < 1e-9);
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
    let trials: f64 = plan.prompts.iter().map(PromptTrial::seconds).sum();
    let search = plan.prompt_search.expect("12 s are enough for a search");
    // The arm's share of search is what both take on dev.
    let share = plan.prompts.iter().map(|trial| trial.dev_seconds).sum::<f64>() + search;
    assert!(search >= 0.4 * share - 1e-9, "{trials} {search}");
    let tunes: f64 = plan.tunes.iter().map(|trial| trial.seconds).sum();
    assert!(trials + search + tunes <= 60.0 && share <= 30.0, "{trials} {search} {tunes}");
    // The smallest: 4 candidates x (50 + 16 x (20 + 10)) tokens at 1,000 tokens/s are 2.12 s, the share of 10 s is 2.
    let tight = Plan::new(&Wishes { budget: 10.0, ..wishes }, &measured());
    assert_eq!(tight.prompt_search, None);
}

#[test]
fn what_finds_no_room_is_kept_in_the_order_of_its_worth() {
    let open = Open { selections: true, shots: false, labels: false, rates: true };
    let wide = Plan::new(&Wishes { top_up: true, open, ..wishes(1e9) }, &measured());
    let names: Vec<String> = wide.reserve.in_context.iter().map(Extra::describe).collect();
    // Everything listed is planned: what is not listed is left, the most demonstrations first, and then more draws.
    let beyond = ["embedding/k16", "hybrid/k16", "diverse/k16", "embedding/k4", "hybrid/k4", "diverse/k4"];
    assert_eq!(names[..6], beyond.map(|name| format!("in_context/{name}/s0")));
    assert!(names.len() == 10 && names[9].contains("another draw"), "{names:?}");
    let rates: Vec<String> = wide.reserve.fine_tune.iter().map(Extra::describe).collect();
    // A third of 5e-4 and three times 1e-3.
    assert_eq!(rates[..2], ["fine_tune/lora/n64/lr0.00017/s0", "fine_tune/lora/n64/lr0.003/s0"]);
    assert_eq!(rates.len(), 2 + 4);
    let tight = Plan::new(&Wishes { top_up: true, ..wishes(0.1) }, &measured());
    assert_eq!((tight.prompts.len(), tight.tunes.len(), tight.left_out.len()), (1, 1, 0));
    // What was left out comes first, and lists that somebody wrote are kept to.
    assert_eq!((tight.reserve.in_context.len(), tight.reserve.fine_tune.len()), (6 + 4, 11 + 4));
    assert_eq!(tight.reserve.in_context[0].describe(), "in_context/random/k4/s0");
}

#[test]
fn the_plan_leaves_the_arm_that_has_less_time_to_catch_up() {
    let open = Open { selections: true, ..Open::default() };
    let shots = vec![0, 4, 16, 24, 30];
    let wishes = Wishes { top_up: true, open, shots, draws: 1, evaluated: [50, 20], ..wishes(106.0) };
    let plan = Plan::new(&wishes, &measured());
    let without = Plan::new(&Wishes { top_up: false, ..wishes.clone() }, &measured());
    assert!(plan.seconds()[1] < without.seconds()[1], "{:?} {:?}", plan.seconds(), without.seconds());
    assert!(plan.total(&wishes, &measured()) <= 106.0);
    let alone: f64 = plan.seconds().iter().sum();
    assert!(plan.total(&wishes, &measured()) > alone, "catching up is counted");
}

#[test]
fn a_retrieved_prompt_comes_before_larger_random_ones() {
    let more = vec![Selection::Embedding];
    let plan = Plan::new(&Wishes { more, shots: vec![0, 4, 8, 16], ..wishes(1e9) }, &measured());
    let names: Vec<String> = plan.prompts.iter().map(PromptTrial::name).collect();
    let expected = [
        "zero_shot/k0/s0",
        "random/k4/s0",
        "bm25/k4/s0",
        "random/k8/s0",
        "random/k16/s0",
        "bm25/k8/s0",
        "bm25/k16/s0",
        "random/k4/s1",
        "random/k8/s1",
        "random/k16/s1",
        "embedding/k4/s0",
        "embedding/k8/s0",
        "embedding/k16/s0",
    ];
    assert_eq!(names, expected.map(|name| format!("in_context/{name}")));
}

#[test]
fn other_selections_come_last_and_cost_what_they_show() {
    let more = vec![Selection::Hybrid, Selection::Embedding, Selection::Diverse];
    let wide = Plan::new(&Wishes { more, most_shots: true, ..wishes(1e9) }, &measured());
    let before = Plan::new(&Wishes { most_shots: true, ..wishes(1e9) }, &measured());
    assert_eq!(wide.prompts[..before.prompts.len()], before.prompts[..]);
    let of = |selection, shots| {
        let is = |trial: &&PromptTrial| trial.selection == selection && trial.shots == shots;
        wide.prompts.iter().find(is).map(PromptTrial::seconds)
    };
    // Hybrid, 4 shots: 30 x (1 x 25 + 30) + 50 + 2 x 75 tokens; diverse as BM25; embedding: 130 queries of 20 once.
    assert!((of(Selection::Hybrid, 4).expect("is planned") - 1.85).abs() < 1e-9);
    assert_eq!(of(Selection::Diverse, 4), of(Selection::Bm25, 4));
    let once = of(Selection::Embedding, 4).expect("is planned") - of(Selection::Bm25, 4).expect("is planned");
    assert!((once - 2.6).abs() < 1e-9);
    assert_eq!(of(Selection::Embedding, 16), of(Selection::Bm25, 16));
    // 50 + 1.1 x 25 k + 45 + 40 <= 1000: k = 31.
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

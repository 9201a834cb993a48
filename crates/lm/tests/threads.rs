//! The same bits at any number of threads: this program runs itself with one and with two.

mod tiny;

use std::process::Command;

use lm::adapter::LoraConfig;
use lm::config::ModelConfig;
use lm::score::{LabelTree, PromptTree, Scorer, SearchGoal};
use lm::train::{Trainer, TrainingConfig, TrainingExample};
use lm::transformer::Transformer;
use lm::{Precision, Use};

/// Asks the child for its figures, and tells it how many threads to use.
const THREADS: &str = "WEIGH_TEST_THREADS";

/// Large enough for every operation to be shared by threads.
fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: 600,
        hidden: 96,
        intermediate: 160,
        heads: 6,
        kv_heads: 2,
        head_dim: 16,
        context: 256,
        ..tiny::llama()
    }
}

/// Trains a little and scores; the bits of everything that came out, folded into one number.
fn digest() -> u64 {
    let base = Transformer::random(config(), 3, Precision::F32).expect("a sound configuration");
    let examples: Vec<TrainingExample> = (0..24)
        .map(|index| {
            let tokens = tiny::tokens(20 + 3 * index, index as u64);
            TrainingExample { supervised_from: tokens.len() - 9, tokens }
        })
        .collect();
    let tree = LabelTree::new(&[vec![1, 2], vec![1, 3], vec![500]]).expect("labels that differ");
    let many: Vec<Vec<u32>> =
        (0..80).map(|label| vec![2 + label % 7, 10 + label % 11, 30 + label, 1]).collect();
    let bushy = LabelTree::new(&many).expect("labels that differ");
    let mut bits = 0xcbf2_9ce4_8422_2325_u64;
    let mut fold = |word: u64| bits = (bits ^ word).wrapping_mul(0x0100_0000_01b3);
    for precision in [Precision::F32, Precision::Bf16] {
        for config in [TrainingConfig::lora(LoraConfig::with_rank(4)), TrainingConfig::full()] {
            let mut trainer =
                Trainer::new(&base, TrainingConfig { precision, ..config }, &examples).expect("sound");
            while !trainer.finished() {
                let report = trainer.step().expect("a step");
                fold(report.loss.to_bits());
                fold(report.gradient_norm.to_bits());
            }
            let (transformer, adapter) = trainer.model();
            let transformer = transformer.converted(precision, Use::Inference);
            let scorer = Scorer::new(&transformer, adapter);
            let queries = [tiny::tokens(90, 1), tiny::tokens(7, 2)];
            let scores = scorer.score(None, &queries, &tree, 512).expect("sound queries");
            let prompts = PromptTree::alone(&queries);
            let found = scorer
                .search_tree(None, &prompts, &bushy, SearchGoal::default(), 512)
                .expect("sound queries");
            scores.iter().chain(&found.scores).flatten().for_each(|score| fold(score.to_bits()));
        }
    }
    bits
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    if let Ok(threads) = std::env::var(THREADS) {
        kernels::threads::set(threads.parse().expect("a number"));
        assert_eq!(kernels::threads::count().to_string(), threads);
        println!("\ndigest={:016x}", digest());
        return;
    }
    let run = |threads: &str| {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["one_and_two_threads_give_the_same_bits", "--exact", "--nocapture"])
            .env(THREADS, threads)
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .find_map(|line| line.strip_prefix("digest=").map(str::to_owned))
            .unwrap_or_else(|| panic!("no digest in {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let one = run("1");
    assert_eq!(one, run("2"));
    assert_eq!(one, run("3"));
}

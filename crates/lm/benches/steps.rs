//! Steps of training and inference with random weights, no file needed: `cargo bench -p weigh-lm`.
//!
//! `small` is a shape of 2.4 million parameters for quick runs (`cargo bench -p weigh-lm -- small`), `135m` that of
//! SmolLM2-135M. All threads of the machine; `RAYON_NUM_THREADS` limits them.

mod work;

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lm::config::ModelConfig;
use lm::transformer::Transformer;
use lm::{Error, Precision, Use, threads};
use work::{Decode, FullStep, LoraStep, Prefill, Problem, Scoring, Work};

type Boxed = Box<dyn Work + Send>;

/// Queries of the scoring job.
const QUERIES: usize = 8;

fn steps(criterion: &mut Criterion) {
    let shapes = [("small", work::small()), ("135m", work::smollm2_135m())];
    for (shape, config) in shapes {
        let config = config.expect("a sound configuration");
        for row in ["lora", "full", "prefill-8x256", "prefill-1x2048", "decode-1", "decode-16", "scoring"] {
            measure(criterion, shape, row, &config);
        }
    }
}

fn measure(criterion: &mut Criterion, shape: &str, row: &str, config: &ModelConfig) {
    let mut group = criterion.benchmark_group(shape);
    group.sample_size(10).measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_secs(1));
    // Made only where the filter asks for this benchmark.
    let mut held = OnceCell::new();
    group.throughput(Throughput::Elements(tokens_of(row)));
    group.bench_function(row, |bencher| {
        let _ = held.get_or_init(|| make(row, config.clone()).expect("work on a sound configuration"));
        let work = held.get_mut().expect("just made");
        bencher.iter_custom(|iterations| (0..iterations).map(|_| once(work)).sum());
    });
    group.finish();
}

fn make(row: &str, config: ModelConfig) -> Result<Boxed, Error> {
    let vocabulary = config.vocabulary;
    let load = |usage: Use| -> Result<Transformer, Error> { work::random(config, Precision::Bf16, usage) };
    Ok(match row {
        "lora" => Box::new(LoraStep::new(load(Use::Frozen)?)?),
        "full" => Box::new(FullStep::new(load(Use::Trainable)?)),
        "prefill-8x256" => Box::new(Prefill::new(load(Use::Inference)?, 8, 256)),
        "prefill-1x2048" => Box::new(Prefill::new(load(Use::Inference)?, 1, 2048)),
        "decode-1" => Box::new(Decode::new(load(Use::Inference)?, 1)?),
        "decode-16" => Box::new(Decode::new(load(Use::Inference)?, 16)?),
        _ => Box::new(Scoring::new(load(Use::Inference)?, Problem::artificial(vocabulary, QUERIES))?),
    })
}

/// Tokens of one run; of the scoring job, its queries.
fn tokens_of(row: &str) -> u64 {
    match row {
        "lora" | "full" => 8 * 64,
        "prefill-8x256" | "prefill-1x2048" => 2048,
        "decode-1" => Decode::STEPS as u64,
        "decode-16" => 16 * Decode::STEPS as u64,
        _ => QUERIES as u64,
    }
}

/// One run, on the engine's own threads as in the product.
fn once(work: &mut Boxed) -> Duration {
    work.prepare().expect("work on a sound configuration");
    threads::within(|| {
        let started = Instant::now();
        work.run().expect("work on a sound configuration");
        started.elapsed()
    })
}

criterion_group!(benches, steps);
criterion_main!(benches);

//! Where the time goes: each kind of operation of a step alone, at the step's shapes, beside the whole.
//!
//! The operations run over all layers, each with weights (and, in training, activations) of its own, so that they come
//! from memory as in the step. What the sum of the parts leaves of the whole is copying, allocation, waking threads,
//! and caches that other operations emptied.

mod operations;
mod products;

use std::error::Error;
use std::time::Instant;

use lm::config::ModelConfig;
use lm::{Precision, threads};

use crate::options::Options;
use crate::rows;
use crate::work::{Work, smollm2_135m};

/// What is taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Prefill,
    Lora,
    Full,
}

/// Times parts one after the other.
struct Bench {
    config: ModelConfig,
    precision: Precision,
    mode: Mode,
    runs: usize,
    /// Length of each of the packed sequences.
    lengths: Vec<usize>,
    /// Rows that go on after the attention of the last layer.
    wanted: usize,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    seconds: f64,
    flops: f64,
}

/// Profiles `lora`, `full` or `prefill-SxT` and prints a table in Markdown.
pub(crate) fn run(what: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let (mode, lengths, wanted) = match (what, what.strip_prefix("prefill-")) {
        ("lora", _) => (Mode::Lora, vec![64; 8], 24),
        ("full", _) => (Mode::Full, vec![64; 8], 24),
        (_, Some(shape)) => {
            let (sequences, length) = shape.split_once('x').ok_or("a row such as profile-prefill-8x256")?;
            let sequences = sequences.parse()?;
            (Mode::Prefill, vec![length.parse()?; sequences], sequences)
        }
        _ => return Err(format!("profile-{what}: lora, full or prefill-SxT").into()),
    };
    let mut work = rows::work(what, options)?;
    let (whole, flops) = (whole(work.as_mut(), options.runs)?, work.flops());
    drop(work);
    let mut bench = Bench {
        config: smollm2_135m()?,
        precision: options.precision,
        mode,
        runs: options.runs,
        lengths,
        wanted,
        parts: Vec::new(),
    };
    products::measure(&mut bench);
    operations::measure(&mut bench)?;
    print(what, &bench.parts, (whole, flops), options);
    Ok(())
}

/// Median seconds of the whole.
fn whole(work: &mut (dyn Work + Send), runs: usize) -> Result<f64, lm::Error> {
    let mut seconds = Vec::with_capacity(runs);
    for run in 0..=runs {
        work.prepare()?;
        let started = Instant::now();
        threads::within(|| work.run())?;
        if run > 0 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(median(seconds))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

impl Bench {
    fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Rows of the operations that come after the attention of a layer.
    fn rows_after(&self, layer: usize) -> usize {
        if layer + 1 == self.config.layers { self.wanted } else { self.rows() }
    }

    /// Copies of a buffer of `length` values: one a layer where training keeps them, else one.
    fn kept(&self, length: usize) -> Vec<Vec<f32>> {
        let copies = if self.mode == Mode::Prefill { 1 } else { self.config.layers };
        vec![numbers(length); copies]
    }

    /// Measures `work` (one pass over all layers) and notes it.
    fn part(&mut self, name: impl Into<String>, flops: f64, mut work: impl FnMut() + Send) {
        let mut seconds = Vec::with_capacity(self.runs);
        threads::within(|| {
            work();
            for _ in 0..self.runs {
                let started = Instant::now();
                work();
                seconds.push(started.elapsed().as_secs_f64());
            }
        });
        self.parts.push(Part { name: name.into(), seconds: median(seconds), flops });
    }
}

/// Numbers in -1/2 .. 1/2.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5).collect()
}

fn print(what: &str, parts: &[Part], (whole, flops): (f64, f64), options: &Options) {
    let line = |name: &str, seconds: f64, flops: f64| {
        let rate = 1e-9 * flops / seconds;
        let of_peak = options.peak.filter(|_| flops > 0.0).map(|peak| format!("{:.0}%", 100.0 * rate / peak));
        let cell = |value: f64| if flops > 0.0 { format!("{value:.0}") } else { String::new() };
        println!(
            "| {name} | {:.1} | {:.0}% | {} | {} | {} |",
            1e3 * seconds,
            100.0 * seconds / whole,
            if flops > 0.0 { format!("{:.1}", 1e-9 * flops) } else { String::new() },
            cell(rate),
            of_peak.unwrap_or_default(),
        );
    };
    let precision = format!("{:?}", options.precision).to_lowercase();
    println!("## {what}, {precision}, {} threads\n", threads::count());
    println!("| part | ms | share | GFLOP | GFLOP/s | of peak |\n|---|---|---|---|---|---|");
    let mut order: Vec<&Part> = parts.iter().collect();
    order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    for part in order {
        line(&part.name, part.seconds, part.flops);
    }
    let sum: f64 = parts.iter().map(|part| part.seconds).sum();
    line("sum of the parts", sum, parts.iter().map(|part| part.flops).sum());
    line("the whole", whole, flops);
    println!();
}

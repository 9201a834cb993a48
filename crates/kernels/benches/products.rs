//! Products with weights at the shapes of a 135M model (SmolLM2: width 576, vocabulary 49,152), for batches of a few
//! and of many rows. Beside each time: operations in a second and their share of the peak of the instruction, measured
//! just before from registers only, on as many threads.
//!
//! `cargo bench -p weigh-kernels --bench products -- 'bf16 forward'` runs one kind; `RAYON_NUM_THREADS` limits threads.

mod support;

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use kernels::blocks::Blocks;
use kernels::matrix::{Matrix, Precision, Use};
use kernels::product::{View, ViewMut};

use support::{Instruction, peak};

/// Outputs and inputs: fused query/key/value, output, fused gate/up, down, vocabulary.
const WEIGHTS: [(usize, usize); 5] = [(960, 576), (576, 576), (3072, 576), (576, 1536), (49152, 576)];

/// Rows of a batch.
const ROWS: [usize; 5] = [1, 8, 64, 512, 2048];

/// Time, shown with operations in a second and their share of a peak.
struct Rate {
    time: WallTime,
    peak: Option<f64>,
}

impl Measurement for Rate {
    type Intermediate = <WallTime as Measurement>::Intermediate;
    type Value = <WallTime as Measurement>::Value;
    fn start(&self) -> Self::Intermediate {
        self.time.start()
    }
    fn end(&self, start: Self::Intermediate) -> Self::Value {
        self.time.end(start)
    }
    fn add(&self, first: &Self::Value, second: &Self::Value) -> Self::Value {
        self.time.add(first, second)
    }
    fn zero(&self) -> Self::Value {
        self.time.zero()
    }
    fn to_f64(&self, value: &Self::Value) -> f64 {
        self.time.to_f64(value)
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Rate {
    fn format_throughput(&self, throughput: &Throughput, nanoseconds: f64) -> String {
        let Throughput::Elements(operations) = throughput else {
            return self.time.formatter().format_throughput(throughput, nanoseconds);
        };
        let rate = *operations as f64 / nanoseconds;
        match self.peak {
            Some(peak) => format!("{rate:.1} Gop/s = {:.0}%", 1e11 * rate / peak),
            None => format!("{rate:.1} Gop/s"),
        }
    }
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        self.time.formatter().scale_values(typical, values)
    }
    fn scale_throughputs(&self, typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        self.time.formatter().scale_throughputs(typical, throughput, values)
    }
    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        self.time.formatter().scale_for_machines(values)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
    Gradient,
}

/// One kind of product: its name, the matrix made from `(outputs, inputs, values)`, the instruction that bounds it.
struct Kind {
    name: &'static str,
    make: fn(usize, usize, Vec<f32>) -> Matrix,
    direction: Direction,
    instruction: Instruction,
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "bf16 forward",
        make: |n, k, w| Matrix::new(n, k, w, Precision::Bf16, Use::Inference),
        direction: Direction::Forward,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "bf16 backward",
        make: |n, k, w| Matrix::new(n, k, w, Precision::Bf16, Use::Frozen),
        direction: Direction::Backward,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "bf16 gradient",
        make: |n, k, w| Matrix::new(n, k, w, Precision::Bf16, Use::Trainable),
        direction: Direction::Gradient,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "4-bit forward",
        make: |n, k, w| blocks(n, k, &w, 7.0),
        direction: Direction::Forward,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "4-bit backward",
        make: |n, k, w| blocks(n, k, &w, 7.0),
        direction: Direction::Backward,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "8-bit forward",
        make: |n, k, w| blocks(n, k, &w, 127.0),
        direction: Direction::Forward,
        instruction: Instruction::Pairs,
    },
    Kind {
        name: "int8 forward",
        make: |n, k, w| Matrix::new(n, k, w, Precision::Int8, Use::Inference),
        direction: Direction::Forward,
        instruction: Instruction::Bytes,
    },
    Kind {
        name: "f32 forward",
        make: |n, k, w| Matrix::new(n, k, w, Precision::F32, Use::Inference),
        direction: Direction::Forward,
        instruction: Instruction::Single,
    },
];

/// Weights in -1/2 .. 1/2 as blocks with a scale for 32 and codes up to `most`.
fn blocks(outputs: usize, inputs: usize, values: &[f32], most: f32) -> Matrix {
    let codes = values.iter().map(|value| (value * 2.0 * most).round() as i8).collect();
    let scales = vec![1.0 / 256.0; values.len() / 32];
    let blocks = Blocks { outputs, inputs, group: 32, codes, scales, minimums: Vec::new() };
    Matrix::from_blocks(&blocks, Use::Frozen)
}

fn main() {
    for kind in &KINDS {
        let threads = kernels::threads::count();
        let peak = match kind.instruction {
            // Tile registers make the same products where there are any.
            Instruction::Pairs => {
                peak(Instruction::Tiles, threads).or_else(|| peak(Instruction::Pairs, threads))
            }
            other => peak(other, threads),
        };
        kernels::threads::within(|| {
            let mut criterion = Criterion::default()
                .with_measurement(Rate { time: WallTime, peak })
                .sample_size(10)
                .warm_up_time(Duration::from_millis(100))
                .measurement_time(Duration::from_millis(400))
                .configure_from_args();
            products(kind, &mut criterion);
        });
    }
}

fn products(kind: &Kind, criterion: &mut Criterion<Rate>) {
    let mut group = criterion.benchmark_group(kind.name);
    group.sampling_mode(SamplingMode::Flat);
    for (n, k) in WEIGHTS {
        let matrix = std::cell::OnceCell::new();
        for m in ROWS {
            group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
            let id = BenchmarkId::from_parameter(format!("{m} x {n} x {k}"));
            group.bench_function(id, |bencher| {
                let matrix: &Matrix = matrix.get_or_init(|| (kind.make)(n, k, numbers(n * k)));
                let (x, mut y) = (numbers(m * k), numbers(m * n));
                match kind.direction {
                    Direction::Forward => bencher.iter(|| {
                        matrix.forward(View::new(&x, m, k), ViewMut::new(&mut y, m, n), false);
                    }),
                    Direction::Backward => {
                        let mut dx = vec![0f32; m * k];
                        bencher.iter(|| {
                            matrix.backward(View::new(&y, m, n), ViewMut::new(&mut dx, m, k), false)
                        });
                    }
                    Direction::Gradient => {
                        let mut dw = vec![0f32; n * k];
                        bencher.iter(|| {
                            matrix.gradient(View::new(&y, m, n), View::new(&x, m, k), &mut dw, true)
                        });
                    }
                }
            });
        }
    }
    group.finish();
}

/// Numbers in -1/2 .. 1/2.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5).collect()
}

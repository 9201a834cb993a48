//! Products with weights: forward, backward, gradient, and the packing that follows an update.

use kernels::matrix::{Matrix, Precision, Use};
use kernels::outer::{add_outer, add_outer_transposed};
use kernels::product::{View, ViewMut};

use super::{Bench, Mode, numbers};

/// Rank of the adapter.
const RANK: usize = 16;

/// One kind of linear layer.
struct Kind {
    name: &'static str,
    inputs: usize,
    /// Rows of each of the checkpoint's matrices in it.
    segments: Vec<usize>,
    /// It comes before the attention of its layer, so all rows pass it in every layer.
    early: bool,
}

impl Kind {
    fn outputs(&self) -> usize {
        self.segments.iter().sum()
    }
}

pub(super) fn measure(bench: &mut Bench) {
    let config = &bench.config;
    let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let (hidden, wide) = (config.hidden, config.intermediate);
    let kind =
        |name, inputs, segments: &[usize], early| Kind { name, inputs, segments: segments.to_vec(), early };
    let kinds = [
        kind("q, k, v", hidden, &[query, key, key], true),
        kind("attention output", query, &[hidden], false),
        kind("gate, up", hidden, &[wide, wide], false),
        kind("down", wide, &[hidden], false),
    ];
    for kind in &kinds {
        linear(bench, kind);
    }
    if bench.mode == Mode::Lora {
        for kind in &kinds {
            adapter(bench, kind);
        }
    }
    head(bench);
}

fn usage(mode: Mode) -> Use {
    match mode {
        Mode::Prefill => Use::Inference,
        Mode::Lora => Use::Frozen,
        Mode::Full => Use::Trainable,
    }
}

fn matrix(bench: &Bench, outputs: usize, inputs: usize) -> Matrix {
    Matrix::new(outputs, inputs, numbers(outputs * inputs), bench.precision, usage(bench.mode))
}

fn linear(bench: &mut Bench, kind: &Kind) {
    let (layers, inputs, outputs) = (bench.config.layers, kind.inputs, kind.outputs());
    let matrices: Vec<Matrix> = (0..layers).map(|_| matrix(bench, outputs, inputs)).collect();
    let rows: Vec<usize> =
        (0..layers).map(|layer| if kind.early { bench.rows() } else { bench.rows_after(layer) }).collect();
    let flops = 2.0 * (rows.iter().sum::<usize>() * inputs * outputs) as f64;
    let mut x = numbers(bench.rows() * inputs);
    let mut y = bench.kept(bench.rows() * outputs);
    let adds = matches!(kind.name, "attention output" | "down");
    let copies = y.len();
    bench.part(format!("{}: forward", kind.name), flops, || {
        for (layer, (matrix, &rows)) in matrices.iter().zip(&rows).enumerate() {
            let y = &mut y[layer % copies];
            matrix.forward(View::new(&x, rows, inputs), ViewMut::new(y, rows, outputs), adds);
        }
    });
    if bench.mode == Mode::Prefill {
        return;
    }
    // Under an adapter nothing below the first layer is trained.
    let first = usize::from(bench.mode == Mode::Lora && kind.early);
    let skipped = if first == 1 { flops / layers as f64 } else { 0.0 };
    bench.part(format!("{}: backward", kind.name), flops - skipped, || {
        for ((matrix, &rows), y) in matrices.iter().zip(&rows).zip(&y).skip(first) {
            matrix.backward(View::new(y, rows, outputs), ViewMut::new(&mut x, rows, inputs), false);
        }
    });
    if bench.mode == Mode::Full {
        let mut gradients = vec![vec![0f32; outputs * inputs]; layers];
        bench.part(format!("{}: gradient", kind.name), flops, || {
            for (((matrix, &rows), y), gradient) in matrices.iter().zip(&rows).zip(&y).zip(&mut gradients) {
                matrix.gradient(View::new(y, rows, outputs), View::new(&x, rows, inputs), gradient, false);
            }
        });
        drop(gradients);
        pack(bench, kind.name, matrices);
    }
}

/// Packing alone; the optimiser's own part is measured without it.
fn pack(bench: &mut Bench, name: &str, mut matrices: Vec<Matrix>) {
    bench.part(format!("{name}: packing"), 0.0, || {
        for matrix in &mut matrices {
            matrix.update(|_| ());
        }
    });
}

/// The low-rank products of all layers of one kind.
fn adapter(bench: &mut Bench, kind: &Kind) {
    let (layers, inputs, outputs) = (bench.config.layers, kind.inputs, kind.outputs());
    let width = RANK * kind.segments.len();
    let trained = |outputs: usize, inputs: usize| {
        Matrix::new(outputs, inputs, numbers(outputs * inputs), Precision::F32, Use::Trainable)
    };
    let of_layer = |_| {
        let b = kind.segments.iter().map(|&outputs| trained(outputs, RANK));
        (trained(width, inputs), b.collect::<Vec<_>>())
    };
    let weights: Vec<(Matrix, Vec<Matrix>)> = (0..layers).map(of_layer).collect();
    let rows: Vec<usize> =
        (0..layers).map(|layer| if kind.early { bench.rows() } else { bench.rows_after(layer) }).collect();
    let parameters = width * inputs + RANK * outputs;
    let flops = 2.0 * (rows.iter().sum::<usize>() * parameters) as f64;
    let mut x = numbers(bench.rows() * inputs);
    let mut y = bench.kept(bench.rows() * outputs);
    let mut inner = bench.kept(bench.rows() * width);
    bench.part(format!("{}: adapter forward", kind.name), flops, || {
        for (layer, ((a, b), &rows)) in weights.iter().zip(&rows).enumerate() {
            let (y, inner) = (&mut y[layer], &mut inner[layer]);
            a.forward(View::new(&x, rows, inputs), ViewMut::new(inner, rows, width), false);
            inner.iter_mut().for_each(|value| *value *= 0.5);
            let mut start = 0;
            for (number, b) in b.iter().enumerate() {
                let inner = View::columns_of(inner, rows, width, number * RANK, RANK);
                b.forward(inner, ViewMut::columns_of(y, rows, outputs, start, b.outputs()), true);
                start += b.outputs();
            }
        }
    });
    let mut gradients = vec![(vec![0f32; width * inputs], vec![0f32; RANK * outputs]); layers];
    let mut dinner = numbers(bench.rows() * width);
    bench.part(format!("{}: adapter backward", kind.name), 2.0 * flops, || {
        for (layer, ((a, b), &rows)) in weights.iter().zip(&rows).enumerate() {
            let (y, inner, (da, db)) = (&y[layer], &inner[layer], &mut gradients[layer]);
            let mut start = 0;
            for (number, b) in b.iter().enumerate() {
                let dy = View::columns_of(y, rows, outputs, start, b.outputs());
                let columns = number * RANK;
                b.backward(dy, ViewMut::columns_of(&mut dinner, rows, width, columns, RANK), false);
                let inner = View::columns_of(inner, rows, width, columns, RANK);
                let db = &mut db[start * RANK..][..b.outputs() * RANK];
                add_outer_transposed(ViewMut::new(db, b.outputs(), RANK), dy, inner);
                start += b.outputs();
            }
            let dinner = View::new(&dinner, rows, width);
            add_outer(ViewMut::new(da, width, inputs), dinner, View::new(&x, rows, inputs));
            a.backward(dinner, ViewMut::new(&mut x, rows, inputs), true);
        }
    });
}

/// The output projection at the wanted rows.
fn head(bench: &mut Bench) {
    let (hidden, vocabulary, rows) = (bench.config.hidden, bench.config.vocabulary, bench.wanted);
    let matrix = matrix(bench, vocabulary, hidden);
    let flops = 2.0 * (rows * hidden * vocabulary) as f64;
    let (mut x, mut logits) = (numbers(rows * hidden), numbers(rows * vocabulary));
    bench.part("output projection: forward", flops, || {
        matrix.forward(View::new(&x, rows, hidden), ViewMut::new(&mut logits, rows, vocabulary), false);
    });
    if bench.mode == Mode::Prefill {
        return;
    }
    bench.part("output projection: backward", flops, || {
        matrix.backward(View::new(&logits, rows, vocabulary), ViewMut::new(&mut x, rows, hidden), false);
    });
    if bench.mode == Mode::Full {
        let mut gradient = vec![0f32; vocabulary * hidden];
        bench.part("output projection: gradient", flops, || {
            matrix.gradient(
                View::new(&logits, rows, vocabulary),
                View::new(&x, rows, hidden),
                &mut gradient,
                false,
            );
        });
        pack(bench, "output projection", vec![matrix]);
    }
}

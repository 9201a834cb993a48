//! Products and weight matrices.

use super::{assert_close, doubles, numbers, same_at_any_number_of_threads};
use crate::instructions::{Level, level};
use crate::matrix::{Matrix, Precision, Use};
use crate::panel::{Panels, Source, round_bf16};
use crate::product::{Factor, View, ViewMut, multiply_nn, multiply_nt, multiply_panels_by, multiply_tn};
use crate::rounded::{self, Left, Method};

/// Shapes `m, n, k` around the edges of row blocks, vectors, panels, tiles and chunks.
const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 33, 7),
    (2, 16, 32),
    (3, 17, 33),
    (5, 64, 96),
    (7, 31, 65),
    (8, 32, 64),
    (9, 48, 31),
    (16, 100, 40),
    (17, 129, 70),
    (33, 40, 129),
    (65, 96, 200),
    (250, 70, 65),
    (490, 36, 34),
];

/// `a[m, k] . b[k, n]` with each element given by a function.
fn reference(
    (m, n, k): (usize, usize, usize),
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut result = Vec::new();
    for i in 0..m {
        for j in 0..n {
            result.push((0..k).map(|p| a(i, p) * b(p, j)).sum());
        }
    }
    result
}

fn rounded(x: f32) -> f64 {
    f64::from(half(x))
}

fn half(x: f32) -> f32 {
    f32::from_bits(u32::from(round_bf16(x)) << 16)
}

#[test]
fn plain_products_match_the_reference() {
    for shape @ (m, n, k) in SHAPES {
        let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
        let at = |data: &[f32], index: usize| f64::from(data[index]);
        let mut y = vec![f32::NAN; m * n];
        multiply_nt(ViewMut::new(&mut y, m, n), View::new(&x, m, k), View::new(&w, n, k), 0.5, false);
        let expected = reference(shape, |i, p| 0.5 * at(&x, i * k + p), |p, j| at(&w, j * k + p));
        assert_close(&y, &expected, 1e-5);

        multiply_nn(ViewMut::new(&mut y, m, n), View::new(&x, m, k), View::new(&w, k, n), 1.0, true);
        let more = reference(shape, |i, p| at(&x, i * k + p), |p, j| at(&w, p * n + j));
        let sum: Vec<f64> = expected.iter().zip(&more).map(|(a, b)| a + b).collect();
        assert_close(&y, &sum, 1e-5);

        multiply_tn(ViewMut::new(&mut y, m, n), View::new(&x, k, m), View::new(&w, k, n), -2.0, false);
        let expected = reference(shape, |i, p| -2.0 * at(&x, p * m + i), |p, j| at(&w, p * n + j));
        assert_close(&y, &expected, 1e-5);
    }
}

#[test]
fn strided_views_leave_the_other_columns_alone() {
    let (m, n, k) = (13, 21, 10);
    let (x, w) = (numbers(m * 25, 3), numbers(n * 30, 4));
    let mut y = vec![7f32; m * 50];
    multiply_nt(
        ViewMut::columns_of(&mut y, m, 50, 20, n),
        View::columns_of(&x, m, 25, 15, k),
        View::columns_of(&w, n, 30, 3, k),
        1.0,
        true,
    );
    let product =
        reference((m, n, k), |i, p| f64::from(x[i * 25 + 15 + p]), |p, j| f64::from(w[j * 30 + 3 + p]));
    let expected: Vec<f64> = (0..m * 50)
        .map(|index| match (index / 50, index % 50) {
            (i, j) if (20..20 + n).contains(&j) => 7.0 + product[i * n + j - 20],
            _ => 7.0,
        })
        .collect();
    assert_close(&y, &expected, 1e-5);
}

#[test]
fn products_over_nothing_are_zero() {
    let mut y = vec![3f32; 4];
    multiply_nt(ViewMut::new(&mut y, 2, 2), View::new(&[], 2, 0), View::new(&[], 2, 0), 1.0, true);
    assert_eq!(y, [3.0; 4]);
    multiply_nt(ViewMut::new(&mut y, 2, 2), View::new(&[], 2, 0), View::new(&[], 2, 0), 1.0, false);
    assert_eq!(y, [0.0; 4]);
    multiply_nn(ViewMut::new(&mut [], 0, 2), View::new(&[], 0, 3), View::new(&[0.0; 6], 3, 2), 1.0, false);
    for precision in [Precision::F32, Precision::Bf16] {
        let matrix = Matrix::new(2, 3, vec![1.0; 6], precision, Use::Frozen);
        matrix.forward(View::new(&[], 0, 3), ViewMut::new(&mut [], 0, 2), false);
        matrix.backward(View::new(&[], 0, 2), ViewMut::new(&mut [], 0, 3), false);
        let mut dw = vec![5f32; 6];
        matrix.gradient(View::new(&[], 0, 2), View::new(&[], 0, 3), &mut dw, true);
        assert_eq!(dw, [5.0; 6]);
    }
}

#[test]
fn every_level_gives_the_product() {
    for shape @ (m, n, k) in SHAPES {
        let (x, w) = (numbers(m * k, 5), numbers(n * k, 6));
        let panels = Panels::<f32>::new(Source::Transposed(View::new(&w, n, k)));
        let expected = reference(shape, |i, p| f64::from(x[i * k + p]), |p, j| f64::from(w[j * k + p]));
        for candidate in [Level::Portable, Level::Avx2, Level::Avx512] {
            if candidate <= level() {
                let mut y = vec![f32::NAN; m * n];
                let to = ViewMut::new(&mut y, m, n);
                multiply_panels_by(
                    candidate,
                    Factor::plain(View::new(&x, m, k)),
                    &panels.data,
                    to.into(),
                    1.0,
                    false,
                );
                assert_close(&y, &expected, 1e-5);
            }
        }
    }
}

#[test]
fn every_method_gives_the_product_of_rounded_factors() {
    for shape @ (m, n, k) in SHAPES {
        let (x, w) = (numbers(m * k, 7), numbers(n * k, 8));
        let panels = Panels::<u32>::new(Source::Transposed(View::new(&w, n, k)));
        let product = reference(shape, |i, p| rounded(x[i * k + p]), |p, j| rounded(w[j * k + p]));
        let transposed = reference(shape, |i, p| rounded(x[p * m + i]), |p, j| rounded(w[j * k + p]));
        for method in rounded::available() {
            let mut y = vec![f32::NAN; m * n];
            let mut multiply = |left, accumulate| {
                let to = ViewMut::new(&mut y, m, n).into();
                rounded::multiply_by(method, left, (&panels).into(), to, accumulate, None);
                y.clone()
            };
            let plain = Left::Plain(View::new(&x, m, k));
            assert_close(&multiply(plain, false), &product, 1e-5);
            let twice: Vec<f64> = product.iter().map(|y| 2.0 * y).collect();
            assert_close(&multiply(plain, true), &twice, 1e-5);
            assert_close(&multiply(Left::Transposed(View::new(&x, k, m)), false), &transposed, 1e-5);
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (m, n, k) = (67, 70, 65);
    let (x, w) = (numbers(m * k, 9), numbers(n * k, 10));
    let single = Panels::<f32>::new(Source::Transposed(View::new(&w, n, k)));
    let pairs = Panels::<u32>::new(Source::Transposed(View::new(&w, n, k)));
    let product = |method: Option<Method>, x: &[f32]| {
        let rows = x.len() / k;
        let mut y = vec![0f32; rows * n];
        let (view, to) = (View::new(x, rows, k), ViewMut::new(&mut y, rows, n));
        match method {
            None => multiply_panels_by(level(), Factor::plain(view), &single.data, to.into(), 1.0, false),
            Some(method) => {
                rounded::multiply_by(method, Left::Plain(view), (&pairs).into(), to.into(), false, None)
            }
        }
        y
    };
    for method in rounded::available().into_iter().map(Some).chain([None]) {
        let whole = product(method, &x);
        for row in [0, 5, 31, 66] {
            let alone = product(method, &x[row * k..][..k]);
            assert_eq!(whole[row * n..][..n], alone, "{method:?} row {row}");
        }
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    // Halves of the last place of bfloat16 (2^-8 of the number) go to the even neighbour.
    for (x, expected) in [
        (1.0, 0x3f80),
        (1.0 + 1.0 / 256.0, 0x3f80),
        (1.0 + 3.0 / 256.0, 0x3f82),
        (1.0 + 1.001 / 256.0, 0x3f81),
        (-2.0, 0xc000),
        (f32::INFINITY, 0x7f80),
        (f32::MAX, 0x7f80),
        (0.0, 0),
    ] {
        assert_eq!(round_bf16(x), expected, "{x}");
    }
    assert!(half(f32::from_bits(0x7f80_0001)).is_nan());
}

#[test]
fn matrices_match_the_reference_in_every_storage() {
    let (rows, outputs, inputs) = (19, 45, 37);
    let (x, w, dy) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 2), numbers(rows * outputs, 3));
    for precision in [Precision::F32, Precision::Bf16] {
        let entry = |x: f32| if precision == Precision::F32 { f64::from(x) } else { rounded(x) };
        for usage in [Use::Inference, Use::Frozen, Use::Trainable] {
            let matrix = Matrix::new(outputs, inputs, w.clone(), precision, usage);
            let mut y = vec![1f32; rows * outputs];
            matrix.forward(View::new(&x, rows, inputs), ViewMut::new(&mut y, rows, outputs), true);
            let expected = reference(
                (rows, outputs, inputs),
                |i, p| entry(x[i * inputs + p]),
                |p, j| entry(w[j * inputs + p]),
            );
            assert_close(&y, &expected.iter().map(|y| y + 1.0).collect::<Vec<_>>(), 1e-5);

            if usage != Use::Inference {
                let mut dx = vec![f32::NAN; rows * inputs];
                matrix.backward(View::new(&dy, rows, outputs), ViewMut::new(&mut dx, rows, inputs), false);
                let shape = (rows, inputs, outputs);
                let expected =
                    reference(shape, |i, p| entry(dy[i * outputs + p]), |p, j| entry(w[p * inputs + j]));
                assert_close(&dx, &expected, 1e-5);
            }

            let mut dw = vec![2f32; outputs * inputs];
            matrix.gradient(View::new(&dy, rows, outputs), View::new(&x, rows, inputs), &mut dw, true);
            let shape = (outputs, inputs, rows);
            let expected =
                reference(shape, |i, p| entry(dy[p * outputs + i]), |p, j| entry(x[p * inputs + j]));
            assert_close(&dw, &expected.iter().map(|dw| dw + 2.0).collect::<Vec<_>>(), 1e-5);

            let kept: Vec<f64> =
                if usage == Use::Trainable { doubles(&w) } else { w.iter().map(|&w| entry(w)).collect() };
            assert_close(&matrix.to_f32(), &kept, 0.0);
            let mut row = vec![0f32; inputs];
            matrix.row(41, &mut row);
            assert_close(
                &row,
                &w[41 * inputs..][..inputs].iter().map(|&w| entry(w)).collect::<Vec<_>>(),
                0.0,
            );
        }
    }
}

#[test]
fn an_update_reaches_every_copy() {
    for precision in [Precision::F32, Precision::Bf16] {
        let mut matrix = Matrix::new(40, 33, numbers(40 * 33, 4), precision, Use::Trainable);
        matrix.update(|values| values.iter_mut().for_each(|value| *value = 2.0));
        let mut y = vec![0f32; 40];
        matrix.forward(View::new(&[1.0; 33], 1, 33), ViewMut::new(&mut y, 1, 40), false);
        assert_eq!(y, [66.0; 40]);
        let mut dx = vec![0f32; 33];
        matrix.backward(View::new(&[1.0; 40], 1, 40), ViewMut::new(&mut dx, 1, 33), false);
        assert_eq!(dx, [80.0; 33]);
        matrix.row(39, &mut dx);
        assert_eq!(dx, [2.0; 33]);
    }
}

#[test]
#[should_panic(expected = "kept for inference")]
fn inference_has_no_backward() {
    let matrix = Matrix::new(1, 1, vec![1.0], Precision::Bf16, Use::Inference);
    matrix.backward(View::new(&[1.0], 1, 1), ViewMut::new(&mut [0.0], 1, 1), false);
}

#[test]
fn storage_holds_what_the_table_says() {
    let bytes = |precision, usage| Matrix::new(64, 64, vec![0.0; 4096], precision, usage).bytes();
    assert_eq!(bytes(Precision::F32, Use::Inference), 4 * 4096);
    assert_eq!(bytes(Precision::F32, Use::Frozen), 8 * 4096);
    assert_eq!(bytes(Precision::F32, Use::Trainable), 8 * 4096);
    assert_eq!(bytes(Precision::Bf16, Use::Inference), 2 * 4096);
    assert_eq!(bytes(Precision::Bf16, Use::Frozen), 4 * 4096);
    assert_eq!(bytes(Precision::Bf16, Use::Trainable), 6 * 4096);
}

#[test]
fn threads_do_not_change_products() {
    let (m, n, k) = (300, 200, 130);
    let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
    for precision in [Precision::F32, Precision::Bf16] {
        let matrix = Matrix::new(n, k, w.clone(), precision, Use::Frozen);
        same_at_any_number_of_threads(|| {
            let mut y = vec![0f32; m * n];
            matrix.forward(View::new(&x, m, k), ViewMut::new(&mut y, m, n), false);
            let mut dx = vec![0f32; m * k];
            matrix.backward(View::new(&y, m, n), ViewMut::new(&mut dx, m, k), false);
            let mut dw = vec![0f32; n * k];
            matrix.gradient(View::new(&y, m, n), View::new(&x, m, k), &mut dw, true);
            [y, dx, dw].concat()
        });
    }
}

#[test]
#[should_panic(expected = "in 11 elements")]
fn short_data_is_refused() {
    View::new(&[0.0; 11], 3, 4);
}

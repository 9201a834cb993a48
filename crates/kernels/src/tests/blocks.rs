//! Matrices kept in blocks, against the same weights unpacked first.

use super::{assert_close, doubles, numbers, same_at_any_number_of_threads};
use crate::blocks::{Blocks, Direction, PackedBlocks};
use crate::matrix::{Matrix, Precision, Use};
use crate::panel::{Panels, Source};
use crate::product::{View, ViewMut};
use crate::rounded::{self, Left, Right};

/// Blocks of random codes in `least ..= most`; scales are halves in 1/64 .. 1/32, or not where `exact` is false.
fn blocks(
    shape: (usize, usize),
    group: usize,
    (least, most): (i8, i8),
    minimums: bool,
    exact: bool,
) -> Blocks {
    let (outputs, inputs) = shape;
    let range = f32::from(most) - f32::from(least) + 1.0;
    let code = |x: f32| (f32::from(least) + ((x + 1.0) / 2.0 * range).floor()).min(f32::from(most)) as i8;
    let scale = |x: &f32| {
        let scale = (x + 3.0) / 128.0;
        if exact { (scale * 32768.0).round() / 32768.0 } else { scale }
    };
    let groups = outputs * inputs / group;
    Blocks {
        outputs,
        inputs,
        group,
        codes: numbers(outputs * inputs, 11).into_iter().map(code).collect(),
        scales: numbers(groups, 12).iter().map(scale).collect(),
        minimums: if minimums { numbers(groups, 13).iter().map(|x| -scale(x)).collect() } else { Vec::new() },
    }
}

/// Nibbles and bytes, groups of both sizes, with and without minimums, scales of both widths; shapes that fill their
/// squares and not, and deeper than a stretch.
fn kinds() -> Vec<Blocks> {
    vec![
        blocks((45, 64), 32, (-8, 7), false, true),
        blocks((64, 320), 32, (0, 15), true, true),
        blocks((70, 96), 32, (-128, 127), false, true),
        blocks((33, 608), 16, (-32, 31), false, false),
        blocks((300, 32), 32, (0, 31), true, false),
        blocks((40, 4160), 16, (0, 3), true, true),
    ]
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn blocks_are_scale_times_code_plus_minimum() {
    let mut own = Blocks {
        outputs: 1,
        inputs: 32,
        group: 16,
        codes: (0..32).collect(),
        scales: vec![0.5, 2.0],
        minimums: vec![-1.0, 1.0],
    };
    let values = own.values();
    assert_eq!((values[0], values[3], values[16], values[31]), (-1.0, 0.5, 33.0, 63.0));
    // Rows below, of larger groups and without minimums.
    own.append(Blocks {
        outputs: 1,
        inputs: 32,
        group: 32,
        codes: vec![-7; 32],
        scales: vec![3.0],
        minimums: Vec::new(),
    });
    assert_eq!((own.outputs, own.values()[..32] == values, own.values()[63]), (2, true, -21.0));
}

#[test]
fn products_with_blocks_have_the_bits_of_unpacked_weights() {
    for blocks in kinds() {
        let (n, k) = (blocks.outputs, blocks.inputs);
        let values = blocks.values();
        let (stored, plain) = (
            Matrix::from_blocks(&blocks, Use::Frozen),
            Matrix::new(n, k, values.clone(), Precision::Bf16, Use::Frozen),
        );
        assert_eq!(bits(&stored.to_f32()), bits(&values), "to_f32 gives the exact values");
        for m in [1, 3, 17, 250] {
            let (x, dy) = (numbers(m * k, 1), numbers(m * n, 2));
            let both = [&stored, &plain].map(|matrix| {
                let (mut y, mut dx) = (numbers(m * n, 3), numbers(m * k, 4));
                matrix.forward(View::new(&x, m, k), ViewMut::new(&mut y, m, n), true);
                matrix.backward(View::new(&dy, m, n), ViewMut::new(&mut dx, m, k), m > 1);
                let mut row = vec![0f32; k];
                matrix.row(n - 1, &mut row);
                matrix.forward(View::new(&x, m, k), ViewMut::new(&mut y, m, n), m > 3);
                [bits(&y), bits(&dx), bits(&row)]
            });
            assert!(both[0] == both[1], "{m} rows, {n} x {k}, groups of {}", blocks.group);
        }
    }
}

#[test]
fn every_method_unpacks_to_the_same_product() {
    for blocks in kinds() {
        let (n, k) = (blocks.outputs, blocks.inputs);
        let values = blocks.values();
        let packed = PackedBlocks::new(&blocks);
        let forward = Panels::<u32>::new(Source::Transposed(View::new(&values, n, k)));
        let m = 9;
        let x = numbers(m * k, 5);
        for method in rounded::available() {
            let both = [Right::blocks(&packed, Direction::Forward), (&forward).into()].map(|right| {
                let mut y = vec![0f32; m * n];
                let left = Left::Plain(View::new(&x, m, k));
                rounded::multiply_by(method, left, right, ViewMut::new(&mut y, m, n).into(), false, None);
                bits(&y)
            });
            assert!(both[0] == both[1], "{method:?}, {n} x {k}");
        }
    }
}

#[test]
fn the_portable_unpacking_gives_the_same_bits() {
    for blocks in kinds() {
        PackedBlocks::new(&blocks).compare_unpacking();
    }
}

#[test]
fn threads_do_not_change_products_with_blocks() {
    let blocks = blocks((200, 160), 32, (0, 15), true, true);
    let matrix = Matrix::from_blocks(&blocks, Use::Frozen);
    let x = numbers(300 * 160, 6);
    same_at_any_number_of_threads(|| {
        let mut y = vec![0f32; 300 * 200];
        matrix.forward(View::new(&x, 300, 160), ViewMut::new(&mut y, 300, 200), false);
        let mut dx = vec![0f32; 300 * 160];
        matrix.backward(View::new(&y, 300, 200), ViewMut::new(&mut dx, 300, 160), false);
        [y, dx].concat()
    });
}

#[test]
fn blocks_take_what_the_table_says() {
    let bytes = |codes, minimums, exact| {
        let blocks = blocks((64, 64), 32, codes, minimums, exact);
        Matrix::from_blocks(&blocks, Use::Frozen).bytes()
    };
    assert_eq!(bytes((-8, 7), false, true), 4096 / 2 + 2 * 128);
    assert_eq!(bytes((0, 15), true, true), 4096 / 2 + 4 * 128);
    assert_eq!(bytes((-128, 127), false, true), 4096 + 2 * 128);
    assert_eq!(bytes((0, 31), true, false), 4096 + 8 * 128);
}

#[test]
fn halves_are_kept_exactly() {
    // All half-precision numbers that are finite, as IEEE 754 defines them.
    for half in (0u16..0x7c00).chain(0x8000..0xfc00) {
        let (exponent, mantissa) = (i32::from(half >> 10 & 31), f64::from(half & 1023));
        let magnitude = match exponent {
            0 => mantissa * 2f64.powi(-24),
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        let scale = if half & 0x8000 == 0 { magnitude } else { -magnitude } as f32;
        let blocks = Blocks {
            outputs: 1,
            inputs: 32,
            group: 32,
            codes: vec![1; 32],
            scales: vec![scale],
            minimums: Vec::new(),
        };
        let matrix = Matrix::from_blocks(&blocks, Use::Inference);
        assert_eq!(matrix.bytes(), 512 + 64, "{scale} fits 16 bits");
        assert_close(&matrix.to_f32(), &doubles(&[scale; 32]), 0.0);
    }
}

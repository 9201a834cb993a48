//! Attention against the definition.

use super::{assert_close, doubles, gradient, numbers, same_at_any_number_of_threads};
use crate::attention::{Heads, KeyValues, ROOT, Segment, attention, attention_backward, attention_rounded};

const LLAMA: Heads = Heads { heads: 6, kv_heads: 2, head_dim: 16, window: None };

/// One key that a row may see: its position and where it and its value are.
struct Seen {
    position: usize,
    key: Vec<f64>,
    value: Vec<f64>,
}

/// `softmax(q . K^T / sqrt(d)) . V` for every row and head of every segment, and the log-sum-exp of the scores. Rows
/// and keys are compared one by one: pasts and causal rows by position, nodes by walking up the tree.
fn reference(heads: Heads, qkv: &[f64], segments: &[Segment<'_>]) -> (Vec<f64>, Vec<f64>) {
    let Heads { heads: count, kv_heads, head_dim: dim, window } = heads;
    let stride = (count + 2 * kv_heads) * dim;
    let batch = qkv.len() / stride;
    let (mut out, mut lse) = (vec![0.0; batch * count * dim], vec![0.0; batch * count]);
    for segment in segments {
        let past_len: usize = segment.past.iter().map(|past| past.len()).sum();
        let ancestors = |node: usize| {
            let mut line = vec![node];
            while segment.tree[*line.last().unwrap()] != ROOT {
                line.push(segment.tree[*line.last().unwrap()] as usize);
            }
            line
        };
        let position = |row: usize| match row < segment.causal {
            true => past_len + row,
            false => past_len + segment.causal - 1 + ancestors(row - segment.causal).len(),
        };
        for row in 0..segment.causal + segment.tree.len() {
            let line = if row < segment.causal { vec![] } else { ancestors(row - segment.causal) };
            for head in 0..count {
                let kv = head / (count / kv_heads);
                let mut keys = Vec::new();
                for past in segment.past {
                    for at in 0..past.len() {
                        let [key, value] = past.position(at, kv).map(|x| doubles(&x));
                        keys.push(Seen { position: keys.len(), key, value });
                    }
                }
                let own =
                    (0..segment.causal.min(row + 1)).chain(line.iter().map(|node| segment.causal + node));
                for key in own {
                    let at = (segment.start + key) * stride + (count + kv) * dim;
                    keys.push(Seen {
                        position: position(key),
                        key: qkv[at..][..dim].to_vec(),
                        value: qkv[at + kv_heads * dim..][..dim].to_vec(),
                    });
                }
                keys.retain(|seen| window.is_none_or(|window| position(row) - seen.position < window));
                let query = &qkv[(segment.start + row) * stride + head * dim..][..dim];
                let score = |seen: &Seen| {
                    query.iter().zip(&seen.key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()
                };
                let sum: f64 = keys.iter().map(|seen| score(seen).exp()).sum();
                let at = (segment.start + row) * count + head;
                lse[at] = sum.ln();
                for seen in &keys {
                    for (i, value) in seen.value.iter().enumerate() {
                        out[at * dim + i] += score(seen).exp() / sum * value;
                    }
                }
            }
        }
    }
    (out, lse)
}

/// The nearest bfloat16 below: what rounding leaves as it is.
fn representable(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xffff_0000)
}

fn causal(start: usize, causal: usize) -> Segment<'static> {
    Segment { start, causal, tree: &[], past: &[], held: None }
}

#[track_caller]
fn check(heads: Heads, batch: usize, segments: &[Segment<'_>]) {
    let qkv: Vec<f32> = numbers(batch * heads.row(), 11).iter().map(|x| representable(2.0 * x)).collect();
    let mut out = vec![0f32; batch * heads.heads * heads.head_dim];
    let mut lse = vec![0f32; batch * heads.heads];
    attention(heads, &qkv, segments, &mut out, Some(&mut lse));
    let (expected, expected_lse) = reference(heads, &doubles(&qkv), segments);
    assert_close(&out, &expected, 1e-5);
    assert_close(&lse, &expected_lse, 1e-5);
    // Where the scale is a power of two, queries, keys and values stay as they are and only the weights are rounded, each
    // by at most one part in 512: as much as their sum of values, all within 2 of zero, can be off, with some room.
    let kept: Vec<Vec<KeyValues>> =
        segments.iter().map(|s| s.past.iter().map(|past| kept_rounded(heads, past)).collect()).collect();
    let pasts: Vec<Vec<&KeyValues>> = kept.iter().map(|kept| kept.iter().collect()).collect();
    let stored: Vec<Segment<'_>> =
        segments.iter().zip(&pasts).map(|(segment, past)| Segment { past, ..segment.clone() }).collect();
    let mut from_stored = out.clone();
    attention_rounded(heads, &qkv, &stored, &mut from_stored);
    attention_rounded(heads, &qkv, segments, &mut out);
    assert!(
        out.iter().zip(&from_stored).all(|(a, b)| a.to_bits() == b.to_bits()),
        "kept rounded, or rounded now"
    );
    let tolerance = if heads.head_dim == 16 { 1.0 / 128.0 } else { 1.0 / 32.0 };
    for (index, (out, expected)) in out.iter().zip(&expected).enumerate() {
        assert!((f64::from(*out) - expected).abs() < tolerance, "rounded {index}: {out} and {expected}");
    }
}

#[test]
fn packed_sequences() {
    check(LLAMA, 400, &[causal(0, 1), causal(1, 33), causal(34, 300), causal(340, 60)]);
    check(Heads { heads: 3, kv_heads: 3, head_dim: 7, window: None }, 20, &[causal(0, 20)]);
    check(Heads { heads: 4, kv_heads: 1, head_dim: 40, window: None }, 70, &[causal(0, 70)]);
}

#[test]
fn a_sliding_window() {
    for window in [1, 2, 31, 130, 1000] {
        let heads = Heads { window: Some(window), ..LLAMA };
        check(heads, 280, &[causal(0, 260), causal(260, 20)]);
    }
}

/// Keys and values of `len` positions that rounding to bfloat16 leaves as they are.
fn past(heads: Heads, len: usize, seed: u64) -> KeyValues {
    let mut past = KeyValues::new(&heads);
    let qkv: Vec<f32> = numbers(len * heads.row(), seed).into_iter().map(representable).collect();
    past.append(&heads, &qkv);
    past
}

/// The same, kept for rounded attention.
fn kept_rounded(heads: Heads, past: &KeyValues) -> KeyValues {
    let mut kept = KeyValues::rounded(&heads);
    for position in 0..past.len() {
        let mut row = vec![0f32; heads.heads * heads.head_dim];
        let parts: Vec<[Vec<f32>; 2]> = (0..heads.kv_heads).map(|kv| past.position(position, kv)).collect();
        row.extend(parts.iter().flat_map(|[key, _]| key));
        row.extend(parts.iter().flat_map(|[_, value]| value));
        kept.append(&heads, &row);
    }
    kept
}

#[test]
fn what_is_kept_is_what_came() {
    for (heads, positions) in
        [(LLAMA, 1), (LLAMA, 67), (Heads { heads: 2, kv_heads: 1, head_dim: 35, window: None }, 34)]
    {
        let (single, mut grown) = (past(heads, positions, 8), KeyValues::rounded(&heads));
        grown.reserve(positions);
        let kept = kept_rounded(heads, &single);
        let qkv: Vec<f32> = numbers(positions * heads.row(), 8).into_iter().map(representable).collect();
        qkv.chunks(3 * heads.row()).for_each(|rows| grown.append(&heads, rows));
        assert_eq!((kept.len(), grown.len(), kept.bytes()), (positions, positions, grown.bytes()));
        for position in 0..positions {
            for kv in 0..heads.kv_heads {
                assert_eq!(kept.position(position, kv), single.position(position, kv));
                assert_eq!(grown.position(position, kv), single.position(position, kv));
            }
        }
    }
}

#[test]
fn shared_and_own_pasts() {
    for window in [None, Some(50), Some(3)] {
        let heads = Heads { window, ..LLAMA };
        let (prefix, first, second) = (past(heads, 200, 1), past(heads, 5, 3), past(heads, 0, 5));
        let both = [&prefix, &first];
        let alone = [&prefix];
        let empty = [&second, &prefix];
        check(
            heads,
            60,
            &[
                Segment { start: 0, causal: 9, tree: &[], past: &both, held: None },
                Segment { start: 20, causal: 11, tree: &[], past: &alone, held: None },
                Segment { start: 9, causal: 11, tree: &[], past: &alone, held: None },
                Segment { start: 31, causal: 4, tree: &[], past: &empty, held: None },
                causal(40, 20),
                Segment { start: 35, causal: 1, tree: &[], past: &both, held: None },
            ],
        );
    }
}

#[test]
fn label_trees() {
    let chain: Vec<u32> = std::iter::once(ROOT).chain(0..139).collect();
    let bush = [ROOT, 0, 0, 1, 1, ROOT, 5, 2, 7, 5];
    for window in [None, Some(4), Some(100)] {
        let heads = Heads { window, ..LLAMA };
        let prefix = past(heads, 130, 1);
        let pasts = [&prefix];
        check(
            heads,
            400,
            &[
                Segment { start: 0, causal: 20, tree: &bush, past: &pasts, held: None },
                Segment { start: 30, causal: 1, tree: &bush, past: &[], held: None },
                Segment { start: 41, causal: 0, tree: &bush, past: &pasts, held: None },
                Segment { start: 51, causal: 140, tree: &chain, past: &pasts, held: None },
                Segment { start: 331, causal: 3, tree: &[], past: &pasts, held: None },
            ],
        );
    }
}

/// Attention of `qkv` over segments, into the last.
type Attend<'a> = dyn Fn(&[f32], &[Segment<'_>], &mut [f32]) + 'a;

/// Nodes that are computed after others of their tree see what they see when the tree is computed at once: the rows of the whole
/// tree (which `label_trees` holds against the definition) are the reference.
#[test]
fn a_tree_that_grows() {
    let chain: Vec<u32> = std::iter::once(ROOT).chain(0..170).collect();
    let bush = [ROOT, 0, 0, 1, 1, ROOT, 5, 2, 7, 5];
    for (tree, held, window) in [
        (&bush[..], 1, None),
        (&bush, 4, None),
        (&bush, 9, Some(3)),
        (&chain, 60, None),
        (&chain, 150, None),
        (&chain, 150, Some(5)),
        (&chain, 131, Some(100)),
    ] {
        let heads = Heads { window, ..LLAMA };
        let prefix = past(heads, 130, 1);
        let causal = 20;
        let qkv: Vec<f32> =
            numbers((causal + tree.len()) * heads.row(), 11).into_iter().map(representable).collect();
        let rows = |from: usize, to: usize| &qkv[from * heads.row()..to * heads.row()];
        let width = heads.heads * heads.head_dim;
        let mut whole = vec![0f32; (causal + tree.len()) * width];
        let segment = Segment { start: 0, causal, tree, past: &[&prefix], held: None };
        attention(heads, &qkv, &[segment], &mut whole, None);
        let expected = &whole[(causal + held) * width..];
        let kept = |new: fn(&Heads) -> KeyValues, from, to| {
            let mut kept = new(&heads);
            kept.append(&heads, rows(from, to));
            kept
        };
        let other = past(heads, 40, 9);
        let grown = |own: &KeyValues, nodes: &KeyValues, attend: &Attend<'_>| {
            let (pasts, others) = ([&prefix, own], [&prefix, &other]);
            // Rows of another sequence stand before them.
            let mut both = numbers(3 * heads.row(), 5);
            both.extend_from_slice(rows(causal + held, causal + tree.len()));
            let mut out = vec![0f32; both.len() / heads.row() * width];
            let segments = [
                Segment { start: 0, causal: 3, tree: &[], past: &others, held: None },
                Segment { start: 3, causal: 0, tree, past: &pasts, held: Some(nodes) },
            ];
            attend(&both, &segments, &mut out);
            out.split_off(3 * width)
        };
        let single = |qkv: &[f32], segments: &[Segment<'_>], out: &mut [f32]| {
            attention(heads, qkv, segments, out, None);
        };
        let (own, nodes) = (kept(KeyValues::new, 0, causal), kept(KeyValues::new, causal, causal + held));
        assert_close(&grown(&own, &nodes, &single), &doubles(expected), 1e-5);
        let rounded = |qkv: &[f32], segments: &[Segment<'_>], out: &mut [f32]| {
            attention_rounded(heads, qkv, segments, out);
        };
        let (own, nodes) =
            (kept(KeyValues::rounded, 0, causal), kept(KeyValues::rounded, causal, causal + held));
        for (out, expected) in grown(&own, &nodes, &rounded).iter().zip(expected) {
            assert!((out - expected).abs() < 1.0 / 64.0, "{out} and {expected}");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let prefix = past(LLAMA, 150, 1);
    let pasts = [&prefix];
    let qkv = numbers(100 * LLAMA.row(), 4);
    let width = LLAMA.heads * LLAMA.head_dim;
    let segment = |start, causal| Segment { start, causal, tree: &[], past: &pasts, held: None };
    let mut whole = vec![0f32; 100 * width];
    attention(LLAMA, &qkv, &[segment(0, 30), segment(30, 50), segment(80, 20)], &mut whole, None);
    let mut alone = vec![0f32; 50 * width];
    attention(LLAMA, &qkv[30 * LLAMA.row()..][..50 * LLAMA.row()], &[segment(0, 50)], &mut alone, None);
    assert_eq!(whole[30 * width..][..50 * width], alone);
    attention_rounded(LLAMA, &qkv, &[segment(0, 30), segment(30, 50), segment(80, 20)], &mut whole);
    attention_rounded(LLAMA, &qkv[30 * LLAMA.row()..][..50 * LLAMA.row()], &[segment(0, 50)], &mut alone);
    assert_eq!(whole[30 * width..][..50 * width], alone);
}

#[test]
fn rows_of_no_segment_are_left() {
    let mut out = vec![5f32; 4 * 96];
    attention(LLAMA, &numbers(4 * LLAMA.row(), 1), &[causal(1, 2)], &mut out, None);
    assert!(out[..96].iter().chain(&out[3 * 96..]).all(|&out| out == 5.0));
    attention(LLAMA, &[], &[], &mut [], None);
}

#[test]
fn scores_far_apart_stay_finite() {
    let heads = Heads { heads: 1, kv_heads: 1, head_dim: 1, window: None };
    // Query 1000 against keys -1000 and 1000: the second takes all the weight.
    let qkv = [1000.0, -1000.0, 3.0, 1000.0, 1000.0, 4.0];
    let (mut out, mut lse) = (vec![0f32; 2], vec![0f32; 2]);
    attention(heads, &qkv, &[causal(0, 2)], &mut out, Some(&mut lse));
    assert_eq!(out, [3.0, 4.0]);
    assert_eq!(lse, [-1e6, 1e6]);
}

#[test]
fn gradients_match_finite_differences() {
    let segments = [causal(0, 5), causal(6, 1), causal(7, 2)];
    for heads in [
        Heads { heads: 4, kv_heads: 2, head_dim: 5, window: None },
        Heads { heads: 2, kv_heads: 2, head_dim: 4, window: Some(2) },
        Heads { heads: 3, kv_heads: 1, head_dim: 3, window: Some(3) },
    ] {
        let batch = 9;
        let qkv = numbers(batch * heads.row(), 3);
        let dout = numbers(batch * heads.heads * heads.head_dim, 4);
        let expected = gradient(&qkv, |qkv| {
            let (out, _) = reference(heads, qkv, &segments);
            out.iter().zip(&dout).map(|(out, dout)| out * f64::from(*dout)).sum()
        });
        assert_close(&differentiate(heads, &qkv, &dout, &segments), &expected, 1e-5);
    }
}

fn differentiate(heads: Heads, qkv: &[f32], dout: &[f32], segments: &[Segment<'_>]) -> Vec<f32> {
    let batch = qkv.len() / heads.row();
    let mut out = vec![0f32; batch * heads.heads * heads.head_dim];
    let mut lse = vec![0f32; batch * heads.heads];
    attention(heads, qkv, segments, &mut out, Some(&mut lse));
    let mut dqkv = vec![f32::NAN; qkv.len()];
    attention_backward(heads, qkv, &out, dout, &lse, segments, &mut dqkv);
    dqkv
}

/// The gradient's formulas over all pairs of rows, in `f64` (Dao et al. 2022, appendix B.2).
fn reference_gradient(heads: Heads, qkv: &[f64], dout: &[f64], segments: &[Segment<'_>]) -> Vec<f64> {
    let Heads { heads: count, kv_heads, head_dim: dim, window } = heads;
    let stride = heads.row();
    let (out, lse) = reference(heads, qkv, segments);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = 1.0 / (dim as f64).sqrt();
    let mut dqkv = vec![0f64; qkv.len()];
    for segment in segments {
        for row in 0..segment.causal {
            for head in 0..count {
                let kv = head / (count / kv_heads);
                let at = (segment.start + row) * count + head;
                let delta = dot(&out[at * dim..][..dim], &dout[at * dim..][..dim]);
                let query = (segment.start + row) * stride + head * dim;
                for key in (0..=row).filter(|key| window.is_none_or(|window| row - key < window)) {
                    let key = (segment.start + key) * stride + (count + kv) * dim;
                    let value = key + kv_heads * dim;
                    let weight = (scale * dot(&qkv[query..][..dim], &qkv[key..][..dim]) - lse[at]).exp();
                    let dscore =
                        weight * (dot(&dout[at * dim..][..dim], &qkv[value..][..dim]) - delta) * scale;
                    for i in 0..dim {
                        dqkv[value + i] += weight * dout[at * dim + i];
                        dqkv[query + i] += dscore * qkv[key + i];
                        dqkv[key + i] += dscore * qkv[query + i];
                    }
                }
            }
        }
    }
    dqkv
}

#[test]
fn gradients_of_long_sequences_match_the_formula() {
    let segments = [causal(0, 290), causal(290, 40), causal(330, 129)];
    for window in [None, Some(1), Some(70), Some(200)] {
        let heads = Heads { heads: 6, kv_heads: 2, head_dim: 8, window };
        let (qkv, dout) = (numbers(459 * heads.row(), 5), numbers(459 * heads.heads * 8, 6));
        let expected = reference_gradient(heads, &doubles(&qkv), &doubles(&dout), &segments);
        assert_close(&differentiate(heads, &qkv, &dout, &segments), &expected, 2e-5);
    }
}

#[test]
fn threads_do_not_change_attention() {
    let segments = [causal(0, 150), causal(150, 40), causal(190, 110)];
    let (qkv, dout) = (numbers(300 * LLAMA.row(), 5), numbers(300 * 96, 6));
    same_at_any_number_of_threads(|| differentiate(LLAMA, &qkv, &dout, &segments));
    let prefix = past(LLAMA, 300, 1);
    let pasts = [&prefix];
    let segment = |start| Segment { start, causal: 25, tree: &[ROOT, 0, 0, ROOT], past: &pasts, held: None };
    same_at_any_number_of_threads(|| {
        let mut out = vec![0f32; 300 * 96];
        attention(LLAMA, &qkv, &[segment(0), segment(29), segment(58), segment(87)], &mut out, None);
        out
    });
    same_at_any_number_of_threads(|| {
        let mut out = vec![0f32; 300 * 96];
        attention_rounded(LLAMA, &qkv, &[segment(0), segment(29), segment(58), segment(87)], &mut out);
        out
    });
}

#[test]
#[should_panic(expected = "a row in two segments")]
fn overlapping_segments_are_refused() {
    attention(LLAMA, &numbers(4 * LLAMA.row(), 1), &[causal(0, 3), causal(2, 2)], &mut [0.0; 4 * 96], None);
}

#[test]
#[should_panic(expected = "parents come before")]
fn a_tree_with_a_cycle_is_refused() {
    let segment = Segment { start: 0, causal: 1, tree: &[1, 0], past: &[], held: None };
    attention(LLAMA, &numbers(3 * LLAMA.row(), 1), &[segment], &mut [0.0; 3 * 96], None);
}

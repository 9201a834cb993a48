//! GFLOP/s of attention at the shapes of the embedded model (width 192) and of a 135M model (width 576).
//!
//! `cargo bench -p weigh-kernels --bench attention` prints one line a shape: the best of the repetitions that fit in a
//! quarter of a second, on all threads. `RAYON_NUM_THREADS` limits them.
#![expect(clippy::print_stdout, reason = "the result of a benchmark is what it prints")]

use std::time::{Duration, Instant};

use kernels::attention::{Heads, KeyValues, Segment, attention, attention_backward};

fn main() {
    kernels::threads::within(|| {
        println!("{} threads, GFLOP/s", kernels::threads::count());
        println!("{:>28}  {:>8} {:>8}", "attention", "forward", "backward");
        let small = Heads { heads: 3, kv_heads: 1, head_dim: 64, window: None };
        let large = Heads { heads: 9, kv_heads: 3, head_dim: 64, window: None };
        attend("16 x 30, 3 heads", small, &[30; 16], 0);
        attend("16 x 20..500, 3 heads", small, &std::array::from_fn::<_, 16, _>(|i| 20 + 32 * i), 0);
        attend("2048, 9 heads", large, &[2048], 0);
        attend("12 x 32 after 1600, 9 heads", large, &[32; 12], 1600);
        attend("1 after 1600, 9 heads", large, &[1], 1600);
    });
}

fn attend(name: &str, heads: Heads, lengths: &[usize], past: usize) {
    let rows: usize = lengths.iter().sum();
    let qkv = numbers(rows * heads.row());
    let mut kept = KeyValues::new(&heads);
    kept.append(&heads, &numbers(past * heads.row()));
    let pasts = [&kept];
    let pasts = if past == 0 { &pasts[..0] } else { &pasts[..] };
    let mut start = 0;
    let mut segments = Vec::new();
    for &causal in lengths {
        segments.push(Segment { start, causal, tree: &[], past: pasts, held: None });
        start += causal;
    }
    let scores: usize = lengths.iter().map(|length| length * past + length * (length + 1) / 2).sum();
    let rate = |products: f64, seconds: f64| {
        2e-9 * products * (scores * heads.heads * heads.head_dim) as f64 / seconds
    };
    let mut out = vec![0f32; rows * heads.heads * heads.head_dim];
    let mut lse = vec![0f32; rows * heads.heads];
    let forward = rate(2.0, seconds(|| attention(heads, &qkv, &segments, &mut out, Some(&mut lse))));
    if past > 0 {
        println!("{name:>28}  {forward:8.1} {:>8}", "-");
        return;
    }
    let (dout, mut dqkv) = (numbers(out.len()), vec![0f32; qkv.len()]);
    let time = seconds(|| attention_backward(heads, &qkv, &out, &dout, &lse, &segments, &mut dqkv));
    println!("{name:>28}  {forward:8.1} {:8.1}", rate(5.0, time));
}

/// The best time of `work`.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < Duration::from_millis(250) {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Numbers in -1/2 .. 1/2.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0 - 0.5).collect()
}

//! The peak of the multiply-add instructions, from registers only: what the products of `benches/products.rs` are
//! compared with. `cargo bench -p weigh-kernels --bench peak`.
#![expect(clippy::print_stdout, reason = "the result of a benchmark is what it prints")]

mod support;

use support::{Instruction, peak};

fn main() {
    let all = kernels::threads::count();
    println!("{:>28}  {:>12} {:>12}", "", "one thread", format!("{all} threads"));
    for (name, instruction) in [
        ("f32 multiply-add, Gflop/s", Instruction::Single),
        ("VDPBF16PS, Gflop/s", Instruction::Pairs),
        ("VPDPBUSD, Gop/s", Instruction::Bytes),
        ("TDPBF16PS, Gflop/s", Instruction::Tiles),
    ] {
        let show = |rate: Option<f64>| rate.map_or("absent".into(), |rate| format!("{:.1}", rate / 1e9));
        println!("{name:>28}  {:>12} {:>12}", show(peak(instruction, 1)), show(peak(instruction, all)));
    }
}

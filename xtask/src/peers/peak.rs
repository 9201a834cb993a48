//! What the machine can do: the kernels' register-only benchmark.

use super::place::Place;

/// GFLOP/s of the multiply-adds that bf16 products are made of, on as many threads as the comparison uses, from
/// `cargo bench -p weigh-kernels --bench peak`: those of pairs, or, where there is no instruction for them, of 32 bits.
/// `None` where there is no such benchmark.
pub(super) fn measure(place: &Place) -> Option<f64> {
    let mut command = place.cargo();
    command.args(["bench", "--quiet", "--package", "weigh-kernels", "--bench", "peak"]);
    command.env("RAYON_NUM_THREADS", place.threads.to_string());
    let output = command.output().ok().filter(|output| output.status.success())?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The last number (all threads) of the lines of the bf16 instructions, the largest, or of those in 32 bits.
fn parse(text: &str) -> Option<f64> {
    let largest = |of: &str| {
        let lines = text.lines().filter(|line| line.to_lowercase().contains(of));
        lines.filter_map(|line| line.split_whitespace().next_back()?.parse().ok()).reduce(f64::max)
    };
    largest("bf16").or_else(|| largest("f32"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_rate_of_all_threads() {
        let text = "             one thread    2 threads\nf32 multiply-add, Gflop/s   110.1   219.5\n";
        assert_eq!(parse(&format!("{text}VDPBF16PS, Gflop/s   216.7   431.0\n")), Some(431.0));
        assert_eq!(parse(&format!("{text}VDPBF16PS, Gflop/s   absent   absent\n")), Some(219.5));
        let pairs = format!("{text}VDPBF16PS, Gflop/s   87.8   161.1\n");
        assert_eq!(parse(&format!("{pairs}TDPBF16PS, Gflop/s   2718.8   5417.8\n")), Some(5417.8));
        assert_eq!(parse(&format!("{pairs}TDPBF16PS, Gflop/s   absent   absent\n")), Some(161.1));
        assert_eq!(parse(text), Some(219.5));
        assert_eq!(parse(""), None);
    }
}

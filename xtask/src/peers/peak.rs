//! What the machine can do: the kernels' register-only benchmark.

use super::place::Place;

/// GFLOP/s in bf16 on as many threads as the comparison uses, from `cargo bench -p weigh-kernels --bench peak`; `None`
/// where there is no such benchmark, or no such instruction.
pub(super) fn measure(place: &Place) -> Option<f64> {
    let mut command = place.cargo();
    command.args(["bench", "--quiet", "--package", "weigh-kernels", "--bench", "peak"]);
    command.env("RAYON_NUM_THREADS", place.threads.to_string());
    let output = command.output().ok().filter(|output| output.status.success())?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The last number (all threads) of the lines of the bf16 instructions, the largest.
fn parse(text: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.to_lowercase().contains("bf16"));
    lines.filter_map(|line| line.split_whitespace().next_back()?.parse().ok()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_rate_of_all_threads() {
        let text = "             one thread    2 threads\nf32 multiply-add, Gflop/s   110.1   219.5\n";
        assert_eq!(parse(&format!("{text}VDPBF16PS, Gflop/s   216.7   431.0\n")), Some(431.0));
        assert_eq!(parse(&format!("{text}VDPBF16PS, Gflop/s   absent   absent\n")), None);
        let pairs = format!("{text}VDPBF16PS, Gflop/s   87.8   161.1\n");
        assert_eq!(parse(&format!("{pairs}TDPBF16PS, Gflop/s   2718.8   5417.8\n")), Some(5417.8));
        assert_eq!(parse(&format!("{pairs}TDPBF16PS, Gflop/s   absent   absent\n")), Some(161.1));
        assert_eq!(parse(text), None);
    }
}

//! What the machine can do: the kernels' register-only benchmark.

use super::place::Place;

/// GFLOP/s in bf16 on as many threads as the comparison uses, from `cargo bench -p weigh-kernels --bench peak`; `None`
/// where there is no such benchmark or it prints no line of JSON with a `bf16`.
pub(super) fn measure(place: &Place) -> Option<f64> {
    let mut command = place.cargo();
    command.args(["bench", "--quiet", "--package", "weigh-kernels", "--bench", "peak"]);
    command.env("RAYON_NUM_THREADS", place.threads.to_string());
    let output = command.output().ok().filter(|output| output.status.success())?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("bf16"))?;
    let after = &line[line.find("bf16")? + 4..];
    let numbers = after.split(|c: char| !c.is_ascii_digit() && c != '.');
    numbers.filter_map(|number| number.parse().ok()).find(|&rate: &f64| rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_number_after_bf16() {
        assert_eq!(parse("2 threads\nf32  210.5 GFLOP/s\nbf16 431.0 GFLOP/s\n"), Some(431.0));
        assert_eq!(parse("nothing"), None);
    }
}

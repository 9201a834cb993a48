//! Numbers in sentences.

/// A metric's name as people write it.
pub fn metric_name(name: &str) -> &str {
    match name {
        "exact_match" => "exact match",
        "token_f1" => "token F1",
        "rouge_l" => "ROUGE-L",
        "chrf" => "chrF",
        "field_f1" => "field F1",
        "macro_f1" => "macro-F1",
        "micro_f1" => "micro-F1",
        "micro_precision" => "micro-precision",
        "micro_recall" => "micro-recall",
        "command" => "the command's score",
        other => other,
    }
}

/// What people call a method of the record.
pub fn method_name(name: &str) -> String {
    match name {
        "zero_shot" => "zero-shot".to_owned(),
        "random" => "random shots".to_owned(),
        "bm25" => "retrieved shots".to_owned(),
        "embedding" => "nearest shots".to_owned(),
        "diverse" => "diverse shots".to_owned(),
        "hybrid" => "hybrid shots".to_owned(),
        "searched" => "searched prompt".to_owned(),
        "lora" => "LoRA".to_owned(),
        "full" => "full tuning".to_owned(),
        "lora_recipe" => "LoRA, searched".to_owned(),
        "virtual_tokens" => "trained prefix".to_owned(),
        "few_shot_tuned" => "tuned on shots".to_owned(),
        "constant" => "one answer for all".to_owned(),
        "nearest_neighbour" => "nearest (tf-idf)".to_owned(),
        "logistic_regression" => "linear (tf-idf)".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What people call an experiment: `fine_tune/lora/n64/lr0.001/s2@dev` -> `LoRA, 64 labels (rate 0.001, seed 2)`. Parts that have no
/// name here are kept as they are, so that no two experiments of an arm and a part get the same one.
pub fn experiment_name(id: &str) -> String {
    let id = id.trim_end_matches("@dev").trim_end_matches("@test");
    let mut parts = id.split('/');
    let (Some(family), Some(method)) = (parts.next(), parts.next()) else { return id.to_owned() };
    let shown = match family {
        "in_context" | "fine_tune" | "floor" | "hybrid" => method_name(method),
        _ => return id.to_owned(),
    };
    let (mut sizes, mut details) = (Vec::new(), Vec::new());
    for part in parts {
        let split = part.find(|letter: char| letter.is_ascii_digit()).map(|at| part.split_at(at));
        let whole = |digits: &str| digits.parse::<u64>().ok();
        match split {
            Some(("k", _)) if method == "zero_shot" => {}
            Some(("k", digits)) if whole(digits).is_some() => sizes.push(format!("{digits} shown")),
            Some(("n", digits)) => match whole(digits) {
                Some(labels) => sizes.push(count(labels, "label")),
                None => details.push(part.to_owned()),
            },
            Some(("lr", rate)) => details.push(format!("rate {rate}")),
            Some(("s", _)) if method == "zero_shot" => {}
            Some(("s", digits)) if whole(digits).is_some() => details.push(format!("seed {digits}")),
            _ => match part {
                "best lr" => details.push("best rate".to_owned()),
                "none" => details.push("uncalibrated".to_owned()),
                "contextual" | "batch" => details.push(format!("{part} calibration")),
                other => details.push(other.replace('_', " ")),
            },
        }
    }
    let mut name = [vec![shown], sizes].concat().join(", ");
    if !details.is_empty() {
        name += &format!(" ({})", details.join(", "));
    }
    name
}

/// 0.1234 -> `12.3%`.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// 0.0512 -> `5.1 points`; the sign is kept.
pub fn points(difference: f64) -> String {
    let tenths = tenths(difference);
    let plural = if tenths.abs() == 1.0 { "point" } else { "points" };
    format!("{tenths:.1} {plural}")
}

/// (0.05, 0.12) -> `5.0 to 12.0 points`.
pub fn range(low: f64, high: f64) -> String {
    format!("{:.1} to {:.1} points", tenths(low), tenths(high))
}

/// Tenths of points. One rounding decides both the digits and the sign: no "-0.0".
fn tenths(difference: f64) -> f64 {
    (1000.0 * difference).round() / 10.0 + 0.0
}

/// Whole numbers with thousands apart below a million (`12,300`), in words above (`2.4 million`), four digits and a power of ten from
/// 10^12 on (`2.316e13`); small ones with their leading digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let whole = (value - value.round()).abs() <= 1e-9 * size;
    if size >= 1e12 {
        format!("{value:.3e}")
    } else if size >= 1e6 {
        let (unit, word) = if size >= 1e9 { (1e9, "billion") } else { (1e6, "million") };
        let digits = format!("{:.3}", value / unit);
        format!("{} {word}", digits.trim_end_matches('0').trim_end_matches('.'))
    } else if size >= 100.0 || whole {
        grouped(value.round())
    } else if size >= 0.1 {
        format!("{value:.1}")
    } else if size >= 0.001 {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

/// A p-value to three decimals; what would read as zero is said to be below the least that is shown.
pub fn p_value(p: f64) -> String {
    if p < 0.0005 { "below 0.001".to_owned() } else { format!("{p:.3}") }
}

/// `1 item`, `2 items`, `1,200 items`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number as f64))
}

/// 0.0004 -> `0.40 ms`, 75 -> `75 s`, 400 -> `6.7 min`, 8000 -> `2.2 h`.
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 5400.0 => format!("{:.1} h", v / 3600.0),
        v if v >= 120.0 => format!("{:.1} min", v / 60.0),
        v if v >= 10.0 => format!("{v:.0} s"),
        v if v >= 1.0 => format!("{v:.1} s"),
        v if v >= 0.01 => format!("{:.0} ms", v * 1e3),
        v if v >= 0.001 => format!("{:.1} ms", v * 1e3),
        v => format!("{:.2} ms", v * 1e3),
    }
}

/// Sizes in powers of ten: 2,100,000 -> `2.1 MB`.
pub fn bytes(value: u64) -> String {
    let size = value as f64;
    match value {
        0..1_000 => count(value, "byte"),
        1_000..1_000_000 => format!("{:.1} kB", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.1} GB", size / 1e9),
    }
}

/// `135M`, `2.6M`, `1.7B`.
pub fn magnitude(count: f64) -> String {
    let (value, unit) = match count {
        c if c >= 1e9 => (c / 1e9, "B"),
        c if c >= 1e6 => (c / 1e6, "M"),
        c if c >= 1e3 => (c / 1e3, "k"),
        c => (c, ""),
    };
    if value < 10.0 && !unit.is_empty() { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

fn grouped(whole: f64) -> String {
    let digits = format!("{:.0}", whole.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if whole < 0.0 && digits != "0" { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(percent(0.6125), "61.3%");
        assert_eq!(
            [points(-0.05), points(0.01), points(-0.0001)],
            ["-5.0 points", "1.0 point", "0.0 points"]
        );
        assert_eq!(
            [number(12_300.4), number(999.0), number(1e15), number(0.0), number(2.4e6), number(1.5e9)],
            ["12,300", "999", "1.000e15", "0", "2.4 million", "1.5 billion"]
        );
        assert_eq!(
            [number(12.34), number(0.0123), number(0.000_012_3), number(-1234.0)],
            ["12.3", "0.0123", "1.23e-5", "-1,234"]
        );
        assert_eq!([count(1, "item"), count(1200, "item")], ["1 item", "1,200 items"]);
        assert_eq!(
            [seconds(0.0004), seconds(0.123), seconds(3.0), seconds(75.0)],
            ["0.40 ms", "123 ms", "3.0 s", "75 s"]
        );
        assert_eq!([seconds(400.0), seconds(8000.0), seconds(0.008)], ["6.7 min", "2.2 h", "8.0 ms"]);
        assert_eq!([bytes(1), bytes(1600), bytes(2_100_000)], ["1 byte", "1.6 kB", "2.1 MB"]);
    }

    #[test]
    fn experiments_have_names_that_people_read() {
        assert_eq!(
            [
                "in_context/zero_shot/k0/s0/none@dev",
                "in_context/bm25/k16/s0/batch@test",
                "fine_tune/lora/n64/lr0.001/s2@dev",
                "fine_tune/lora/n1/best lr/s1",
                "floor/logistic_regression/n600@test",
                "in_context/searched",
                "probe/order/in_context",
                "fine_tune/lora_recipe (12 trainings)",
            ]
            .map(experiment_name),
            [
                "zero-shot (uncalibrated)",
                "retrieved shots, 16 shown (seed 0, batch calibration)",
                "LoRA, 64 labels (rate 0.001, seed 2)",
                "LoRA, 1 label (best rate, seed 1)",
                "linear (tf-idf), 600 labels",
                "searched prompt",
                "probe/order/in_context",
                "lora recipe (12 trainings)",
            ]
        );
    }

    #[test]
    fn parameters_are_told_in_two_or_three_digits() {
        assert_eq!(
            [2_561_000.0, 134_515_008.0, 1.71e9, 512.0].map(magnitude),
            ["2.6M", "135M", "1.7B", "512"]
        );
    }

    #[test]
    fn no_p_value_is_shown_as_zero() {
        assert_eq!(
            [1e-9, 0.0004, 0.0006, 0.25].map(p_value),
            ["below 0.001", "below 0.001", "0.001", "0.250"]
        );
    }
}

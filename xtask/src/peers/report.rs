//! Measurements as text.

use std::fmt::Write as _;

use super::measure::{Measurement, median};
use super::record::Record;

const GIBIBYTE: f64 = (1u64 << 30) as f64;

/// One measurement in one line.
pub(super) fn line(measurement: &Measurement, peak: Option<f64>) -> String {
    let head = format!("{} | {} {}", measurement.row, measurement.stack, measurement.mode);
    match &measurement.skipped {
        Some(reason) => format!("{head} | skipped: {reason}"),
        None => format!("{head} | {}", cells(measurement, peak).join(" | ")),
    }
}

/// Ours, peer, ratio, memory, rate, met.
fn cells(m: &Measurement, peak: Option<f64>) -> [String; 6] {
    let (ours, theirs): (Vec<f64>, Vec<f64>) = m.pairs.iter().copied().unzip();
    let (ours, theirs) = (median(ours).unwrap_or(f64::NAN), median(theirs).unwrap_or(f64::NAN));
    let ratios = m.ratios();
    let (low, high) =
        ratios.iter().fold((f64::INFINITY, 0f64), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
    let ratio = median(ratios).unwrap_or(f64::NAN);
    let rate = m.flops.map(|flops| 1e-9 * flops / ours);
    let share =
        rate.zip(peak).map_or(String::new(), |(rate, peak)| format!(" ({:.0}%)", 100.0 * rate / peak));
    let streamed =
        m.streamed_bytes.map_or(String::new(), |bytes| format!(", {:.1} GB/s", 1e-9 * bytes / ours));
    let memory =
        |bytes: Option<f64>| bytes.map_or("?".to_owned(), |bytes| format!("{:.2}", bytes / GIBIBYTE));
    let met = match m.met() {
        None => "not measured".to_owned(),
        Some((speed, memory)) => {
            let speed = format!("{} {:.2}", if speed { "yes" } else { "no" }, m.target);
            let memory = m.memory_target.zip(memory).map_or(String::new(), |(target, met)| {
                format!("; memory {} {target}", if met { "yes" } else { "no" })
            });
            format!("{speed}{memory}")
        }
    };
    [
        speed(ours, m.tokens),
        format!(
            "{}{}",
            speed(theirs, m.tokens),
            if m.extrapolated.is_some() { " (extrapolated)" } else { "" }
        ),
        format!("{ratio:.2} ({low:.2}-{high:.2}, {})", m.pairs.len()),
        format!("{} / {}", memory(m.ours_peak_bytes), memory(m.peer_peak_bytes)),
        rate.map_or(String::new(), |rate| format!("{rate:.0}{share}{streamed}")),
        met,
    ]
}

/// Tokens a second where there are tokens, and seconds.
fn speed(seconds: f64, tokens: Option<f64>) -> String {
    let time = if seconds < 10.0 { format!("{:.0} ms", 1e3 * seconds) } else { format!("{seconds:.0} s") };
    tokens.map_or(time.clone(), |tokens| format!("{:.0} tok/s, {time}", tokens / seconds))
}

/// The table of docs/bench, in Markdown, with a line for every row and stack that says whether the target is met.
pub(super) fn table(record: &Record) -> String {
    let dates: Vec<&str> = record.measurements.iter().map(|m| m.date.as_str()).collect();
    let (first, last) = (dates.iter().min().unwrap_or(&"never"), dates.iter().max().unwrap_or(&"never"));
    let date = if first == last { (*last).to_owned() } else { format!("{first} to {last}") };
    let threads = record.measurements.first().map_or(0, |m| m.threads);
    let mut text = format!("# Beside the Python stack, {date}\n\n");
    let peak = record.peak.map_or("peak not measured".to_owned(), |peak| {
        format!(
            "{peak:.0} GFLOP/s of multiply-adds from registers alone on {threads} threads (the share beside each rate)"
        )
    });
    let _ = writeln!(
        text,
        "{}; {threads} threads; {peak}. Written by `cargo xtask peers`: runs alternate (ours, peer, ours, peer, ...) after a \
         warm-up of both; the ratio is the median of the pairs' ratios (smallest-largest, pairs), the others are medians. \
         Memory is the peak of each process.\n",
        record.machine
    );
    text.push_str("| work | against | ours | peer | ratio | GiB ours / peer | GFLOP/s ours | target met |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    let mut skipped = String::new();
    for m in &record.measurements {
        match &m.skipped {
            Some(reason) => {
                let _ = writeln!(skipped, "- {}, {} {}: {reason}", m.title, m.stack, m.mode);
            }
            None => {
                let cells = cells(m, record.peak).join(" | ");
                let _ = writeln!(text, "| {} | {}, {} | {cells} |", m.title, m.stack, m.mode);
            }
        }
    }
    text.push_str("\n## Targets\n\nAgainst the best mode of each stack.\n\n");
    text.push_str("| work | against | its best mode | ratio | at least | met |\n|---|---|---|---|---|---|\n");
    for m in best_modes(record) {
        let (Some(ratio), Some((speed, memory))) = (median(m.ratios()), m.met()) else { continue };
        let memory = memory.map_or("", |met| if met { ", memory yes" } else { ", memory no" });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ratio:.2} | {} | {}{memory} |",
            m.title,
            m.stack,
            m.mode,
            m.target,
            if speed { "yes" } else { "no" }
        );
    }
    let notes: Vec<String> = record.measurements.iter().filter_map(note).collect();
    if !notes.is_empty() {
        let _ = write!(text, "\n{}\n", notes.join("\n"));
    }
    if !skipped.is_empty() {
        let _ = write!(text, "\n## Not measured\n\n{skipped}");
    }
    text
}

/// Of each row and stack the measurement with the smallest ratio.
fn best_modes(record: &Record) -> Vec<&Measurement> {
    let mut best: Vec<&Measurement> = Vec::new();
    for m in record.measurements.iter().filter(|m| m.skipped.is_none()) {
        match best.iter_mut().find(|other| other.row == m.row && other.stack == m.stack) {
            Some(other) if median(m.ratios()) < median(other.ratios()) => *other = m,
            Some(_) => {}
            None => best.push(m),
        }
    }
    best
}

/// What else a reader should know of a measurement.
fn note(m: &Measurement) -> Option<String> {
    let mut facts = Vec::new();
    facts.extend(m.settings.as_ref().map(|settings| format!("fastest with {settings}")));
    facts.extend(m.accuracy.map(|(ours, theirs)| format!("accuracy {ours:.3} ours, {theirs:.3} peer")));
    facts.extend(m.extrapolated.map(|times| format!("a run times {times:.0}")));
    (!facts.is_empty()).then(|| format!("- {}, {} {}: {}", m.title, m.stack, m.mode, facts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::{best_modes, table};
    use crate::peers::record::Record;

    /// Two modes of one stack: ratios 2 and 1.5 by hand, so the second is the stack's best and misses a target of 2.
    #[test]
    fn the_best_mode_of_a_stack_decides() {
        let measurement = |mode: &str, theirs: f64| {
            serde_json::json!({
                "row": "lora", "title": "LoRA step", "stack": "PyTorch", "mode": mode, "target": 2.0,
                "memory_target": 0.5, "date": "2026-11-24", "threads": 2, "skipped": null, "tokens": 512.0,
                "flops": 1e11, "streamed_bytes": null, "pairs": [[1.0, theirs], [2.0, 2.0 * theirs]],
                "extrapolated": null, "ours_peak_bytes": 1e9, "peer_peak_bytes": 2e9, "accuracy": null,
                "settings": null
            })
        };
        let record: Record = serde_json::from_value(serde_json::json!({
            "machine": "a machine", "peak": 400.0,
            "measurements": [measurement("f32", 2.0), measurement("amp", 1.5)]
        }))
        .expect("a record");
        let best = best_modes(&record);
        assert_eq!(best.len(), 1);
        assert_eq!(best[0].mode, "amp");
        let text = table(&record);
        assert!(text.contains("| LoRA step | PyTorch | amp | 1.50 | 2 | no, memory yes |"), "{text}");
        assert!(text.contains("2.00 (2.00-2.00, 2)"), "{text}");
    }
}

//! Runs a work and tells its times, to a person or to a program.

use std::io::{BufRead, Write};
use std::time::Instant;

use lm::{Error, threads};
use serde_json::json;

use crate::options::Options;
use crate::work::Work;

/// Measures as the options say: several runs in a row, or one for each line of standard input.
pub(crate) fn measure(
    row: &str,
    work: &mut (dyn Work + Send),
    options: &Options,
) -> Result<(), Box<dyn std::error::Error>> {
    once(work)?;
    if options.on_demand {
        return on_demand(row, work, options);
    }
    let mut seconds = Vec::with_capacity(options.runs);
    for _ in 0..options.runs {
        seconds.push(once(work)?);
    }
    if options.json {
        let mut line = facts(row, work, options);
        line["seconds"] = json!(seconds);
        println!("{line}");
        return Ok(());
    }
    seconds.sort_by(f64::total_cmp);
    let (median, best) = (seconds[seconds.len() / 2], seconds[0]);
    let share = options.peak.map_or(String::new(), |peak| {
        format!(", {:.0}% of peak", 100.0 * 1e-9 * work.flops() / median / peak)
    });
    let streamed = work
        .streamed_bytes()
        .map_or(String::new(), |bytes| format!(", {:.1} GB/s of weights", 1e-9 * bytes / median));
    println!(
        "{row}: median {:.0} tok/s, best {:.0} tok/s ({:.1} ms); {:.0} GFLOP/s{share}{streamed}; peak memory {}",
        work.tokens() as f64 / median,
        work.tokens() as f64 / best,
        median * 1e3,
        1e-9 * work.flops() / median,
        peak_memory().map_or("unknown".to_owned(), |bytes| format!("{:.2} GiB", bytes / (1u64 << 30) as f64)),
    );
    Ok(())
}

fn on_demand(
    row: &str,
    work: &mut (dyn Work + Send),
    options: &Options,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut output = std::io::stdout();
    writeln!(output, "{}", facts(row, work, options))?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let seconds = once(work)?;
        writeln!(output, "{}", json!({"seconds": seconds, "accuracy": work.accuracy()}))?;
    }
    Ok(())
}

/// Seconds of one run, on the engine's own threads as in the product.
fn once(work: &mut (dyn Work + Send)) -> Result<f64, Error> {
    work.prepare()?;
    threads::within(|| {
        let started = Instant::now();
        work.run()?;
        Ok(started.elapsed().as_secs_f64())
    })
}

fn facts(row: &str, work: &dyn Work, options: &Options) -> serde_json::Value {
    json!({
        "row": row,
        "threads": threads::count(),
        "precision": format!("{:?}", options.precision).to_lowercase(),
        "tokens": work.tokens(),
        "flops": work.flops(),
        "streamed_bytes": work.streamed_bytes(),
        "peak_bytes": peak_memory(),
    })
}

/// Peak resident memory in bytes, as Linux reports it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
}

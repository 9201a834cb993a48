//! `weigh doctor`: what this machine can do.

use std::time::Duration;

use anyhow::Result;
use eval::wording::{bytes, number, seconds};
use lm::machine::{instruction_sets, product_speed};
use lm::{Precision, threads};
use serde::Serialize;

use crate::printer::{Printer, named, wrapped};

/// How long a product is timed.
const TIMED: Duration = Duration::from_millis(300);

/// Models that people start with: name and parameters.
const MODELS: [(&str, f64); 6] = [
    ("embedded", 3.9e6),
    ("SmolLM2-135M", 135e6),
    ("SmolLM2-360M", 362e6),
    ("Qwen3-0.6B", 596e6),
    ("Llama-3.2-1B", 1.24e9),
    ("SmolLM2-1.7B", 1.71e9),
];

/// Bytes a parameter while a prompt is scored in bf16: the weights (docs/bench, decoding with SmolLM2-135M in 306 MiB).
const SCORING: f64 = 2.4;
/// Bytes a parameter in a LoRA step in bf16 (docs/bench, SmolLM2-135M: 1,009 MiB).
const LORA: f64 = 7.9;
/// Operations a parameter and token of a LoRA step: forward, and backward to the inputs alone.
const LORA_OPERATIONS: f64 = 4.0;
/// Tokens of the training that is timed: 256 rows of 60 tokens, three epochs.
const TRAINING_TOKENS: f64 = 256.0 * 60.0 * 3.0;
/// Share of the memory that a run may take without the system starting to swap.
const USABLE: f64 = 0.8;

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    cores: usize,
    threads: usize,
    instruction_sets: Vec<&'static str>,
    memory_bytes: u64,
    available_bytes: u64,
    bf16_operations_per_second: f64,
    f32_operations_per_second: f64,
    models: Vec<Fit>,
}

/// One model on this machine.
#[derive(Debug, Serialize)]
struct Fit {
    model: &'static str,
    parameters: f64,
    scoring_bytes: f64,
    lora_bytes: f64,
    scoring_fits: bool,
    lora_fits: bool,
    /// At the measured product's speed: nothing else costs time, so it is the least.
    lora_seconds_at_least: f64,
}

/// Looks at the machine, times a product, and tells what fits.
pub(crate) fn doctor(printer: &Printer) -> Result<()> {
    let found = findings();
    if printer.json() {
        return printer.print_json(&found);
    }
    let sets = match found.instruction_sets.as_slice() {
        [] => "portable kernels".to_owned(),
        sets => sets.join(", "),
    };
    let memory = format!("{}, {} of it available", bytes(found.memory_bytes), bytes(found.available_bytes));
    let products = format!(
        "{} operations a second in 16 bits (bf16), {} in 32 (measured just now)",
        number(found.bf16_operations_per_second),
        number(found.f32_operations_per_second)
    );
    let lines = [
        ("cores", format!("{}, of which {} are used", found.cores, found.threads)),
        ("instructions", sets),
        ("memory", memory),
        ("products", products),
    ];
    lines.iter().for_each(|(name, text)| printer.print(&named(name, 14, text)));
    printer.print("");
    let rows: Vec<[String; 5]> = found.models.iter().map(row).collect();
    let header =
        ["model", "parameters", "memory to prompt", "memory to train (LoRA)", "time to train, at least"];
    printer.print(&printer.columns(&header, &rows));
    printer.print("");
    printer.print(&wrapped(
        "Memory: what SmolLM2-135M was measured to take, by its parameters; `model.precision = \"stored\"` halves it for GGUF files.\n\
         Time: 3 epochs over 256 rows of 60 tokens, all at the speed of matrix products, everything else left out. \
         `weigh run --dry-run` measures your model on your rows.",
    ));
    Ok(())
}

fn row(fit: &Fit) -> [String; 5] {
    let size = |bytes_needed: f64, fits: bool| {
        format!("{}{}", bytes(bytes_needed as u64), if fits { "" } else { " (too much)" })
    };
    [
        fit.model.to_owned(),
        eval::wording::magnitude(fit.parameters),
        size(fit.scoring_bytes, fit.scoring_fits),
        size(fit.lora_bytes, fit.lora_fits),
        seconds(fit.lora_seconds_at_least),
    ]
}

fn findings() -> Findings {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let available = system.available_memory();
    let speed = product_speed(Precision::Bf16, TIMED);
    Findings {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: threads::count(),
        instruction_sets: instruction_sets(),
        memory_bytes: system.total_memory(),
        available_bytes: available,
        bf16_operations_per_second: speed,
        f32_operations_per_second: product_speed(Precision::F32, TIMED),
        models: MODELS
            .iter()
            .map(|&(model, parameters)| fit(model, parameters, available as f64, speed))
            .collect(),
    }
}

fn fit(model: &'static str, parameters: f64, available: f64, speed: f64) -> Fit {
    let (scoring, lora) = (SCORING * parameters, LORA * parameters);
    Fit {
        model,
        parameters,
        scoring_bytes: scoring,
        lora_bytes: lora,
        scoring_fits: scoring <= USABLE * available,
        lora_fits: lora <= USABLE * available,
        lora_seconds_at_least: LORA_OPERATIONS * parameters * TRAINING_TOKENS / speed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_by_hand() {
        // 135M: 324 MB to prompt, 1,067 MB to train; 80% of a gigabyte holds the first. 4 x 135e6 x 46,080 / 1e11 = 249 s.
        let fit = fit("a", 135e6, 1e9, 1e11);
        assert!(fit.scoring_fits && !fit.lora_fits);
        assert!((fit.lora_seconds_at_least - 248.832).abs() < 1e-6);
    }
}

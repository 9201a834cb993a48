//! Speed of the engine: `cargo run --release -p weigh-lm --example speed -- [OPTION]... ROW...`
//!
//! A ROW is one of the works that docs/bench compares, on 135M shapes:
//!
//! * `lora`, `full`: a training step on 8 sequences of 64 tokens with a loss on the last 3;
//! * `prefill-SxT` (`prefill-8x256`): S sequences of T tokens into caches of their own;
//! * `decode-S`: 16 tokens more for each of S sequences at context 256;
//! * `scoring`: every label of every query of the file `--problem` after its prefix;
//! * `first-label`: from nothing to the first scored label (needs `--model`);
//! * `problem`: writes the file `--problem` from `--train` and `--test` (needs `--model`);
//! * `profile-lora`, `profile-full`, `profile-prefill`: where the time goes, part by part (a table in Markdown).
//!
//! Options: `--model` FILE.gguf or Hugging Face folder (default: random weights of SmolLM2-135M's shape); `--precision`
//! bf16 (default), f32, stored or int8; `--threads` N; `--runs` N (default 7); `--items` N of the problem's queries; `--peak` GFLOP/s
//! that the machine can do, for shares of it. `--json` prints a line of JSON for each row. `--on-demand` (one row) waits
//! for a line on standard input before each run and answers each with a line of JSON, so that another program can
//! alternate this one with others.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

mod measure;
mod options;
mod problem;
mod profile;
mod rows;
#[path = "../../benches/work/mod.rs"]
mod work;

use std::error::Error;

use options::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    if let Some(threads) = options.threads {
        kernels::threads::set(threads);
    }
    for row in &options.rows {
        match row.as_str() {
            "first-label" => problem::first_label(&options)?,
            "problem" => problem::write(&options)?,
            _ => match row.strip_prefix("profile-") {
                Some(what) => profile::run(what, &options)?,
                None => measure::measure(row, rows::work(row, &options)?.as_mut(), &options)?,
            },
        }
    }
    Ok(())
}

//! What was typed.

use std::error::Error;
use std::path::PathBuf;

use lm::{ModelSource, Precision};

/// Options and rows; see the top of `main.rs`.
pub(crate) struct Options {
    pub(crate) model: Option<PathBuf>,
    pub(crate) precision: Precision,
    pub(crate) threads: Option<usize>,
    pub(crate) runs: usize,
    pub(crate) items: usize,
    pub(crate) peak: Option<f64>,
    pub(crate) problem: Option<PathBuf>,
    pub(crate) train: Option<PathBuf>,
    pub(crate) test: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) on_demand: bool,
    pub(crate) rows: Vec<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            model: None,
            precision: Precision::Bf16,
            threads: None,
            runs: 7,
            items: 250,
            peak: None,
            problem: None,
            train: None,
            test: None,
            json: false,
            on_demand: false,
            rows: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                options.rows.push(argument);
                continue;
            };
            match name {
                "json" => options.json = true,
                "on-demand" => options.on_demand = true,
                _ => {
                    let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
                    options.set(name, value)?;
                }
            }
        }
        if options.rows.is_empty() || (options.on_demand && options.rows.len() > 1) {
            return Err("name the rows to measure (one with --on-demand); crates/lm/examples/speed/main.rs lists them".into());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Box<dyn Error>> {
        match name {
            "model" => self.model = Some(value.into()),
            "precision" => {
                self.precision = match value.as_str() {
                    "f32" => Precision::F32,
                    "bf16" => Precision::Bf16,
                    "stored" => Precision::Stored,
                    "int8" => Precision::Int8,
                    _ => return Err(format!("--precision {value}: f32, bf16, stored or int8").into()),
                }
            }
            "threads" => self.threads = Some(value.parse()?),
            "runs" => self.runs = value.parse::<usize>()?.max(1),
            "items" => self.items = value.parse()?,
            "peak" => self.peak = Some(value.parse()?),
            "problem" => self.problem = Some(value.into()),
            "train" => self.train = Some(value.into()),
            "test" => self.test = Some(value.into()),
            _ => return Err(format!("no option --{name}").into()),
        }
        Ok(())
    }

    /// The model asked for; `None` stands for random weights.
    pub(crate) fn source(&self) -> Option<ModelSource> {
        let path = self.model.clone()?;
        Some(if path.is_dir() { ModelSource::Folder(path) } else { ModelSource::Gguf(path) })
    }
}

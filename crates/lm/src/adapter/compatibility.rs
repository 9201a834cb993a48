//! Which servers load an adapter in PEFT's format, and compute what it computed where it was trained.
//!
//! What each server reads was taken from its source (vLLM's and SGLang's LoRA loaders, mistral.rs's, llama.cpp's
//! `convert_lora_to_gguf.py`) as of 2026; none of them warns of a key that it ignores.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::LARGEST_CONFIG;
use super::peft::short;
use super::virtual_tokens;
use crate::Error;
use crate::weights::{SafetensorsFile, Source, Tensors, read_limited};

/// A program that serves adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// mistral.rs.
    MistralRs,
    /// llama.cpp, through its converter.
    LlamaCpp,
    /// This engine.
    Weigh,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vllm, Self::Sglang, Self::MistralRs, Self::LlamaCpp, Self::Weigh];

    /// As it calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::MistralRs => "mistral.rs",
            Self::LlamaCpp => "llama.cpp",
            Self::Weigh => "weigh",
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, with a setting or a step.
    Note,
    /// It does not load.
    Refused,
    /// It loads and computes something else, without a word.
    Wrong,
}

/// One thing to know about one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whom it concerns.
    pub server: Server,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, with the key or tensor.
    pub reason: String,
}

/// What an adapter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// LoRA.
    Lora {
        /// Rank of the configuration.
        rank: usize,
        /// Adapted modules by their short names.
        modules: BTreeSet<String>,
    },
    /// Prompt tuning with so many virtual tokens.
    PromptTuning(usize),
    /// Prefix tuning with so many virtual tokens.
    PrefixTuning(usize),
}

/// What [`check`] found in a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What kind of adapter it is.
    pub kind: Kind,
    /// Everything found, worst first within a server.
    pub findings: Vec<Finding>,
    /// Whether writing the adapter anew with its scale in B would cure what is [`Severity::Wrong`].
    pub foldable: bool,
}

impl Report {
    /// The worst that was found for `server`; `None` where it simply works.
    pub fn worst(&self, server: Server) -> Option<Severity> {
        self.findings.iter().filter(|finding| finding.server == server).map(|finding| finding.severity).max()
    }
}

/// All but this engine.
const OTHERS: [Server; 4] = [Server::Vllm, Server::Sglang, Server::MistralRs, Server::LlamaCpp];
/// The largest rank that vLLM serves unless told otherwise (`--max-lora-rank`).
const VLLM_RANK: usize = 16;
/// Initialisations under which the base model's weights were changed too.
const RESIDUAL: [&str; 5] = ["corda", "loftq", "lora_ga", "olora", "pissa"];

/// Reads `folder`'s configuration and its tensors' names and says what each server would make of them.
///
/// # Errors
/// [`Error::Io`] and [`Error::Format`] where the folder is no adapter; a feature that some server lacks is a finding, not an
/// error.
pub fn check(folder: &Path) -> Result<Report, Error> {
    let place = folder.join("adapter_config.json");
    let bytes = read_limited(&place, LARGEST_CONFIG)?;
    let config: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::format(place.display().to_string(), error.to_string()))?;
    match config.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        Some(kind @ (virtual_tokens::PROMPT_TUNING | virtual_tokens::PREFIX_TUNING)) => {
            return check_virtual(folder, kind, &config);
        }
        _ => {
            let kind = config.get("peft_type").map_or("absent".to_owned(), Value::to_string);
            return Err(Error::format(format!("{}: peft_type", place.display()), kind));
        }
    }
    let mut linter = Linter { config: &config, findings: Vec::new() };
    let names = linter.weights(folder)?;
    linter.scale();
    linter.variants();
    linter.modules(&names);
    linter.rank();
    linter.own(folder);
    let rank = linter.number("r").unwrap_or(8);
    let mut findings = linter.findings;
    findings.sort_by_key(|finding| (finding.server, std::cmp::Reverse(finding.severity)));
    let modules = names.iter().filter_map(|name| name.strip_suffix(".lora_A.weight"));
    let kind = Kind::Lora { rank, modules: modules.map(|name| short(name).to_owned()).collect() };
    let foldable = !findings.iter().any(|f| f.server == Server::Weigh && f.severity == Severity::Refused);
    Ok(Report { kind, findings, foldable })
}

/// Prompt and prefix tuning: of the servers none takes virtual tokens (vLLM read embeddings until July 2025).
fn check_virtual(folder: &Path, kind: &str, config: &Value) -> Result<Report, Error> {
    let mut linter = Linter { config, findings: Vec::new() };
    let names = linter.weights(folder)?;
    let reason =
        format!("peft_type {kind}: virtual tokens are not read; load it with PEFT, or ship a LoRA adapter");
    linter.find(&OTHERS, Severity::Refused, reason);
    if names != [virtual_tokens::NAME] {
        let reason = format!("{} is not the only tensor", virtual_tokens::NAME);
        linter.find(&[Server::Weigh], Severity::Refused, reason);
    }
    let count = linter.number("num_virtual_tokens").unwrap_or(0);
    let kind = match kind {
        virtual_tokens::PREFIX_TUNING => Kind::PrefixTuning(count),
        _ => Kind::PromptTuning(count),
    };
    Ok(Report { kind, findings: linter.findings, foldable: false })
}

struct Linter<'a> {
    config: &'a Value,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn find(&mut self, servers: &[Server], severity: Severity, reason: impl Into<String>) {
        let reason = reason.into();
        self.findings.extend(servers.iter().map(|&server| Finding {
            server,
            severity,
            reason: reason.clone(),
        }));
    }

    /// Whether a key holds anything but nothing.
    fn has(&self, key: &str) -> bool {
        match self.config.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
            Some(_) => true,
        }
    }

    fn number(&self, key: &str) -> Option<usize> {
        self.config.get(key)?.as_u64().map(|number| number as usize)
    }

    /// The names of the tensors, and whether the file is one that is read.
    fn weights(&mut self, folder: &Path) -> Result<Vec<String>, Error> {
        let path = folder.join("adapter_model.safetensors");
        if path.exists() {
            return Ok(SafetensorsFile::new(Source::open(&path)?)?.names());
        }
        if folder.join("adapter_model.bin").exists() {
            let reason = "adapter_model.bin: pickled weights; save as safetensors";
            self.find(&[Server::MistralRs, Server::Weigh], Severity::Refused, reason);
            return Ok(Vec::new());
        }
        Err(Error::format(path.display().to_string(), "no weights"))
    }

    /// The scale is alpha / r in every server's eyes, whatever else the configuration says.
    fn scale(&mut self) {
        if self.has("use_rslora") {
            let reason =
                "use_rslora: ignored, so that the change is scaled by alpha / r, not alpha / sqrt(r)";
            self.find(&[Server::Sglang, Server::LlamaCpp], Severity::Wrong, reason);
        }
        for key in ["rank_pattern", "alpha_pattern"] {
            if self.has(key) {
                let reason = format!("{key}: ignored, so that some modules get the wrong scale");
                self.find(&[Server::Vllm, Server::Sglang, Server::LlamaCpp], Severity::Wrong, reason);
            }
        }
    }

    /// Adapters that are more than two matrices a module.
    fn variants(&mut self) {
        if self.has("use_dora") {
            self.find(
                &OTHERS,
                Severity::Refused,
                "use_dora: magnitudes are not read; merge it into the model",
            );
        }
        if self.has("modules_to_save") {
            let reason = "modules_to_save: whole modules beside the adapter; merge it into the model";
            self.find(&OTHERS, Severity::Refused, reason);
        }
        if self.has("trainable_token_indices") {
            let reason = "trainable_token_indices: token rows are not read; merge it into the model";
            self.find(&OTHERS, Severity::Refused, reason);
        }
        if self.config.get("bias").and_then(Value::as_str).is_some_and(|bias| bias != "none") {
            self.find(&OTHERS, Severity::Refused, "bias: trained biases are not read");
        }
        let start = self.config.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
        if RESIDUAL.iter().any(|residual| start.starts_with(residual)) {
            let reason = format!("init_lora_weights: {start} changed the base model too");
            self.find(&[Server::MistralRs], Severity::Refused, reason.clone());
            let others = [Server::Vllm, Server::Sglang, Server::LlamaCpp];
            self.find(&others, Severity::Wrong, format!("{reason}; convert it to a plain adapter"));
        }
    }

    fn modules(&mut self, names: &[String]) {
        if let Some(name) =
            names.iter().find(|name| name.contains("lm_head") || name.contains("embed_tokens"))
        {
            let servers = [Server::MistralRs, Server::LlamaCpp];
            self.find(
                &servers,
                Severity::Refused,
                format!("{name}: embeddings and output layers are not read"),
            );
        }
        if !self.has("base_model_name_or_path") {
            let reason = "base_model_name_or_path is absent: give the converter --base";
            self.find(&[Server::LlamaCpp], Severity::Note, reason);
        }
        let reason = "convert it first (convert_lora_to_gguf.py), or let `weigh ship` write GGUF";
        self.find(&[Server::LlamaCpp], Severity::Note, reason);
    }

    fn rank(&mut self) {
        if let Some(rank) = self.number("r").filter(|&rank| rank > VLLM_RANK) {
            let most = [32, 64, 128, 256, 320, 512].into_iter().find(|&most| most >= rank);
            match most {
                Some(most) => {
                    let reason = format!("rank {rank}: start the server with --max-lora-rank {most}");
                    self.find(&[Server::Vllm], Severity::Note, reason);
                }
                None => {
                    self.find(&[Server::Vllm], Severity::Refused, format!("rank {rank}: more than 512"));
                }
            }
        }
    }

    /// This engine says for itself what it refuses.
    fn own(&mut self, folder: &Path) {
        if let Err(error) = super::peft::PeftAdapter::read(folder)
            && self.findings.iter().all(|finding| finding.server != Server::Weigh)
        {
            self.find(&[Server::Weigh], Severity::Refused, error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use crate::adapter::{Lora, LoraConfig};
    use crate::config::ModelConfig;
    use crate::weights::write_atomically;

    fn model() -> ModelConfig {
        let json = br#"{"model_type":"llama","vocab_size":32,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"rms_norm_eps":1e-5}"#;
        ModelConfig::from_hf_json(json, "test").unwrap()
    }

    /// A folder with a plain adapter whose configuration has `change` made to it.
    fn folder(rank: usize, change: impl Fn(&mut Value)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        Lora::new(LoraConfig::with_rank(rank), &model()).unwrap().save(folder.path(), "base").unwrap();
        let path = folder.path().join("adapter_config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        write_atomically(&path, |file| file.write_all(config.to_string().as_bytes())).unwrap();
        folder
    }

    fn severities(report: &Report) -> Vec<Option<Severity>> {
        Server::ALL.iter().map(|&server| report.worst(server)).collect()
    }

    #[test]
    fn what_the_engine_writes_works_everywhere() {
        let report = check(folder(8, |_| ()).path()).unwrap();
        assert_eq!(severities(&report), [None, None, None, Some(Severity::Note), None], "{report:?}");
        assert!(report.foldable);
        assert!(matches!(report.kind, Kind::Lora { rank: 8, modules } if modules.len() == 7));
    }

    #[test]
    fn scales_that_a_server_ignores_are_wrong_there() {
        let rank_stabilized = folder(4, |config| config["use_rslora"] = true.into());
        let report = check(rank_stabilized.path()).unwrap();
        let wrong = Some(Severity::Wrong);
        assert_eq!(severities(&report), [None, wrong, None, wrong, None], "{report:?}");
        assert!(report.foldable);
        let pattern = folder(4, |config| config["alpha_pattern"] = serde_json::json!({"q_proj": 3}));
        assert_eq!(severities(&check(pattern.path()).unwrap()), [wrong, wrong, None, wrong, None]);
    }

    #[test]
    fn variants_are_refused_by_name() {
        let report = check(folder(4, |config| config["use_dora"] = true.into()).path()).unwrap();
        assert_eq!(severities(&report), [Some(Severity::Refused); 5]);
        assert!(report.findings.iter().any(|finding| finding.reason.contains("use_dora")));
        assert!(!report.foldable);
        // With its magnitudes there, this engine loads it.
        let dora = tempfile::tempdir().unwrap();
        let config = LoraConfig { magnitudes: true, ..LoraConfig::with_rank(4) };
        Lora::new(config, &model()).unwrap().save(dora.path(), "base").unwrap();
        let report = check(dora.path()).unwrap();
        let refused = Some(Severity::Refused);
        assert_eq!(severities(&report), [refused, refused, refused, refused, None], "{report:?}");
        let deep = check(folder(40, |_| ()).path()).unwrap();
        assert!(deep.findings.iter().any(|finding| finding.reason.contains("--max-lora-rank 64")));
    }

    #[test]
    fn virtual_tokens_are_for_this_engine_and_peft() {
        let kinds = [
            (LoraConfig::virtual_tokens(6), Kind::PromptTuning(6)),
            (LoraConfig::prefix(5), Kind::PrefixTuning(5)),
        ];
        for (config, kind) in kinds {
            let folder = tempfile::tempdir().unwrap();
            Lora::new(config, &model()).unwrap().save(folder.path(), "base").unwrap();
            let report = check(folder.path()).unwrap();
            let refused = Some(Severity::Refused);
            assert_eq!(severities(&report), [refused, refused, refused, refused, None], "{report:?}");
            assert_eq!((report.kind, report.foldable), (kind, false));
        }
    }

    #[test]
    fn other_adapters_are_errors() {
        let other = folder(4, |config| config["peft_type"] = "IA3".into());
        assert!(
            matches!(check(other.path()), Err(Error::Format { place, .. }) if place.ends_with("peft_type"))
        );
    }
}

//! Where everything is: this workspace, the built example, Python, the models.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::options::Options;

/// Programs and files of a measurement.
pub(super) struct Place {
    root: PathBuf,
    target: PathBuf,
    pub(super) python: PathBuf,
    /// A Hugging Face folder.
    pub(super) folder: Option<PathBuf>,
    /// A GGUF file.
    pub(super) model: Option<PathBuf>,
    /// The example `speed`, where it is not to be built.
    speed: Option<PathBuf>,
    f16: Option<PathBuf>,
    peers: Option<PathBuf>,
    train: Option<PathBuf>,
    test: Option<PathBuf>,
    pub(super) items: usize,
    pub(super) threads: usize,
}

impl Place {
    /// From the options and the environment.
    pub(super) fn find(options: &mut Options) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
        let mut given = |name: &str, variable: &str| {
            let value =
                options.text(name).or_else(|| std::env::var(variable).ok().filter(|_| !variable.is_empty()));
            value.map(PathBuf::from)
        };
        let (folder, model) = (given("folder", "WEIGH_SMOLLM2_HF"), given("model", "WEIGH_SMOLLM2_GGUF"));
        let (speed, f16, peers) = (given("speed", ""), given("f16", ""), given("peers", ""));
        let (train, test) = (given("train", ""), given("test", ""));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let place = Self {
            root: root.to_path_buf(),
            target,
            python: options.path("python", "python3")?,
            folder,
            model,
            speed,
            f16,
            peers,
            train,
            test,
            items: options.number("items", 250)?,
            threads: options.number("threads", 2)?,
        };
        std::fs::create_dir_all(place.work())?;
        Ok(place)
    }

    /// Builds the example `speed`, unless a built one was named.
    pub(super) fn build(&self) -> Result<()> {
        if let Some(speed) = &self.speed {
            ensure!(speed.is_file(), "no program {}", speed.display());
            return Ok(());
        }
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "weigh-lm", "--example", "speed"])
            .current_dir(&self.root)
            .status()
            .context("starting cargo")?;
        ensure!(status.success(), "building the example `speed` failed");
        Ok(())
    }

    /// A command in the workspace.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(&self.root);
        command
    }

    /// The example `speed` with `arguments`.
    pub(super) fn speed(&self, threads: usize, arguments: &[String]) -> Command {
        let built = || self.target.join("release/examples/speed");
        let mut command = Command::new(self.speed.clone().unwrap_or_else(built));
        command.args(["--threads", &threads.to_string()]).args(arguments);
        command
    }

    /// A program of fixtures/scripts/peers. Settings that would hold its libraries to something are not passed on.
    pub(super) fn script(&self, name: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.root.join("fixtures/scripts/peers").join(name)).args(arguments);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if ["OPENBLAS", "OMP_", "MKL_", "GOMP_", "KMP_"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(&variable);
            }
        }
        command.env("OMP_NUM_THREADS", self.threads.to_string()).env("TOKENIZERS_PARALLELISM", "false");
        command
    }

    /// Folder for what a measurement makes.
    pub(super) fn work(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// The 16-bit GGUF file; made from `model` where `to_f16_gguf.py` is at hand. The error says what is missing.
    pub(super) fn f16(&self) -> Result<PathBuf, String> {
        if let Some(f16) = &self.f16 {
            return if f16.is_file() { Ok(f16.clone()) } else { Err(format!("no file {}", f16.display())) };
        }
        let model = self.model.as_ref().ok_or("needs --model FILE.gguf or --f16 FILE.gguf")?;
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        let made = self.work().join(format!("{name}-f16.gguf"));
        if made.is_file() {
            return Ok(made);
        }
        let script =
            self.peers.as_ref().map(|peers| peers.join("to_f16_gguf.py")).filter(|script| script.is_file());
        let script = script.ok_or("needs --f16 FILE.gguf, or to_f16_gguf.py in the folder --peers")?;
        let partial = made.with_extension("partial");
        let outcome =
            Command::new(&self.python).arg(script).args([model, &partial]).stdout(Stdio::null()).status();
        match outcome {
            Ok(status) if status.success() && std::fs::rename(&partial, &made).is_ok() => Ok(made),
            _ => {
                Err("making the 16-bit GGUF file failed (it needs the Python modules gguf and numpy)"
                    .to_owned())
            }
        }
    }

    /// The scoring job as tokens, written by the example `speed`. The error says what is missing.
    pub(super) fn problem(&self) -> Result<PathBuf, String> {
        let folder = self.folder.as_ref().ok_or("needs --folder, a Hugging Face model")?;
        let (Some(train), Some(test)) = (&self.train, &self.test) else {
            return Err("needs --train and --test".to_owned());
        };
        let out = self.work().join("problem.json");
        let [folder, train, test, path] =
            [folder, train, test, &out].map(|path| path.to_string_lossy().into_owned());
        let arguments =
            ["--model", &folder, "--train", &train, "--test", &test, "--problem", &path, "problem"]
                .map(String::from);
        match self.speed(self.threads, &arguments).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(out),
            _ => Err("writing the scoring job failed".to_owned()),
        }
    }
}

/// Processor and cores.
pub(super) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let bf16 = if text.contains("amx_bf16") {
        ", AMX"
    } else if text.contains("avx512_bf16") {
        ", AVX512-BF16"
    } else if text.contains("avx2") && !text.contains("avx512f") {
        ", AVX2"
    } else {
        ""
    };
    format!("{name}{bf16}, {cores} cores")
}

//! A process that makes one run for every line it is given.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

/// A process that has said that it is ready.
pub(super) struct Child {
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it said of itself.
    pub(super) facts: Value,
}

impl Child {
    /// Starts `command` and waits until it is ready. `Err` in the result: why it does not run here.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Result<Self, String>> {
        let errors = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => return Ok(Err(format!("{}: {error}", command.get_program().to_string_lossy()))),
        };
        let output = process.stdout.take().context("standard output is piped")?;
        let input = process.stdin.take();
        let mut child = Self { process, input, output: BufReader::new(output), facts: Value::Null };
        child.facts = match child.line() {
            Ok(facts) => facts,
            Err(_) => return Ok(Err(format!("failed: {}", last_line(log)))),
        };
        match child.facts["skip"].as_str() {
            Some(reason) => Ok(Err(reason.to_owned())),
            None => Ok(Ok(child)),
        }
    }

    /// One run: what it says, `seconds` among it.
    pub(super) fn run(&mut self) -> Result<Value> {
        let input = self.input.as_mut().context("the process still listens")?;
        writeln!(input, "run").context("the process has ended")?;
        self.line()
    }

    /// The next line of JSON; other lines are passed over.
    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err(anyhow!("the process ended before it answered"));
            }
            match serde_json::from_str(&line) {
                Ok(value @ Value::Object(_)) => return Ok(value),
                _ => continue,
            }
        }
    }

    /// Peak resident memory so far, in bytes, as Linux reports it.
    pub(super) fn peak_bytes(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its input ends, and with it the process; one that does not mind its input is stopped.
        self.input = None;
        let patience = Instant::now();
        while patience.elapsed().as_secs() < 5 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Seconds from the start of a process to its first line of JSON, and its peak memory there.
pub(super) fn cold_start(command: &mut Command, log: &Path) -> Result<Result<(f64, Option<f64>), String>> {
    let started = Instant::now();
    let child = match Child::start(command, log)? {
        Ok(child) => child,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(Ok((started.elapsed().as_secs_f64(), child.peak_bytes())))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it said nothing").trim().chars().take(200).collect()
}

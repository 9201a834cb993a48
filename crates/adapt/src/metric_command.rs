//! A user's program as a metric: answers go in as JSON lines, one number a line comes back.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use task::example::Example;
use task::settings::MetricCommand;

/// What can go wrong with a user's metric.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricCommandError {
    /// It could not be started.
    #[error("`{program}` does not start: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It took too long and was stopped.
    #[error(
        "`{program}` was stopped after {seconds} seconds without a result for {answers} answers (task.metric_timeout)"
    )]
    Timeout {
        /// The program.
        program: String,
        /// The time that it had.
        seconds: f64,
        /// How many answers it was given.
        answers: usize,
    },
    /// It ended with an error.
    #[error("`{program}` failed ({status}): {message}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        message: String,
    },
    /// It gave another number of lines than it was given.
    #[error("`{program}` gave {given} numbers for {answers} answers")]
    Lines {
        /// The program.
        program: String,
        /// Lines that came back.
        given: usize,
        /// Lines that went in.
        answers: usize,
    },
    /// A line is not a number from 0 to 1.
    #[error("`{program}`, line {line} (example `{example}`): `{text}` is not a number from 0 to 1")]
    Value {
        /// The program.
        program: String,
        /// The line, from 1.
        line: usize,
        /// The example's id.
        example: String,
        /// What stands there.
        text: String,
    },
    /// Its output could not be read.
    #[error("`{program}`: its output cannot be read: {source}")]
    Output {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The longest output that is read, in bytes.
const LONGEST_OUTPUT: u64 = 64 << 20;
/// Time between two looks at whether the program has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// Characters of standard error that an error repeats.
const TOLD: usize = 500;

/// One score from 0 to 1 for each of `outputs`, the answers to `examples`.
pub(crate) fn score(
    command: &MetricCommand,
    examples: &[Example],
    outputs: &[String],
) -> Result<Vec<f64>, MetricCommandError> {
    let program = command.words.first().cloned().unwrap_or_default();
    let folder = if command.folder.as_os_str().is_empty() { ".".as_ref() } else { command.folder.as_path() };
    let mut child = Command::new(&program)
        .args(&command.words[1..])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| MetricCommandError::Start { program: program.clone(), source })?;
    let mut lines = String::new();
    for (example, output) in examples.iter().zip(outputs) {
        let Example { id, input, target, .. } = example;
        let line = serde_json::json!({"id": id, "input": input, "target": target, "output": output});
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    // Each pipe has a thread of its own: a program that writes before it has read everything must not wait for us.
    let input = child.stdin.take().expect("is piped");
    let writer = thread::spawn(move || {
        let mut input = input;
        // A program that ends early breaks the pipe; what it then lacks is told by its output.
        let _ = input.write_all(lines.as_bytes());
    });
    let output = reader(child.stdout.take().expect("is piped"));
    let errors = reader(child.stderr.take().expect("is piped"));
    let Some(status) = wait(&mut child, command.timeout) else {
        return Err(MetricCommandError::Timeout {
            program,
            seconds: command.timeout,
            answers: outputs.len(),
        });
    };
    let unreadable = |source| MetricCommandError::Output { program: program.clone(), source };
    let status = status.map_err(unreadable)?;
    let _ = writer.join();
    let joined = |thread: thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the reading thread ended early")))
    };
    if !status.success() {
        let message = String::from_utf8_lossy(&joined(errors).unwrap_or_default()).trim().to_owned();
        let skipped = message.chars().count().saturating_sub(TOLD);
        return Err(MetricCommandError::Failed {
            program,
            status,
            message: message.chars().skip(skipped).collect(),
        });
    }
    let output = joined(output).map_err(unreadable)?;
    parse(&program, &String::from_utf8_lossy(&output), examples)
}

/// Reads a pipe to its end, so that the program never waits for a full one.
fn reader(pipe: impl Read + Send + 'static) -> thread::JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.take(LONGEST_OUTPUT).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// How the program ended; `None` where it had to be stopped.
fn wait(child: &mut Child, seconds: f64) -> Option<std::io::Result<ExitStatus>> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
            Ok(None) if started.elapsed().as_secs_f64() >= seconds => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            Ok(None) => thread::sleep(PAUSE),
        }
    }
}

fn parse(program: &str, output: &str, examples: &[Example]) -> Result<Vec<f64>, MetricCommandError> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() != examples.len() {
        let program = program.to_owned();
        return Err(MetricCommandError::Lines { program, given: lines.len(), answers: examples.len() });
    }
    let value = |(at, (line, example)): (usize, (&&str, &Example))| {
        let value = line.trim().parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
        value.ok_or_else(|| MetricCommandError::Value {
            program: program.to_owned(),
            line: at + 1,
            example: example.id.clone(),
            text: line.trim().chars().take(80).collect(),
        })
    };
    lines.iter().zip(examples).enumerate().map(value).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use task::example::Origin;

    use super::*;

    fn run(script: &str, timeout: f64) -> Result<Vec<f64>, MetricCommandError> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let command = MetricCommand { words, folder: std::env::temp_dir(), timeout };
        let examples: Vec<Example> = ["a", "b"]
            .map(|id| Example {
                id: id.to_owned(),
                input: "in".to_owned(),
                target: "t".to_owned(),
                subgroup: None,
                paraphrase: None,
                origin: Origin { file: "x.jsonl".into(), line: 1 },
                cluster: None,
            })
            .to_vec();
        score(&command, &examples, &["t".to_owned(), "u \"v\"".to_owned()])
    }

    #[test]
    fn a_number_a_line_comes_back_for_the_lines_given() {
        let script =
            r#"while read -r line; do case "$line" in *'"output":"t"'*) echo 1;; *) echo 0.25;; esac; done"#;
        assert_eq!(run(script, 20.0).unwrap(), [1.0, 0.25]);
        assert_eq!(run("cat > /dev/null; printf '0.5\\n\\n1\\n'", 20.0).unwrap(), [0.5, 1.0]);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let message = |script: &str, timeout| run(script, timeout).unwrap_err().to_string();
        assert!(message("echo broken >&2; exit 3", 20.0).contains("broken"));
        assert_eq!(message("echo 1", 20.0), "`sh` gave 1 numbers for 2 answers");
        let value = "`sh`, line 2 (example `b`): `1.5` is not a number from 0 to 1";
        assert_eq!(message("cat > /dev/null; echo 1; echo 1.5", 20.0), value);
        assert!(message("exec sleep 30", 0.2).contains("stopped after 0.2 seconds"));
        let missing =
            MetricCommand { words: vec!["no such program".into()], folder: "".into(), timeout: 1.0 };
        assert!(matches!(score(&missing, &[], &[]), Err(MetricCommandError::Start { .. })));
    }
}

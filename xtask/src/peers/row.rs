//! The rows of the comparison: the work, its peers, and what is to be reached.

use super::place::Place;

/// One work and everyone who does it.
pub(super) struct Row {
    /// As it is asked for.
    pub(super) name: &'static str,
    /// As it is printed.
    pub(super) title: &'static str,
    /// The row of the example `speed`.
    pub(super) work: &'static str,
    pub(super) way: Way,
    pub(super) peers: Vec<Peer>,
}

/// How runs are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Again and again in long-lived processes, at most so many pairs.
    Repeated(usize),
    /// A process each time.
    ColdStart,
}

/// One way in which others do the work.
pub(super) struct Peer {
    /// The stack; the best of a stack's modes counts.
    pub(super) stack: &'static str,
    pub(super) mode: &'static str,
    pub(super) program: Program,
    /// The ratio of times to be reached.
    pub(super) target: f64,
    /// The share of the peer's peak memory to be kept to.
    pub(super) memory: Option<f64>,
}

pub(super) enum Program {
    /// `torch_rows.py ROW MODE`.
    Torch,
    /// `trl_rows.py MODE`.
    Trl,
    /// `llama_rows.py ROW`, with the 16-bit file.
    Llama,
    /// `llama_rows.py ROW`, with the file as it is.
    LlamaStored,
    /// `scoring.py MODE`.
    Scoring,
    /// `first_label.py MODE`.
    FirstLabel,
    /// This engine on one thread.
    OneThread,
}

/// Every row, in the order of the table.
pub(super) fn rows() -> Vec<Row> {
    let peer = |stack, mode, program, target| Peer { stack, mode, program, target, memory: None };
    let torch =
        |mode, target, memory| Peer { stack: "PyTorch", mode, program: Program::Torch, target, memory };
    let peft = |mode| Peer { stack: "PyTorch + PEFT", ..torch(mode, 2.0, Some(0.5)) };
    let trl = |mode| peer("TRL SFTTrainer", mode, Program::Trl, 4.0);
    let llama = |target| peer("llama.cpp", "f16", Program::Llama, target);
    let row = |name, title, peers| Row { name, title, work: name, way: Way::Repeated(usize::MAX), peers };
    // Without instructions for bfloat16 a peer is at its best in 32 bits.
    let prefill =
        || ["bf16", "f32"].map(|mode| torch(mode, 1.6, None)).into_iter().chain([llama(1.5)]).collect();
    let scoring = |stack, target| move |mode| peer(stack, mode, Program::Scoring, target);
    let tree = scoring("transformers, prefix cache and packed label tree", 2.0);
    let calls = scoring("transformers, one call per label", 100.0);
    let mut rows = vec![
        row(
            "lora",
            "LoRA step, r=16 all linears, 8 x 64 tokens, loss on the last 3",
            ["f32", "amp", "bf16", "bf16-adapter", "bf16-amp"].map(peft).into(),
        ),
        Row {
            name: "trl",
            work: "lora",
            ..row("", "the same step through TRL", ["defaults", "bf16", "f32"].map(trl).into())
        },
        row(
            "full",
            "full fine-tuning step, 8 x 64 tokens",
            ["f32", "amp", "bf16"].map(|mode| torch(mode, 1.4, Some(1.0))).into(),
        ),
        row("prefill-8x256", "prefill 8 x 256", prefill()),
        row("prefill-1x2048", "prefill 1 x 2,048", prefill()),
        row(
            "decode-16",
            "decode, 16 sequences at context 256",
            ["bf16", "bf16-static", "f32", "f32-static"]
                .map(|mode| torch(mode, 3.0, None))
                .into_iter()
                .chain([llama(1.3)])
                .collect(),
        ),
        row("decode-1", "decode, 1 sequence at context 256, 16 bits a weight", vec![llama(1.2)]),
        Row {
            work: "decode-1",
            ..row(
                "decode-1-stored",
                "decode, 1 sequence at context 256, the GGUF file's own blocks",
                vec![peer("llama.cpp", "the same file", Program::LlamaStored, 1.2)],
            )
        },
        Row {
            way: Way::Repeated(3),
            ..row(
                "scoring",
                "32-shot, 77-label scoring of 250 items",
                ["packed", "packed-f32"]
                    .map(tree)
                    .into_iter()
                    .chain(["per-label", "per-label-f32"].map(calls))
                    .collect(),
            )
        },
        Row {
            way: Way::ColdStart,
            ..row(
                "first-label",
                "cold start to the first scored label",
                ["bf16", "f32"]
                    .map(|mode| peer("Python, import to first label", mode, Program::FirstLabel, 20.0))
                    .into(),
            )
        },
    ];
    let threads = [
        ("threads-lora", "LoRA step", "lora"),
        ("threads-full", "full step", "full"),
        ("threads-prefill", "prefill 8 x 256", "prefill-8x256"),
        ("threads-decode", "decode, 16 sequences", "decode-16"),
    ];
    rows.extend(threads.map(|(name, title, work)| Row {
        work,
        ..row(name, title, vec![peer("ours on 1 thread", "bf16", Program::OneThread, 1.85)])
    }));
    rows
}

impl Row {
    /// Arguments of the example `speed` for this row. The error says what is missing.
    pub(super) fn arguments(&self, place: &Place) -> Result<Vec<String>, String> {
        let folder = || place.folder.as_ref().map(|folder| folder.to_string_lossy().into_owned());
        let mut arguments = Vec::new();
        if self.name.ends_with("-stored") {
            let model = place.model.as_ref().ok_or("needs --model FILE.gguf")?.to_string_lossy().into_owned();
            arguments.extend(["--model".to_owned(), model, "--precision".to_owned(), "stored".to_owned()]);
        }
        match self.work {
            "first-label" => {
                let folder = folder().ok_or("needs --folder, a Hugging Face model")?;
                arguments.extend(["--model".to_owned(), folder]);
            }
            "scoring" => {
                let problem = place.problem()?.to_string_lossy().into_owned();
                let folder = folder().ok_or("needs --folder, a Hugging Face model")?;
                arguments.extend(["--model".to_owned(), folder, "--problem".to_owned(), problem]);
                arguments.extend(["--items".to_owned(), place.items.to_string()]);
            }
            _ => {}
        }
        if self.way != Way::ColdStart {
            arguments.push("--on-demand".to_owned());
        }
        arguments.push(self.work.to_owned());
        Ok(arguments)
    }

    /// The command of `peer` for this row. The error says what is missing.
    pub(super) fn command(&self, peer: &Peer, place: &Place) -> Result<std::process::Command, String> {
        let text = |value: &str| value.to_owned();
        let threads = place.threads.to_string();
        let folder = || {
            let folder = place.folder.as_ref().ok_or("needs --folder, a Hugging Face model")?;
            Ok::<_, String>(folder.to_string_lossy().into_owned())
        };
        Ok(match peer.program {
            Program::Torch => place.script("torch_rows.py", &[text(self.work), text(peer.mode), threads]),
            Program::Trl => place.script("trl_rows.py", &[text(peer.mode), threads]),
            Program::Llama => {
                let file = place.f16()?.to_string_lossy().into_owned();
                place.script("llama_rows.py", &[text(self.work), file, threads])
            }
            Program::LlamaStored => {
                let model = place.model.as_ref().ok_or("needs --model FILE.gguf")?;
                let file = model.to_string_lossy().into_owned();
                place.script("llama_rows.py", &[text(self.work), file, threads])
            }
            Program::Scoring => {
                let problem = place.problem()?.to_string_lossy().into_owned();
                let items = place.items.to_string();
                place.script("scoring.py", &[text(peer.mode), folder()?, problem, items, threads])
            }
            Program::FirstLabel => place.script("first_label.py", &[text(peer.mode), folder()?, threads]),
            Program::OneThread => place.speed(1, &self.arguments(place)?),
        })
    }
}

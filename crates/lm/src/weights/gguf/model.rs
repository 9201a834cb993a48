//! A GGUF model's tensors under their Hugging Face names and in the Hugging Face layout.

use std::collections::BTreeMap;

use super::blocks::BlockFormat;
use super::container::{Container, Metadata, Place};
use crate::Error;
use crate::config::ModelConfig;
use crate::weights::{PartReader, Source, Tensors, beyond, in_memory};
use kernels::blocks::Blocks;

/// The tensors of a GGUF file, read and widened on demand.
pub(crate) struct GgufTensors {
    source: Source,
    entries: BTreeMap<String, Entry>,
}

/// A tensor and what has to be done to its rows.
struct Entry {
    place: Place,
    /// Heads whose rows are interleaved pairs and have to be parted into halves.
    interleaved_heads: Option<usize>,
}

impl GgufTensors {
    /// Maps every tensor to its Hugging Face name; gives the metadata back.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names a tensor that the Llama family does not have.
    pub(crate) fn new(container: Container, config: &ModelConfig) -> Result<(Self, Metadata), Error> {
        let mut entries = BTreeMap::new();
        for (name, place) in container.places {
            if ROTARY.contains(&name.as_str())
                || name.ends_with(".attn_rot_embd")
                || name.ends_with("rope_freqs")
            {
                continue;
            }
            let at = || format!("{}: {name}", container.source.place());
            let mapped = huggingface_name(&name).ok_or_else(|| {
                Error::unsupported(at(), "a tensor that this family of models does not have")
            })?;
            let interleaved_heads = interleaved_heads(config, &mapped);
            entries.insert(mapped, Entry { place, interleaved_heads });
        }
        Ok((Self { source: container.source, entries }, container.metadata))
    }

    fn entry(&self, name: &str) -> Result<&Entry, Error> {
        let at = || format!("{}: {name}", self.source.place());
        self.entries.get(name).ok_or_else(|| Error::format(at(), "no such tensor"))
    }

    /// Rows and heads, where the rows of each head are interleaved.
    fn interleaved(&self, name: &str, entry: &Entry) -> Result<Option<(usize, usize)>, Error> {
        let Some(heads) = entry.interleaved_heads else { return Ok(None) };
        let rows = entry.place.shape[0];
        if !rows.is_multiple_of(2 * heads) {
            let at = format!("{}: {name}", self.source.place());
            return Err(Error::format(at, format!("{rows} rows for {heads} heads")));
        }
        Ok(Some((rows, heads)))
    }
}

/// Tensors that hold factors of the rotary embedding; the configuration has them.
pub(crate) const ROTARY: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// Tensors outside the blocks: GGUF's name and Hugging Face's.
const OUTSIDE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Modules of a block: GGUF's name and Hugging Face's.
const MODULES: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The Hugging Face name of a tensor.
pub(crate) fn huggingface_name(name: &str) -> Option<String> {
    if let Some((_, outside)) = OUTSIDE.iter().find(|(own, _)| *own == name) {
        return Some((*outside).to_owned());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    let (_, module) = MODULES.iter().find(|(own, _)| *own == part)?;
    let layer: usize = layer.parse().ok()?;
    ["weight", "bias"].contains(&kind).then(|| format!("model.layers.{layer}.{module}.{kind}"))
}

/// The name in GGUF of a tensor, or of a module and what follows it (`model.layers.0.self_attn.q_proj.weight`).
pub(crate) fn gguf_name(name: &str) -> Option<String> {
    if let Some((own, _)) = OUTSIDE.iter().find(|(_, outside)| *outside == name) {
        return Some((*own).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let (own, _) = MODULES.iter().find(|(_, other)| *other == module)?;
    Some(format!("blk.{layer}.{own}.{kind}"))
}

/// Heads of the rows of a tensor of `config` that GGUF keeps as interleaved pairs.
pub(crate) fn interleaved_heads(config: &ModelConfig, name: &str) -> Option<usize> {
    match config.architecture.as_str() {
        // Only the converter to this architecture interleaves; the others rotate halves in GGUF too.
        "llama" if name.contains(".q_proj.") => Some(config.heads),
        "llama" if name.contains(".k_proj.") => Some(config.kv_heads),
        _ => None,
    }
}

impl Tensors for GgufTensors {
    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.entries.get(name).map(|entry| entry.place.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let entry = self.entry(name)?;
        let values = read_place(&self.source, name, &entry.place)?;
        match self.interleaved(name, entry)? {
            Some((rows, heads)) => Ok(part_pairs(&values, rows, heads)),
            None => Ok(values),
        }
    }

    fn parts(&self, name: &str) -> Result<PartReader<'_>, Error> {
        let entry = self.entry(name)?;
        let format = readable(&self.source, name, &entry.place)?;
        let interleaved = self.interleaved(name, entry)?;
        let length = entry.place.shape.iter().product::<usize>();
        let width = length / entry.place.shape[0].max(1);
        // Parts that are not whole rows of whole blocks are rare enough to be read with all others.
        if !width.is_multiple_of(format.values()) {
            let values = self.read(name)?;
            return Ok(in_memory(values));
        }
        let (block, bytes) = (format.values(), format.bytes());
        let read = move |first: usize, out: &mut [f32]| {
            let (begin, length) = (first / block * bytes, out.len() / block * bytes);
            let offset = entry.place.offset + begin as u64;
            self.source.with(offset, length, |bytes| format.decode_into(bytes, out))
        };
        Ok(Box::new(move |first, out| {
            if first + out.len() > length {
                return Err(beyond(first, out.len(), length));
            }
            if !first.is_multiple_of(width) || !out.len().is_multiple_of(width) {
                return Err(Error::Invalid(format!("values {first} + {} of rows of {width}", out.len())));
            }
            let Some((rows, heads)) = interleaved else { return read(first, out) };
            let mut rows_out = out.chunks_exact_mut(width).zip(first / width..);
            rows_out.try_for_each(|(out, row)| read(interleaved_row(row, rows / heads) * width, out))
        }))
    }

    fn read_blocks(&self, name: &str) -> Result<Option<Blocks>, Error> {
        let entry = self.entry(name)?;
        let (Ok(format), [_, inputs]) = (entry.place.format, &entry.place.shape[..]) else { return Ok(None) };
        let bytes = self.source.read(entry.place.offset, entry.place.length)?;
        let Some(mut blocks) = format.blocks(&bytes, *inputs) else { return Ok(None) };
        if let Some((rows, heads)) = self.interleaved(name, entry)? {
            blocks.codes = part_pairs(&blocks.codes, rows, heads);
            blocks.scales = part_pairs(&blocks.scales, rows, heads);
            blocks.minimums = part_pairs(&blocks.minimums, rows, heads);
        }
        Ok(Some(blocks))
    }
}

/// A tensor as a GGUF file has it.
pub(crate) struct FileTensor {
    /// Row-major, outermost first.
    pub(crate) shape: Vec<usize>,
    /// Its values, widened.
    pub(crate) values: Vec<f32>,
}

impl Container {
    /// The tensor that the file calls `name`; `None` where there is none.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<FileTensor>, Error> {
        let Some(place) = self.places.get(name) else { return Ok(None) };
        let values = read_place(&self.source, name, place)?;
        Ok(Some(FileTensor { shape: place.shape.clone(), values }))
    }
}

/// The values of a tensor as they stand in the file.
pub(super) fn read_place(source: &Source, name: &str, place: &Place) -> Result<Vec<f32>, Error> {
    let format = readable(source, name, place)?;
    Ok(format.decode(&source.read(place.offset, place.length)?))
}

/// The format of a tensor, where it is one that is read.
fn readable(source: &Source, name: &str, place: &Place) -> Result<BlockFormat, Error> {
    place.format.map_err(|number| {
        Error::unsupported(format!("{}: {name}", source.place()), format!("tensors of type {number}"))
    })
}

/// The row of a file that holds row `row`: of each head's rows, the first half are the even ones.
fn interleaved_row(row: usize, head_rows: usize) -> usize {
    let (head, within) = (row / head_rows, row % head_rows);
    let half = head_rows / 2;
    head * head_rows + 2 * (within % half) + within / half
}

/// Rows of each head from interleaved pairs (0, 1, 2, 3 ...) to halves (0, 2, ... then 1, 3, ...).
pub(crate) fn part_pairs<T: Copy>(values: &[T], rows: usize, heads: usize) -> Vec<T> {
    let width = values.len() / rows;
    let head_rows = rows / heads;
    let mut parted = Vec::with_capacity(values.len());
    for row in 0..rows {
        parted.extend_from_slice(&values[interleaved_row(row, head_rows) * width..][..width]);
    }
    parted
}

/// Rows of each head from halves to interleaved pairs: undoes [`part_pairs`].
pub(crate) fn join_pairs(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let width = values.len() / rows;
    let half = rows / heads / 2;
    let mut joined = Vec::with_capacity(values.len());
    for head in values.chunks_exact(2 * half * width) {
        for pair in 0..half {
            joined.extend_from_slice(&head[pair * width..(pair + 1) * width]);
            joined.extend_from_slice(&head[(half + pair) * width..(half + pair + 1) * width]);
        }
    }
    joined
}

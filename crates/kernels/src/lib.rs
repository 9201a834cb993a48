//! Buffers, matrix products and the fused forward and backward operations of a decoder.
//!
//! Everything here works on plain `f32` slices with explicit shapes; nothing knows of files, models or tasks.
//! This is the only crate with `unsafe` code. Every operation gives the same bits at any number of threads.
//! Instruction sets (AVX2, AVX-512, AVX512-BF16, AVX512-VNNI, AMX) are chosen at run time; there is a portable path for
//! all of it, which is NEON on 64-bit ARM.
//! Shapes are checked at the entry of each operation: a wrong one is a programming error and panics.

pub mod activation;
pub mod attention;
pub mod blocks;
pub mod buffer;
pub mod dropout;
pub mod feed_forward;
pub mod log_softmax;
pub mod loss;
pub mod matrix;
pub mod narrow;
pub mod norm;
pub mod optimizer;
pub mod outer;
pub mod product;
pub mod rotary;
pub mod row;
pub mod threads;

#[cfg(target_arch = "x86_64")]
mod amx;
mod instructions;
mod lanes;
mod memory;
mod panel;
mod plan;
mod quantised;
mod rounded;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiled;

/// The instruction sets that the engine has kernels for and this machine has, the widest first. Empty on processors for which
/// there are portable kernels only.
pub fn instruction_sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("AMX bf16", amx::available()),
            ("AVX-512 bf16", is_x86_feature_detected!("avx512bf16")),
            ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni")),
            ("AVX-512", is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")),
            ("AVX2", is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
        ];
        known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

#[cfg(test)]
mod tests;

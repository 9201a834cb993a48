//! The peak of the multiply-add instructions: operations in a second from registers only.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// A multiply-add instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// 32-bit fused multiply-add, as wide as the machine has it.
    Single,
    /// Pairs of bfloat16 into 32-bit sums (VDPBF16PS).
    Pairs,
    /// Quadruples of 8-bit integers into 32-bit sums (VPDPBUSD).
    Bytes,
    /// Tiles of bfloat16 into tiles of 32-bit sums (TDPBF16PS).
    Tiles,
}

/// Independent sums in a loop: more than the latency of an instruction times those issued in a cycle.
const SUMS: usize = 16;
/// Loops between two readings of the clock.
const LOOPS: u64 = 1 << 18;
/// Readings; the best one counts.
const READINGS: usize = 100;

/// Operations in a second (a multiply-add is two) of `threads` threads that do nothing else, from registers only;
/// `None` where this machine lacks the instruction.
pub(crate) fn peak(instruction: Instruction, threads: usize) -> Option<f64> {
    let (operations, run) = lookup(instruction)?;
    let barrier = Barrier::new(threads);
    let best = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut best = Duration::MAX;
                    for _ in 0..READINGS {
                        barrier.wait();
                        let start = Instant::now();
                        run(LOOPS);
                        // All threads work until the last one has ended, so that each reading has them all.
                        barrier.wait();
                        best = best.min(start.elapsed());
                    }
                    best
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a loop does not panic")).max()
    })?;
    Some((threads as u64 * LOOPS * SUMS as u64 * operations) as f64 / best.as_secs_f64())
}

/// Operations of one instruction, and a loop of it.
#[cfg(target_arch = "x86_64")]
fn lookup(instruction: Instruction) -> Option<(u64, fn(u64))> {
    let wide = is_x86_feature_detected!("avx512f");
    match instruction {
        Instruction::Single if wide => Some((32, |loops| {
            // SAFETY: the feature was found; so below.
            unsafe { x86::single512(loops) }
        })),
        Instruction::Single if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => {
            // SAFETY: as above.
            Some((16, |loops| unsafe { x86::single256(loops) }))
        }
        Instruction::Pairs if wide && is_x86_feature_detected!("avx512bf16") => {
            // SAFETY: as above.
            Some((64, |loops| unsafe { x86::pairs512(loops) }))
        }
        Instruction::Bytes if wide && is_x86_feature_detected!("avx512vnni") => {
            // SAFETY: as above.
            Some((128, |loops| unsafe { x86::bytes512(loops) }))
        }
        Instruction::Tiles if kernels::instruction_sets().contains(&"AMX bf16") => {
            // Two tiles of 16 x 32 values into one of 16 x 16 sums.
            // SAFETY: the system has granted the tile registers, or they would not be among the sets.
            Some((2 * 16 * 16 * 32, |loops| unsafe { x86::tiles(loops) }))
        }
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn lookup(_instruction: Instruction) -> Option<(u64, fn(u64))> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::{SUMS, black_box};

    #[target_feature(enable = "avx512f")]
    pub(super) fn single512(loops: u64) {
        let factor = black_box(_mm512_set1_ps(0.5));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..loops {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(factor, factor, *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn single256(loops: u64) {
        let factor = black_box(_mm256_set1_ps(0.5));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..loops {
            // Fewer sums than registers, so that none is moved to memory.
            for sum in &mut sums[..12] {
                *sum = _mm256_fmadd_ps(factor, factor, *sum);
            }
            for sum in &mut sums[..4] {
                *sum = _mm256_fmadd_ps(factor, factor, *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn pairs512(loops: u64) {
        let half = _mm512_set1_ps(0.5);
        let factor = black_box(_mm512_cvtne2ps_pbh(half, half));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..loops {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn bytes512(loops: u64) {
        let factor = black_box(_mm512_set1_epi32(0x0101_0101));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..loops {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
    }

    /// The layout of `ldtilecfg`'s operand: palette 1, all eight registers of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    /// # Safety
    /// The process may use tile registers.
    pub(super) unsafe fn tiles(loops: u64) {
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for register in 0..8 {
            configuration.0[16 + 2 * register] = 64;
            configuration.0[48 + register] = 16;
        }
        // SAFETY: the operand is a valid configuration; the registers are released at the end.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) };
        for _ in 0..loops {
            // Four sums, as many as a kernel that keeps its factors in registers has; [`SUMS`] instructions.
            // SAFETY: registers only.
            unsafe {
                asm!(
                    ".rept 4",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    ".endr",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, nomem),
                );
            }
        }
        // SAFETY: configured above.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

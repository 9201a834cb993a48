//! Products on the tile registers of recent Xeons (AMX-BF16), 32 x 32 sums at a time.
//!
//! The intrinsics are not stable, so the few instructions are written as assembly. Intel 64 and IA-32 Architectures
//! Optimization Reference Manual, chapter "Intel Advanced Matrix Extensions", has the layout: the left tile holds 16
//! rows of 32 values, the right tile 16 rows of 16 pairs of consecutive `k`.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use crate::tile::PANEL;

/// Rows of a tile, and of a block of the left factor.
pub(crate) const ROWS: usize = 16;
/// Values of `k` in a tile.
pub(crate) const DEPTH: usize = 32;

/// Whether the machine has tile registers and the operating system lets this process use them. Asks it to, once.
pub(crate) fn available() -> bool {
    supported() && permitted()
}

fn supported() -> bool {
    /// CPUID leaf 1, ECX: the operating system uses XSAVE.
    const OSXSAVE: u32 = 1 << 27;
    /// CPUID leaf 7, EDX: AMX-BF16 and AMX-TILE.
    const AMX: u32 = 1 << 22 | 1 << 24;
    /// XCR0: tile configuration and tile data are saved.
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: register 0 exists wherever XSAVE is enabled.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || !is_x86_feature_detected!("xsave") {
        return false;
    }
    if __cpuid_count(7, 0).edx & AMX != AMX {
        return false;
    }
    // SAFETY: the check above found XSAVE enabled.
    unsafe { enabled_state() & TILE_STATE == TILE_STATE }
}

/// Linux keeps tile data off until a process asks (arch_prctl, ARCH_REQ_XCOMP_PERM).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call that reads no memory of ours; the registers that it changes are declared.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The layout of `ldtilecfg`'s operand.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile registers of this thread, configured; released on drop.
pub(crate) struct Tiles(std::marker::PhantomData<*const ()>);

impl Tiles {
    /// # Safety
    /// [`available`] has returned true.
    pub(crate) unsafe fn configure() -> Self {
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..8].fill(ROWS as u8);
        // SAFETY: tiles are available; the operand is 64 bytes of a valid configuration.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) };
        Self(std::marker::PhantomData)
    }

    /// `sums[32][32] = a . b` for two blocks of rows: `a` and `a + steps` blocks of `[steps][16][32]` values, `b` a
    /// panel `[steps * 16][32]` of pairs. Writes 32 rows, `stride` elements apart.
    ///
    /// # Safety
    /// `a` is valid for `2 * steps * 512` values, `b` for `steps * 512` pairs, `sums` for the 32 rows.
    pub(crate) unsafe fn two_blocks(
        &self,
        a: *const u16,
        b: *const u32,
        steps: usize,
        sums: *mut f32,
        stride: usize,
    ) {
        let second = a.wrapping_add(steps * ROWS * DEPTH);
        let lower = sums.wrapping_add(ROWS * stride);
        // SAFETY: configured by `self`; the addresses are those of the contract.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a} + {narrow}]",
                "tileloadd tmm6, [{b} + {wide}]",
                "tileloadd tmm7, [{b} + {wide} + 64]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{second} + {narrow}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 1024",
                "add {second}, 1024",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 64], tmm1",
                "tilestored [{lower} + {stride}], tmm2",
                "tilestored [{lower} + {stride} + 64], tmm3",
                a = inout(reg) a => _,
                second = inout(reg) second => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                lower = in(reg) lower,
                stride = in(reg) stride * 4,
                narrow = in(reg) 64usize,
                wide = in(reg) PANEL * 4,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// The same for one block of rows: `sums[16][32]`.
    ///
    /// # Safety
    /// `a` is valid for `steps * 512` values, `b` for `steps * 512` pairs, `sums` for the 16 rows.
    pub(crate) unsafe fn one_block(
        &self,
        a: *const u16,
        b: *const u32,
        steps: usize,
        sums: *mut f32,
        stride: usize,
    ) {
        // SAFETY: as in `two_blocks`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{a} + {narrow}]",
                "tileloadd tmm6, [{b} + {wide}]",
                "tileloadd tmm7, [{b} + {wide} + 64]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 1024",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {stride}], tmm0",
                "tilestored [{sums} + {stride} + 64], tmm1",
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                stride = in(reg) stride * 4,
                narrow = in(reg) 64usize,
                wide = in(reg) PANEL * 4,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the tiles were configured by this thread (the type is not `Send`).
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

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

    /// `sums[32][32] (+)= a . b` for two blocks of rows, or `sums[16][32]` for one: `b` is a panel `[steps * 16][32]` of pairs.
    /// Rows of `sums` are `stride` elements apart. With `resume` the sums go on from what is there.
    ///
    /// The left factor is asked for with a hint that it need not stay in the first cache, which the panel then keeps.
    ///
    /// # Safety
    /// `left` names 16 readable rows of `steps * 32` values for each block, `b` is valid for `steps * 512` pairs, `sums`
    /// for the rows, and `steps` is not 0.
    pub(crate) unsafe fn multiply(
        &self,
        left: &Left,
        b: *const u32,
        steps: usize,
        sums: *mut f32,
        (stride, resume): (usize, bool),
    ) {
        // SAFETY: the contract above.
        unsafe {
            match left.second {
                Some(second) => two_blocks(left, second, b, steps, sums, (stride, resume)),
                None => one_block(left, b, steps, sums, (stride, resume)),
            }
        }
    }
}

/// One or two blocks of 16 rows of the left factor.
pub(crate) struct Left {
    /// The first value of the first block.
    pub(crate) first: *const u16,
    /// The first value of the second block.
    pub(crate) second: Option<*const u16>,
    /// Values from one row to the next.
    pub(crate) row: usize,
    /// Values from the first [`DEPTH`] values of a row to those after them.
    pub(crate) step: usize,
}

impl Left {
    /// The same rows from value `begin` of their depth on, a multiple of [`DEPTH`].
    pub(crate) fn from(&self, begin: usize) -> Self {
        let offset = begin / DEPTH * self.step;
        let second = self.second.map(|second| second.wrapping_add(offset));
        Self { first: self.first.wrapping_add(offset), second, ..*self }
    }
}

/// # Safety
/// As for [`Tiles::multiply`]; tiles are configured.
unsafe fn two_blocks(
    left: &Left,
    second: *const u16,
    b: *const u32,
    steps: usize,
    sums: *mut f32,
    (stride, resume): (usize, bool),
) {
    let lower = sums.wrapping_add(ROWS * stride);
    // SAFETY: the addresses are those of the contract.
    unsafe {
        asm!(
            "test {resume:e}, {resume:e}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {stride}]",
            "tileloadd tmm1, [{sums} + {stride} + 64]",
            "tileloadd tmm2, [{lower} + {stride}]",
            "tileloadd tmm3, [{lower} + {stride} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloaddt1 tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {wide}]",
            "tileloadd tmm7, [{b} + {wide} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloaddt1 tmm5, [{second} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, {step}",
            "add {second}, {step}",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm0",
            "tilestored [{sums} + {stride} + 64], tmm1",
            "tilestored [{lower} + {stride}], tmm2",
            "tilestored [{lower} + {stride} + 64], tmm3",
            a = inout(reg) left.first => _,
            second = inout(reg) second => _,
            b = inout(reg) b => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            lower = in(reg) lower,
            stride = in(reg) stride * 4,
            row = in(reg) left.row * 2,
            step = in(reg) left.step * 2,
            wide = in(reg) PANEL * 4,
            resume = in(reg) u32::from(resume),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// # Safety
/// As for [`Tiles::multiply`]; tiles are configured.
unsafe fn one_block(
    left: &Left,
    b: *const u32,
    steps: usize,
    sums: *mut f32,
    (stride, resume): (usize, bool),
) {
    // SAFETY: the addresses are those of the contract.
    unsafe {
        asm!(
            "test {resume:e}, {resume:e}",
            "jz 3f",
            "tileloadd tmm0, [{sums} + {stride}]",
            "tileloadd tmm1, [{sums} + {stride} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloaddt1 tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {wide}]",
            "tileloadd tmm7, [{b} + {wide} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, {step}",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm0",
            "tilestored [{sums} + {stride} + 64], tmm1",
            a = inout(reg) left.first => _,
            b = inout(reg) b => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums,
            stride = in(reg) stride * 4,
            row = in(reg) left.row * 2,
            step = in(reg) left.step * 2,
            wide = in(reg) PANEL * 4,
            resume = in(reg) u32::from(resume),
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the tiles were configured by this thread (the type is not `Send`).
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

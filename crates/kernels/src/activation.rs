//! SwiGLU (Shazeer 2020): `silu(gate) * up`.

use crate::instructions::vectorised;
#[cfg(target_arch = "x86_64")]
use crate::panel::round_bf16;
use crate::row::exponential;
use crate::threads::{Shared, for_each};

/// Elements of `out` given to a thread at a time, at least.
const CHUNK: usize = 1 << 12;

/// Elementary operations for one element, for the choice of threads.
const COST: usize = 8;

/// `gate_up` rows are `[gate | up]`, each `width` wide; `out` rows are `width` wide.
pub fn swiglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    assert!(width > 0 && out.len().is_multiple_of(width), "swiglu: whole rows of out");
    assert_eq!(gate_up.len(), 2 * out.len(), "swiglu: gate_up has two columns for each of out");
    let rows = out.len() / width;
    let per = CHUNK.div_ceil(width);
    let work = out.len() * COST;
    let out = Shared::new(out);
    for_each(rows.div_ceil(per), work, |chunk| {
        for row in chunk * per..rows.min((chunk + 1) * per) {
            let (gate, up) = gate_up[row * 2 * width..][..2 * width].split_at(width);
            // SAFETY: each row belongs to one task.
            swiglu_row(gate, up, unsafe { out.slice(row * width, width) });
        }
    });
}

/// Gradient: replaces `gate_up` by `[dgate | dup]`.
pub fn swiglu_backward(gate_up: &mut [f32], width: usize, dout: &[f32]) {
    assert!(width > 0 && dout.len().is_multiple_of(width), "swiglu_backward: whole rows of dout");
    assert_eq!(gate_up.len(), 2 * dout.len(), "swiglu_backward: gate_up has two columns for each of dout");
    let rows = dout.len() / width;
    let per = CHUNK.div_ceil(width);
    let gate_up = Shared::new(gate_up);
    for_each(rows.div_ceil(per), dout.len() * COST, |chunk| {
        for row in chunk * per..rows.min((chunk + 1) * per) {
            // SAFETY: each row belongs to one task.
            let (gate, up) = unsafe { gate_up.slice(row * 2 * width, 2 * width) }.split_at_mut(width);
            swiglu_backward_row(gate, up, &dout[row * width..][..width]);
        }
    });
}

#[inline(always)]
fn gated<const FUSED: bool>(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exponential::<FUSED>(-gate)) * up
}

vectorised! {
    fn swiglu_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gated::<FUSED>(*gate, *up);
        }
    }
}

#[cfg(target_arch = "x86_64")]
vectorised! {
    /// As [`swiglu`], rounded to bfloat16.
    pub(crate) fn swiglu_rounded(gate: &[f32], up: &[f32], out: &mut [u16]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = round_bf16(gated::<FUSED>(*gate, *up));
        }
    }
}

vectorised! {
    fn swiglu_backward_row(gate: &mut [f32], up: &mut [f32], dout: &[f32]) {
        for ((gate, up), dout) in gate.iter_mut().zip(up).zip(dout) {
            let sigmoid = 1.0 / (1.0 + exponential::<FUSED>(-*gate));
            let silu = *gate * sigmoid;
            let dgate = dout * *up * (sigmoid + silu * (1.0 - sigmoid));
            *up = dout * silu;
            *gate = dgate;
        }
    }
}

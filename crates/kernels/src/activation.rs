//! SwiGLU (Shazeer 2020): `silu(gate) * up`.

/// `gate_up` rows are `[gate | up]`, each `width` wide; `out` rows are `width` wide.
pub fn swiglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    todo!()
}

/// Gradient: replaces `gate_up` by `[dgate | dup]`.
pub fn swiglu_backward(gate_up: &mut [f32], width: usize, dout: &[f32]) {
    todo!()
}

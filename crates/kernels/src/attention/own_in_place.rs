//! Where products are made in 32 bits, keys and values are read where they lie: nothing is laid out beforehand.

use super::factors::{Arithmetic, Tile};
use super::{Heads, Segment};
use std::marker::PhantomData;

/// Nothing.
#[derive(Clone, Copy)]
pub(super) struct Own<'a>(PhantomData<&'a ()>);

impl Own<'_> {
    /// Calls `work` with nothing.
    pub(super) fn with<R>(
        _arithmetic: Arithmetic,
        _heads: Heads,
        _qkv: &[f32],
        _segments: &[Segment<'_>],
        work: impl FnOnce(Option<Own<'_>>) -> R,
    ) -> R {
        work(None)
    }

    /// None.
    pub(super) fn tile(
        &self,
        _segments: &[Segment<'_>],
        _index: usize,
        _kv: usize,
        _positions: [usize; 2],
    ) -> Option<Tile<'_>> {
        None
    }
}

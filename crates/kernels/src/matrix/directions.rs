//! The packed panels of a matrix, for the products of both directions.

use crate::memory::with_scratch;
use crate::panel::{Element, Panels, ROWS, Source, pack_panel, pack_rows, panel_length};
use crate::product::View;
use crate::threads::{Shared, for_each};
use std::ops::Range;

/// The right factors of the products in both directions.
#[derive(Clone, Debug)]
pub(super) struct Directions<E: Element> {
    /// `W^T`, `[inputs, outputs]`.
    pub(super) forward: Panels<E>,
    /// `W`, `[outputs, inputs]`.
    pub(super) backward: Option<Panels<E>>,
}

impl<E: Element + Default> Directions<E> {
    /// Room for a matrix `[outputs, inputs]`, all zeros.
    fn zeros(outputs: usize, inputs: usize, both: bool) -> Self {
        Self {
            forward: Panels::zeros(outputs, inputs),
            backward: both.then(|| Panels::zeros(inputs, outputs)),
        }
    }

    /// Packs a panel's rows at a time, on several threads, while they are in the caches. `rows` is given the index of the
    /// first, their number and what is to be done with them, once they are there.
    fn pack(&mut self, inputs: usize, rows: impl Fn(Range<usize>, &dyn Fn(&[f32])) + Sync + Send) {
        let (depth, length) = (self.forward.columns, panel_length::<E>(inputs));
        let work = depth.saturating_mul(inputs).saturating_mul(8);
        let forward = Shared::new(&mut self.forward.data);
        let backward = self.backward.as_mut().map(|panels| Shared::new(&mut panels.data));
        for_each(depth.div_ceil(ROWS), work, |index| {
            let first = index * ROWS;
            let last = depth.min(first + ROWS);
            rows(first..last, &|own| {
                let own = View::new(own, last - first, inputs);
                // SAFETY: what is packed from the rows of a task is its own.
                let panel = unsafe { forward.slice(index * length, length) };
                pack_panel(Source::Transposed(own), 0, panel, E::default());
                if let Some(backward) = &backward {
                    // SAFETY: as above.
                    unsafe { pack_rows(own, first, depth, backward, E::default()) };
                }
            });
        });
    }

    /// Changes `values`, a panel's rows at a time, and packs them.
    pub(super) fn update(
        &mut self,
        (values, inputs): (&mut [f32], usize),
        change: impl Fn(Range<usize>, &mut [f32]) + Sync + Send,
    ) {
        let values = Shared::new(values);
        self.pack(inputs, |rows, pack| {
            let range = rows.start * inputs..rows.end * inputs;
            // SAFETY: the rows belong to this task.
            let own = unsafe { values.slice(range.start, range.len()) };
            change(range, own);
            pack(own);
        });
    }

    /// Packs the values of a matrix `[outputs, inputs]`, a panel's rows at a time. They are kept in `values` too, unless
    /// that is empty.
    pub(super) fn read(
        outputs: usize,
        inputs: usize,
        both: bool,
        values: &mut [f32],
        read: impl Fn(Range<usize>, &mut [f32]) + Sync + Send,
    ) -> Self {
        let mut packed = Self::zeros(outputs, inputs, both);
        if !values.is_empty() {
            packed.update((values, inputs), read);
            return packed;
        }
        packed.pack(inputs, |rows, pack| {
            with_scratch(rows.len() * inputs, |own| {
                read(rows.start * inputs..rows.end * inputs, own);
                pack(own);
            });
        });
        packed
    }

    pub(super) fn bytes(&self) -> usize {
        self.forward.data.bytes() + self.backward.as_ref().map_or(0, |backward| backward.data.bytes())
    }
}

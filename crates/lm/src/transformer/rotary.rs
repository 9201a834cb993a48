//! The table of rotary angles, grown as positions are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{RotaryConfig, RotaryScaling};
use kernels::rotary::RotaryTable;

/// Angles of one model. Shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    config: RotaryConfig,
    head_dim: usize,
    table: Arc<Mutex<Option<Table>>>,
}

#[derive(Debug)]
struct Table {
    /// Context that the frequencies were made for.
    frequencies_for: usize,
    positions: usize,
    angles: Arc<RotaryTable>,
}

const FIRST_POSITIONS: usize = 512;

impl Rotary {
    pub(crate) fn new(config: RotaryConfig, head_dim: usize) -> Self {
        Self { config, head_dim, table: Arc::default() }
    }

    /// Angles for at least `positions` positions.
    ///
    /// With the scalings whose frequencies depend on the length of the text (dynamic NTK, LongRoPE), they are those
    /// of the longest sequence in the batch, as in transformers.
    pub(crate) fn table(&self, positions: usize) -> Arc<RotaryTable> {
        let frequencies_for = match &self.config.scaling {
            RotaryScaling::Dynamic { original_context, .. } => positions.max(*original_context),
            RotaryScaling::LongRope { original_context, .. } if positions > *original_context => {
                original_context + 1
            }
            RotaryScaling::LongRope { original_context, .. } => *original_context,
            _ => 0,
        };
        let mut held = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = held.as_ref()
            && table.frequencies_for == frequencies_for
            && table.positions >= positions
        {
            return Arc::clone(&table.angles);
        }
        let room = positions.next_power_of_two().max(FIRST_POSITIONS);
        let (frequencies, factor) = self.config.inverse_frequencies(self.head_dim, frequencies_for);
        let angles = Arc::new(RotaryTable::new(&frequencies, room, factor));
        *held = Some(Table { frequencies_for, positions: room, angles: Arc::clone(&angles) });
        angles
    }
}

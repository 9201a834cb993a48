//! How a product is split into tasks: chunks of rows times groups of panels. Every sum is computed whole by one task,
//! so the split never shows in the result.

use std::ops::Range;

use crate::memory::with_scratch;
use crate::product::ViewMut;
use crate::threads::{self, Shared, for_each};
use crate::tile::PANEL;

/// How finely products are split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grain {
    /// Rows of a task at most, so that its part of the left factor stays in the second cache while it meets every panel.
    /// A multiple of all row blocks.
    chunk: usize,
    /// Rows of a task that has all panels, at least: with fewer, fetching a panel takes longer than using it.
    least: usize,
    /// Tasks for each thread at most, so that a thread which falls behind can be helped.
    tasks: usize,
}

impl Grain {
    /// For products that take longer than what surrounds them.
    pub(crate) const FINE: Self = Self { chunk: 240, least: 48, tasks: 8 };
    /// For tile registers, which take a tenth of the time, on processors whose second cache is twice as large.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const COARSE: Self = Self { chunk: 512, least: 128, tasks: 3 };
}

/// Weights of a right factor that every task may walk through: they stay in the last cache.
const CACHED: usize = 1 << 22;

/// Rows of a chunk are a multiple of this.
const BLOCK: usize = 16;

/// Columns of a tile of a result that is read and not kept: with the rows of a task it stays in a second cache.
pub(crate) const TILE_COLUMNS: usize = 8 * PANEL;

/// Where a product goes.
pub(crate) enum Target<'a> {
    Kept(ViewMut<'a>),
    /// Nowhere: each of its tiles is read while it is in a cache, by the thread that made it.
    Read {
        rows: usize,
        columns: usize,
        reader: Reader<'a>,
    },
}

/// Reads the tiles of a result, in no order; see [`TILE_COLUMNS`].
pub(crate) type Reader<'a> = &'a (dyn Fn(&Tile<'_>) + Sync);

/// Some rows and columns of a result.
pub(crate) struct Tile<'a> {
    pub(crate) rows: Range<usize>,
    /// They begin at a multiple of [`TILE_COLUMNS`]; so many, but for the last.
    pub(crate) columns: Range<usize>,
    values: &'a [f32],
}

impl Tile<'_> {
    /// Each row and its columns.
    pub(crate) fn by_row(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let width = self.columns.len();
        self.rows.clone().zip(self.values.chunks(TILE_COLUMNS).map(move |row| &row[..width]))
    }

    /// The value in `row` and `column` of the whole result; both are in the tile.
    pub(crate) fn value(&self, row: usize, column: usize) -> f32 {
        self.values[(row - self.rows.start) * TILE_COLUMNS + column - self.columns.start]
    }
}

impl<'a> From<ViewMut<'a>> for Target<'a> {
    fn from(y: ViewMut<'a>) -> Self {
        y.check();
        Self::Kept(y)
    }
}

impl Target<'_> {
    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Kept(y) => (y.rows, y.columns),
            Self::Read { rows, columns, .. } => (*rows, *columns),
        }
    }
}

/// A product's result and how it is split.
pub(crate) struct Plan<'a> {
    target: Target<'a>,
    work: usize,
    /// Rows of a task.
    chunk: usize,
    /// Panels of a task.
    group: usize,
}

/// One task: some rows of the result times some panels.
pub(crate) struct Part<'a> {
    pub(crate) rows: Range<usize>,
    pub(crate) panels: Range<usize>,
    y: &'a Shared<f32>,
    /// Row and panel with which `y` begins.
    origin: (usize, usize),
    stride: usize,
    columns: usize,
}

impl Part<'_> {
    /// Distance between rows of the result.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Columns of the result in panel `panel`.
    pub(crate) fn columns(&self, panel: usize) -> usize {
        PANEL.min(self.columns - panel * PANEL)
    }

    /// The address of the result's rows `row ..` in `panel`; checks that `rows` of them exist.
    pub(crate) fn address(&self, row: usize, rows: usize, panel: usize) -> *mut f32 {
        assert!(row >= self.rows.start && row + rows <= self.rows.end && self.panels.contains(&panel));
        let start = (row - self.origin.0) * self.stride + (panel - self.origin.1) * PANEL;
        self.y.address(start, (rows - 1) * self.stride + self.columns(panel))
    }
}

impl<'a> Plan<'a> {
    /// For a product over `depth`. `rate` is how many multiply-adds take as long as one elementary
    /// operation (see [`threads::SERIAL_WORK`]).
    /// `by_rows`: where there are many rows, a task should have all panels for its own; not where panels are
    /// expensive to come by.
    pub(crate) fn new(
        target: Target<'a>,
        depth: usize,
        (rate, grain): (usize, Grain),
        by_rows: bool,
    ) -> Self {
        let (rows, columns) = target.shape();
        // A product of few rows waits for memory: it costs as much as one of some more.
        let work = rows.max(8).saturating_mul(columns).saturating_mul(depth) / rate;
        let panels = columns.div_ceil(PANEL);
        let threads = threads::count();
        let per_thread = (rows / (threads * grain.least)).min(grain.tasks);
        let chunks = rows.div_ceil(grain.chunk);
        let (tasks, group) = if matches!(target, Target::Read { .. }) {
            (chunks, TILE_COLUMNS / PANEL)
        } else if by_rows && per_thread > 0 && columns.saturating_mul(depth) <= CACHED {
            ((threads * per_thread).max(chunks), panels.max(1))
        } else {
            (chunks, (panels * chunks / (threads * grain.tasks)).max(1))
        };
        let chunk = rows.div_ceil(tasks.max(1)).next_multiple_of(BLOCK).max(BLOCK);
        Self { target, work, chunk, group }
    }

    /// Whether every row belongs to one task alone, which may then prepare its rows of the left factor itself.
    pub(crate) fn splits_rows_only(&self) -> bool {
        self.group * PANEL >= self.target.shape().1
    }

    /// Runs `task` on every part.
    pub(crate) fn run(self, task: impl Fn(&Part<'_>) + Sync + Send) {
        let (rows, columns) = self.target.shape();
        let panels = columns.div_ceil(PANEL);
        let (chunk, group) = (self.chunk, self.group);
        let (chunks, groups) = (rows.div_ceil(chunk), panels.div_ceil(group));
        let ranges = |index: usize| {
            let (row, first) = (index / groups * chunk, index % groups * group);
            (row..rows.min(row + chunk), first..panels.min(first + group))
        };
        match self.target {
            Target::Kept(ViewMut { data, stride, .. }) => {
                let y = &Shared::new(data);
                for_each(chunks * groups, self.work, |index| {
                    let (rows, panels) = ranges(index);
                    task(&Part { rows, panels, y, origin: (0, 0), stride, columns });
                });
            }
            Target::Read { reader, .. } => for_each(chunks * groups, self.work, |index| {
                let (rows, panels) = ranges(index);
                let own = panels.start * PANEL..columns.min(panels.end * PANEL);
                with_scratch(rows.len() * TILE_COLUMNS, |values: &mut [f32]| {
                    let origin = (rows.start, panels.start);
                    let y = &Shared::new(&mut *values);
                    task(&Part { rows: rows.clone(), panels, y, origin, stride: TILE_COLUMNS, columns });
                    reader(&Tile { rows, columns: own, values });
                });
            }),
        }
    }
}

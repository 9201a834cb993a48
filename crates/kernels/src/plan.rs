//! How a product is split into tasks: chunks of rows times groups of panels. Every sum is computed whole by one task,
//! so the split never shows in the result.

use std::ops::Range;

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

/// A product's result and how it is split.
pub(crate) struct Plan<'a> {
    y: ViewMut<'a>,
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
        self.y.address(row * self.stride + panel * PANEL, (rows - 1) * self.stride + self.columns(panel))
    }
}

impl<'a> Plan<'a> {
    /// For the result `y` of a product over `depth`. `rate` is how many multiply-adds take as long as one elementary
    /// operation (see [`threads::SERIAL_WORK`]).
    /// `by_rows`: where there are many rows, a task should have all panels for its own; not where panels are
    /// expensive to come by.
    pub(crate) fn new(y: ViewMut<'a>, depth: usize, (rate, grain): (usize, Grain), by_rows: bool) -> Self {
        y.check();
        // A product of few rows waits for memory: it costs as much as one of some more.
        let work = y.rows.max(8).saturating_mul(y.columns).saturating_mul(depth) / rate;
        let panels = y.columns.div_ceil(PANEL);
        let threads = threads::count();
        let per_thread = (y.rows / (threads * grain.least)).min(grain.tasks);
        let (tasks, group) = if by_rows && per_thread > 0 && y.columns.saturating_mul(depth) <= CACHED {
            ((threads * per_thread).max(y.rows.div_ceil(grain.chunk)), panels.max(1))
        } else {
            let chunks = y.rows.div_ceil(grain.chunk);
            (chunks, (panels * chunks / (threads * grain.tasks)).max(1))
        };
        let chunk = y.rows.div_ceil(tasks.max(1)).next_multiple_of(BLOCK).max(BLOCK);
        Self { y, work, chunk, group }
    }

    /// Whether every row belongs to one task alone, which may then prepare its rows of the left factor itself.
    pub(crate) fn splits_rows_only(&self) -> bool {
        self.group * PANEL >= self.y.columns
    }

    /// Runs `task` on every part.
    pub(crate) fn run(self, task: impl Fn(&Part<'_>) + Sync + Send) {
        let ViewMut { data, rows, columns, stride } = self.y;
        let panels = columns.div_ceil(PANEL);
        let (chunk, group) = (self.chunk, self.group);
        let (chunks, groups) = (rows.div_ceil(chunk), panels.div_ceil(group));
        let shared = Shared::new(data);
        for_each(chunks * groups, self.work, |index| {
            let (row, first) = (index / groups * chunk, index % groups * group);
            task(&Part {
                rows: row..rows.min(row + chunk),
                panels: first..panels.min(first + group),
                y: &shared,
                stride,
                columns,
            });
        });
    }
}

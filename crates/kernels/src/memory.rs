//! Buffers aligned to cache lines, and scratch memory that each thread keeps between calls.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// Types of which every bit pattern is a value, without padding, at most a line long.
///
/// # Safety
/// The implementer is such a type and its alignment divides 64.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: every bit pattern is a value.
unsafe impl Plain for f32 {}
// SAFETY: every bit pattern is a value.
unsafe impl Plain for f64 {}
// SAFETY: every bit pattern is a value.
unsafe impl Plain for u8 {}
// SAFETY: every bit pattern is a value.
unsafe impl Plain for u16 {}
// SAFETY: every bit pattern is a value.
unsafe impl Plain for u32 {}
// SAFETY: every bit pattern is a value.
unsafe impl Plain for usize {}
// SAFETY: an array of plain values has no padding; the two lengths in use fit a line.
unsafe impl<T: Plain> Plain for [T; 2] {}

/// A slice of numbers that starts at a multiple of 64 bytes.
#[derive(Clone)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self { lines: vec![Line([0; 64]); lines::<T>(length)], length, element: PhantomData }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }
}

fn lines<T>(length: usize) -> usize {
    length.checked_mul(size_of::<T>()).expect("a buffer's bytes fit in usize").div_ceil(size_of::<Line>())
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Aligned({} elements)", self.length)
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold `length` elements (see `lines`), all bit patterns are values, and 64 is a multiple
        // of the alignment.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the lines are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

/// A list in scratch memory, of at most the number of elements that it was asked for.
pub(crate) struct List<'a, T> {
    room: &'a mut [T],
    length: usize,
}

impl<T: Plain> List<'_, T> {
    /// Appends; panics where there is no room.
    pub(crate) fn push(&mut self, value: T) {
        self.room[self.length] = value;
        self.length += 1;
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }
}

impl<T> Deref for List<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.room[..self.length]
    }
}

impl<T> DerefMut for List<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[..self.length]
    }
}

/// Calls `work` with an empty list with room for `most` elements, in memory that the thread keeps (see
/// [`with_scratch`]).
pub(crate) fn with_list<T: Plain, R>(most: usize, work: impl FnOnce(&mut List<'_, T>) -> R) -> R {
    with_scratch(most, |room: &mut [T]| work(&mut List { room, length: 0 }))
}

thread_local! {
    /// Buffers of this thread that are not in use.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `length` elements of unspecified values. The memory is kept by the thread for the next call, so
/// that products in a loop do not ask the operating system for pages each time.
pub(crate) fn with_scratch<T: Plain, R>(length: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut lines_held = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let needed = lines::<T>(length);
    if lines_held.len() < needed {
        lines_held = vec![Line([0; 64]); needed];
    }
    let mut buffer = Aligned::<T> { lines: lines_held, length, element: PhantomData };
    let result = work(&mut buffer);
    FREE.with_borrow_mut(|free| free.push(buffer.lines));
    result
}

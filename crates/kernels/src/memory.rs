//! Buffers aligned to cache lines, and scratch memory that each thread keeps between calls.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

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

/// Zeroed bytes whose first is at the start of a cache line. The system hands out pages of zeros when they are first
/// touched, by the thread that touches them, so that nothing is cleared beforehand; large ones are asked for as huge
/// pages where the system has them.
struct Lines {
    bytes: Vec<u8>,
    /// The first byte at a multiple of [`LINE`].
    start: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Buffers of so many bytes are asked for as huge pages: neighbours share one.
const HUGE: usize = 1 << 18;

impl Lines {
    /// At least `length` bytes.
    fn zeros(length: usize) -> Self {
        let room = length.checked_add(LINE).expect("a buffer's bytes fit in usize");
        let bytes = vec![0u8; room];
        prefer_huge_pages(&bytes);
        let start = bytes.as_ptr().align_offset(LINE);
        assert!(start < LINE, "the start of a line is among the first bytes");
        Self { bytes, start }
    }

    const fn none() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// Bytes from the start on.
    fn length(&self) -> usize {
        self.bytes.len().saturating_sub(LINE)
    }
}

/// Asks the system to back the memory of `values` by huge pages, where whole ones fit; a refusal changes nothing but
/// the speed.
#[cfg(target_os = "linux")]
pub(crate) fn prefer_huge_pages<T>(values: &[T]) {
    let bytes = size_of_val(values);
    if bytes < HUGE {
        return;
    }
    let page = rustix::param::page_size();
    let start: *const u8 = values.as_ptr().cast();
    let first = start.align_offset(page);
    let length = bytes.saturating_sub(first) / page * page;
    if length > 0 {
        let address = start.wrapping_add(first).cast_mut().cast();
        // SAFETY: the range is part of a live allocation, and this advice changes no contents.
        let _ = unsafe { rustix::mm::madvise(address, length, rustix::mm::Advice::LinuxHugepage) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn prefer_huge_pages<T>(_values: &[T]) {}

/// A slice of numbers that starts at a multiple of 64 bytes.
pub(crate) struct Aligned<T> {
    lines: Lines,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self { lines: Lines::zeros(bytes::<T>(length)), length, element: PhantomData }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.length()
    }
}

fn bytes<T>(length: usize) -> usize {
    let bytes = length.checked_mul(size_of::<T>()).expect("a buffer's bytes fit in usize");
    bytes.checked_next_multiple_of(LINE).expect("a buffer's bytes fit in usize")
}

impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Aligned({} elements)", self.length)
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let room = &self.lines.bytes[self.lines.start..];
        // SAFETY: `length` elements fit the room from the start on (see `zeros` and `with_scratch`), all bit patterns
        // are values, and the start is at a multiple of their alignment, which divides 64.
        unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let room = &mut self.lines.bytes[self.lines.start..];
        // SAFETY: as in `deref`, and the room is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), self.length) }
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
    static FREE: RefCell<Vec<Lines>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `length` elements of unspecified values. The memory is kept by the thread for the next call, so
/// that products in a loop do not ask the operating system for pages each time.
pub(crate) fn with_scratch<T: Plain, R>(length: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut held = FREE.with_borrow_mut(Vec::pop).unwrap_or(Lines::none());
    let needed = bytes::<T>(length);
    // Without room there is no aligned start either.
    if held.bytes.is_empty() || held.length() < needed {
        held = Lines::zeros(needed);
    }
    let mut buffer = Aligned::<T> { lines: held, length, element: PhantomData };
    let result = work(&mut buffer);
    FREE.with_borrow_mut(|free| free.push(buffer.lines));
    result
}

//! Memory for activations and gradients: grown once, written again in every pass.

use std::ops::{Deref, DerefMut};

use crate::memory::prefer_huge_pages;

/// Numbers in memory that only grows, and that is asked for as huge pages where it is large: a pass reads and writes
/// some hundred megabytes of activations once each, so that looking pages up is a part of its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buffer {
    values: Vec<f32>,
}

impl Buffer {
    /// Empty, without memory.
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let values = vec![0.0; length];
        prefer_huge_pages(&values);
        Self { values }
    }

    /// Makes it `length` numbers long: those that are there stay, new ones are zero.
    pub fn resize(&mut self, length: usize) {
        if length > self.values.capacity() {
            // Room first, so that the pages are huge when they are first touched.
            self.values.reserve_exact(length - self.values.len());
            prefer_huge_pages(self.values.spare_capacity_mut());
        }
        self.values.resize(length, 0.0);
    }

    /// Forgets the numbers, not the memory.
    pub fn clear(&mut self) {
        self.values.clear();
    }

    /// Appends `values`.
    pub fn extend_from_slice(&mut self, values: &[f32]) {
        let length = self.values.len();
        self.resize(length + values.len());
        self.values[length..].copy_from_slice(values);
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl<'a> IntoIterator for &'a Buffer {
    type Item = &'a f32;
    type IntoIter = std::slice::Iter<'a, f32>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Buffer {
    type Item = &'a mut f32;
    type IntoIter = std::slice::IterMut<'a, f32>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_zeros_and_keeps_what_is_there() {
        let mut buffer = Buffer::new();
        buffer.resize(3);
        buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
        buffer.resize(400_000);
        assert_eq!(&buffer[..4], &[1.0, 2.0, 3.0, 0.0]);
        assert!(buffer[3..].iter().all(|&value| value == 0.0));
        buffer.clear();
        buffer.extend_from_slice(&[4.0, 5.0]);
        assert_eq!(&*buffer, &[4.0, 5.0]);
        buffer.resize(3);
        assert_eq!(&*buffer, &[4.0, 5.0, 0.0]);
    }
}

//! Random numbers for initial weights, from a seeded generator.

use rand::Rng;

/// Uniform in `[-bound, bound)`.
pub(crate) fn uniform(random: &mut impl Rng, bound: f32) -> f32 {
    // 24 bits: every value of the grid is an exact f32.
    let unit = (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
    (2.0 * unit - 1.0) * bound
}

/// Two independent values of the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal_pair(random: &mut impl Rng) -> (f32, f32) {
    // The first is never 0, so that its logarithm is finite.
    let radius = (f64::from(random.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0);
    let angle = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0) * std::f64::consts::TAU;
    let radius = (-2.0 * radius.ln()).sqrt();
    ((radius * angle.cos()) as f32, (radius * angle.sin()) as f32)
}

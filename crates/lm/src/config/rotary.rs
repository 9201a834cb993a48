//! The frequencies of the rotary embedding, as transformers computes them (`modeling_rope_utils`).

use std::f64::consts::PI;

/// Rotary embedding and its scaling variants.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How frequencies are stretched beyond the trained context.
    pub scaling: RotaryScaling,
}

/// `rope_type` of transformers, with the parameters each needs.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// None.
    Default,
    /// Positions divided by `factor`.
    Linear {
        /// Divisor of every position.
        factor: f64,
    },
    /// Dynamic NTK: as `Default` up to the original context.
    Dynamic {
        /// How far the base grows beyond the original context.
        factor: f64,
        /// Positions that the model was trained on.
        original_context: usize,
    },
    /// Llama 3: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_frequency_factor` are divided.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context / high_frequency_factor` are kept.
        high_frequency_factor: f64,
        /// Positions that the model was trained on.
        original_context: usize,
    },
    /// YaRN (Peng et al. 2023, arXiv:2309.00071).
    Yarn {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Rotations over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations over the original context below which a frequency is divided by `factor`.
        beta_slow: f64,
        /// Factor of cosine and sine; `None` is `0.1 ln(factor) + 1`.
        attention_factor: Option<f64>,
        /// Positions that the model was trained on.
        original_context: usize,
        /// The range of interpolated frequencies is widened to whole indices.
        truncate: bool,
    },
    /// LongRoPE (Ding et al. 2024, arXiv:2402.13753): one divisor per frequency, short or long by context length.
    LongRope {
        /// Divisors up to the original context.
        short: Vec<f64>,
        /// Divisors beyond the original context.
        long: Vec<f64>,
        /// Factor of cosine and sine; `None` is 1.
        attention_factor: Option<f64>,
        /// Positions that the model was trained on.
        original_context: usize,
    },
}

impl RotaryConfig {
    /// The `head_dim / 2` inverse frequencies (radians per position) and the factor of cosine and sine, for sequences
    /// of up to `context` positions. Only `Dynamic` and `LongRope` depend on `context`.
    ///
    /// transformers computes them in f32; so does this function, in the same order of operations, so that angles
    /// agree at far positions. The values are widened to f64 without change.
    pub fn inverse_frequencies(&self, head_dim: usize, context: usize) -> (Vec<f64>, f64) {
        let plain =
            |theta: f64| powers(theta, head_dim).into_iter().map(|power| 1.0 / power).collect::<Vec<f32>>();
        let (frequencies, attention) = match &self.scaling {
            RotaryScaling::Default => (plain(self.theta), 1.0),
            RotaryScaling::Linear { factor } => {
                (plain(self.theta).into_iter().map(|frequency| frequency / *factor as f32).collect(), 1.0)
            }
            RotaryScaling::Dynamic { factor, original_context } => {
                let stretch = factor * context.max(*original_context) as f64 / *original_context as f64
                    - (factor - 1.0);
                let exponent = head_dim as f64 / (head_dim as f64 - 2.0);
                (plain(self.theta * stretch.powf(exponent)), 1.0)
            }
            RotaryScaling::Llama3 { .. } => (self.llama3(&plain(self.theta)), 1.0),
            RotaryScaling::Yarn { factor, attention_factor, .. } => {
                (self.yarn(head_dim), attention_factor.unwrap_or_else(|| yarn_attention(*factor, 1.0)))
            }
            RotaryScaling::LongRope { short, long, attention_factor, original_context } => {
                let factors = if context > *original_context { long } else { short };
                let pairs = powers(self.theta, head_dim).into_iter().zip(factors);
                let frequencies = pairs.map(|(power, &factor)| 1.0 / (factor as f32 * power)).collect();
                (frequencies, attention_factor.unwrap_or(1.0))
            }
        };
        (frequencies.into_iter().map(f64::from).collect(), attention)
    }

    /// Llama 3's piecewise scaling of the plain `frequencies`.
    fn llama3(&self, frequencies: &[f32]) -> Vec<f32> {
        let RotaryScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } =
            &self.scaling
        else {
            return frequencies.to_vec();
        };
        let (low, high, context) = (*low_frequency_factor, *high_frequency_factor, *original_context as f64);
        let factor = *factor as f32;
        let (longest_kept, shortest_divided) = ((context / high) as f32, (context / low) as f32);
        let scaled = |&frequency: &f32| {
            let wavelength = (2.0 * PI) as f32 / frequency;
            if wavelength > shortest_divided {
                return frequency / factor;
            }
            if wavelength < longest_kept {
                return frequency;
            }
            let smooth = (context as f32 / wavelength - low as f32) / (high - low) as f32;
            (1.0 - smooth) * frequency / factor + smooth * frequency
        };
        frequencies.iter().map(scaled).collect()
    }

    /// YaRN's blend of kept and divided frequencies.
    fn yarn(&self, head_dim: usize) -> Vec<f32> {
        let powers = powers(self.theta, head_dim);
        let RotaryScaling::Yarn { factor, beta_fast, beta_slow, original_context, truncate, .. } =
            &self.scaling
        else {
            return powers;
        };
        // The index of the frequency that turns `rotations` times over the original context.
        let index = |rotations: f64| {
            head_dim as f64 * (*original_context as f64 / (rotations * 2.0 * PI)).ln()
                / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (index(*beta_fast), index(*beta_slow));
        if *truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        let blended = |(index, power): (usize, f32)| {
            let ramp = ((index as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let kept = 1.0 - ramp;
            let (extrapolated, interpolated) = (1.0 / power, 1.0 / (*factor as f32 * power));
            interpolated * (1.0 - kept) + extrapolated * kept
        };
        powers.into_iter().enumerate().map(blended).collect()
    }
}

/// YaRN's factor of cosine and sine for a context stretched `factor` times (equation 22), weighted by `scale`.
pub(super) fn yarn_attention(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
}

/// `theta^(2 i / head_dim)` for each pair `i`.
fn powers(theta: f64, head_dim: usize) -> Vec<f32> {
    let exponents = (0..head_dim / 2).map(|pair| (2 * pair) as f32 / head_dim as f32);
    exponents.map(|exponent| theta.powf(f64::from(exponent)) as f32).collect()
}

//! The price of each kind of token, in money and relative to an uncached prompt token.

use task::record::{self, TokensPerRequest};

use super::Cache;

/// The price of each kind of token in a unit.
#[derive(Clone, Copy)]
pub(super) struct Prices {
    pub(super) prompt: f64,
    pub(super) cached: f64,
    /// Of a token that is written to the cache.
    pub(super) write: f64,
    /// Fewest tokens of a prompt that is cached.
    pub(super) minimum: f64,
    pub(super) completion: f64,
    /// m.
    pub(super) tuned: f64,
    /// H / V.
    pub(super) hosting: f64,
}

impl Prices {
    pub(super) fn request(&self, tokens: &TokensPerRequest, cache: Cache) -> f64 {
        let cacheable = if tokens.prompt < self.minimum { 0.0 } else { tokens.cached.min(tokens.prompt) };
        let each = if cache == Cache::Warm { self.cached } else { self.write };
        // An unknown price of cached tokens is not a number; it matters only where some are cached.
        let from_cache = if cacheable > 0.0 { cacheable * each } else { 0.0 };
        (tokens.prompt - cacheable) * self.prompt + from_cache + tokens.completion * self.completion
    }
}

/// Money a token; `None` without the prices of prompt and completion. An unknown price of cached tokens is not a number.
pub(super) fn money_prices(given: &record::Economics) -> Option<Prices> {
    Some(Prices {
        prompt: given.input_price? / 1e6,
        cached: given.cached_input_price.map_or(f64::NAN, |price| price / 1e6),
        write: given.cache_write_price.or(given.input_price)? / 1e6,
        minimum: given.cache_minimum_tokens.unwrap_or(0.0),
        completion: given.output_price? / 1e6,
        tuned: given.tuned_multiplier.unwrap_or(1.0),
        hosting: 0.0,
    })
}

/// Prices relative to that of an uncached prompt token.
pub(super) fn relative_prices(given: &record::Economics) -> Prices {
    let relative = |price: Option<f64>| Some(price? / given.input_price.filter(|price| *price > 0.0)?);
    Prices {
        prompt: 1.0,
        cached: relative(given.cached_input_price).unwrap_or(0.0),
        write: relative(given.cache_write_price).unwrap_or(1.0),
        minimum: given.cache_minimum_tokens.unwrap_or(0.0),
        completion: relative(given.output_price).unwrap_or(1.0),
        tuned: given.tuned_multiplier.unwrap_or(1.0),
        hosting: 0.0,
    }
}

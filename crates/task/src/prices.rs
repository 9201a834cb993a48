//! A file of prices that people keep: what each model costs, where that stands, and when it was read.
//!
//! ```toml
//! currency = "USD"
//!
//! [[model]]
//! name = "gpt-4o-mini"
//! source = "https://example.com/pricing"
//! read_on = "2026-11-20"
//! input = 0.15               # a million prompt tokens
//! cached_input = 0.075
//! output = 0.60
//! training = "unknown"       # as good as leaving it out: never 0
//! tuned_multiplier = 2
//! shutdown = "2027-01-14"
//! ```

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::date;
use crate::record::{Economics, PriceSource};
use crate::task_file::nearest;

/// A file of prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// What all prices of the file are in.
    pub currency: Option<String>,
    /// The models.
    #[serde(rename = "model", default)]
    pub models: Vec<ModelPrices>,
}

/// What one model costs. A price is a number or `"unknown"`, which is the same as leaving it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelPrices {
    /// Its name.
    pub name: String,
    /// Where the prices stand.
    pub source: Option<String>,
    /// When they were read there: `2026-11-20`.
    pub read_on: Option<String>,
    /// A million prompt tokens that are not cached.
    #[serde(deserialize_with = "price")]
    pub input: Option<f64>,
    /// A million cached prompt tokens.
    #[serde(deserialize_with = "price")]
    pub cached_input: Option<f64>,
    /// A million prompt tokens that are written to the cache.
    #[serde(deserialize_with = "price")]
    pub cache_write: Option<f64>,
    /// Prompts below so many tokens are not cached.
    #[serde(deserialize_with = "price")]
    pub cache_minimum_tokens: Option<f64>,
    /// A million completion tokens.
    #[serde(deserialize_with = "price")]
    pub output: Option<f64>,
    /// Price of a request in a batch over that of one by itself.
    #[serde(deserialize_with = "price")]
    pub batch_multiplier: Option<f64>,
    /// A million training tokens.
    #[serde(deserialize_with = "price")]
    pub training: Option<f64>,
    /// Price of a tuned model's token over the base model's.
    #[serde(deserialize_with = "price")]
    pub tuned_multiplier: Option<f64>,
    /// A month of keeping a tuned model deployed.
    #[serde(deserialize_with = "price")]
    pub hosting_per_month: Option<f64>,
    /// Day on which the model, and what was tuned on it, is shut down.
    pub shutdown: Option<String>,
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Price {
        Known(f64),
        Word(String),
    }
    match Price::deserialize(deserializer)? {
        Price::Known(price) if price.is_finite() && price >= 0.0 => Ok(Some(price)),
        Price::Known(price) => {
            Err(serde::de::Error::custom(format!("{price} is no price: it must be at least 0")))
        }
        Price::Word(word) if word == "unknown" => Ok(None),
        Price::Word(word) => {
            Err(serde::de::Error::custom(format!("\"{word}\" is no price: write a number or \"unknown\"")))
        }
    }
}

impl PriceList {
    /// Reads a file of prices.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::TaskFile`] where it is no list of prices: TOML, keys, dates.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::TaskFile { path: path.to_path_buf(), reason };
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        let list: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        if list.models.is_empty() {
            return Err(wrong("it lists no [[model]]".to_owned()));
        }
        for model in &list.models {
            for (key, day) in [("read_on", &model.read_on), ("shutdown", &model.shutdown)] {
                if let Some(day) = day.as_ref().filter(|day| date::days(day).is_none()) {
                    return Err(wrong(format!(
                        "model \"{}\": {key} must be a day such as \"2026-11-24\", not \"{day}\"",
                        model.name
                    )));
                }
            }
        }
        Ok(list)
    }

    /// The prices of the model `name`; without a name those of the only model.
    ///
    /// # Errors
    /// What is wrong, in a sentence: no such model (with the nearest name), or a name is needed.
    pub fn model(&self, name: Option<&str>) -> Result<&ModelPrices, String> {
        let names = || self.models.iter().map(|model| model.name.as_str());
        match (name, self.models.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(format!(
                "it prices several models: name one of {}",
                names().collect::<Vec<_>>().join(", ")
            )),
            (Some(name), _) => {
                self.models.iter().find(|model| model.name == name).ok_or_else(|| {
                    match nearest(name, names()) {
                        Some(near) => format!("there is no model \"{name}\"; did you mean \"{near}\"?"),
                        None => format!(
                            "there is no model \"{name}\"; there are {}",
                            names().collect::<Vec<_>>().join(", ")
                        ),
                    }
                })
            }
        }
    }
}

impl ModelPrices {
    /// Fills what `economics` leaves open; what it says itself stays.
    pub fn fill(&self, economics: &mut Economics) {
        let pairs = [
            (&mut economics.input_price, self.input),
            (&mut economics.cached_input_price, self.cached_input),
            (&mut economics.cache_write_price, self.cache_write),
            (&mut economics.cache_minimum_tokens, self.cache_minimum_tokens),
            (&mut economics.output_price, self.output),
            (&mut economics.batch_multiplier, self.batch_multiplier),
            (&mut economics.training_price, self.training),
            (&mut economics.tuned_multiplier, self.tuned_multiplier),
            (&mut economics.hosting_per_month, self.hosting_per_month),
        ];
        for (own, price) in pairs {
            *own = own.or(price);
        }
        if economics.base_shutdown.is_none() {
            economics.base_shutdown.clone_from(&self.shutdown);
        }
    }
}

/// Fills `economics` from the price file that it names, relative to `folder`; says where the prices are from.
///
/// # Errors
/// As [`PriceList::load`], and where the file does not price the model.
pub fn resolve(economics: &mut Economics, folder: &Path) -> Result<Option<PriceSource>, Error> {
    let Some(file) = economics.prices.clone() else { return Ok(None) };
    let path = crate::settings::resolve_path(Path::new(&file), folder);
    let list = PriceList::load(&path)?;
    let model = list
        .model(economics.priced_as.as_deref())
        .map_err(|reason| Error::TaskFile { path: path.clone(), reason })?;
    model.fill(economics);
    Ok(Some(PriceSource {
        file,
        model: model.name.clone(),
        currency: list.currency.clone(),
        source: model.source.clone(),
        read_on: model.read_on.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<PriceList, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.toml");
        crate::atomic::write(&path, text.as_bytes()).unwrap();
        PriceList::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_fills_what_the_task_leaves_open_and_unknown_is_not_zero() {
        let list = load(
            "currency = \"USD\"\n[[model]]\nname = \"a\"\ninput = 0.15\ntraining = \"unknown\"\nhosting_per_month = 0\n\
             shutdown = \"2027-01-14\"\n[[model]]\nname = \"bigger\"\ninput = 2\n",
        )
        .unwrap();
        let mut economics = Economics { input_price: Some(9.0), ..Economics::default() };
        list.model(Some("a")).unwrap().fill(&mut economics);
        assert_eq!((economics.input_price, economics.training_price), (Some(9.0), None));
        assert_eq!(economics.hosting_per_month, Some(0.0));
        assert_eq!(economics.base_shutdown.as_deref(), Some("2027-01-14"));
        assert!(list.model(None).unwrap_err().contains("name one of a, bigger"));
        assert!(list.model(Some("biger")).unwrap_err().contains("did you mean \"bigger\""));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        let model = |rest: &str| load(&format!("[[model]]\nname = \"a\"\n{rest}\n")).unwrap_err();
        assert!(model("input = -1").contains("must be at least 0"), "{}", model("input = -1"));
        assert!(model("input = \"free\"").contains("write a number or \"unknown\""));
        assert!(model("inputs = 1").contains("unknown field"));
        assert!(model("read_on = \"yesterday\"").contains("must be a day"));
        assert!(load("currency = \"USD\"").unwrap_err().contains("lists no [[model]]"));
    }
}

//! The rows of all files on their way into the dataset, each one cleaned.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Table, labels, read, targets};
use crate::curation;
use crate::example::{Example, Origin};
use crate::record::Part;
use crate::settings::hexadecimal;
use crate::split;

/// A row on its way into the dataset.
pub(super) struct Candidate {
    pub(super) example: Example,
    /// The part whose file it came from; train is what other parts are carved from.
    pub(super) source: Part,
    /// Its input, normalised, and the hash of that.
    pub(super) normal: String,
    pub(super) hash: [u8; 32],
}

impl Candidate {
    pub(super) fn content(&self) -> (&str, &str) {
        (&self.example.input, &self.example.target)
    }

    /// What rows are sorted by: random, but the same everywhere.
    pub(super) fn order(&self) -> (&[u8], &str) {
        (split::order_key(&self.hash), &self.example.id)
    }
}

/// The rows of all files, cleaned.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) rows: Vec<Candidate>,
    pub(super) systems: BTreeMap<String, usize>,
    pub(super) spellings: labels::Spellings,
    ids: HashSet<String>,
}

impl Gathered {
    pub(super) fn add_table(
        &mut self,
        part: Part,
        table: Table,
        cleaner: &targets::Cleaner,
        bad: &mut read::BadRows,
    ) {
        for raw in table.rows {
            let line = raw.line;
            if let Err(reason) = self.add_row(part, &table.path, raw, cleaner) {
                bad.add(&table.path, line, reason);
            }
        }
    }

    fn add_row(
        &mut self,
        part: Part,
        file: &Path,
        raw: read::RawRow,
        cleaner: &targets::Cleaner,
    ) -> Result<(), String> {
        let target = cleaner.clean(&raw.target)?;
        if cleaner.has_labels() {
            self.spellings.add(&target, &raw.target);
        }
        if let Some(id) = &raw.id
            && !self.ids.insert(id.clone())
        {
            return Err(format!("the id `{id}` was already used"));
        }
        if let Some(system) = raw.system {
            *self.systems.entry(system).or_default() += 1;
        }
        let input = raw.input.trim().to_owned();
        let id = raw.id.unwrap_or_else(|| example_id(&input, &target));
        let origin = Origin { file: file.to_path_buf(), line: raw.line };
        let normal = curation::normalise(&input);
        let hash = split::content_hash(&normal);
        let (subgroup, paraphrase) = (raw.subgroup, raw.paraphrase);
        let example = Example { id, input, target, subgroup, paraphrase, origin, cluster: raw.cluster };
        self.rows.push(Candidate { example, source: part, normal, hash });
        Ok(())
    }
}

/// 16 hexadecimal digits of the SHA-256 of input and target, which a NUL separates.
fn example_id(input: &str, target: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(input);
    digest.update([0]);
    digest.update(target);
    hexadecimal(&digest.finalize()[..8])
}

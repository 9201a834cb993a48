//! AdamW over a list of parameters, with clipping and a state that can be stored.

use crate::Error;
use crate::transformer::{Gradients, Parameter, ParameterGroup, ParameterSpec, Parameters};
use kernels::buffer::Buffer;
use kernels::optimizer::{AdamW, adamw, adamw_matrix};

/// How parameters follow their gradients. The learning rate comes with every step.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Decay of the first moment. Default 0.9.
    pub beta1: f32,
    /// Decay of the second moment. Default 0.999.
    pub beta2: f32,
    /// Added to the root of the second moment. Default 1e-8.
    pub epsilon: f32,
    /// The gradients are scaled down to this norm where theirs, all together, is larger. Default 1; `None` never.
    pub clip_norm: Option<f32>,
    /// Decoupled weight decay of matrices and adapters (norms, biases and embeddings have none unless `groups` says
    /// so). Default 0.
    pub weight_decay: f32,
    /// Groups that differ.
    pub groups: Vec<(ParameterGroup, GroupRule)>,
}

/// What differs in one group of parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupRule {
    /// The learning rate is multiplied by this.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            clip_norm: Some(1.0),
            weight_decay: 0.0,
            groups: Vec::new(),
        }
    }
}

impl OptimizerConfig {
    fn rule(&self, group: ParameterGroup) -> GroupRule {
        let own = self.groups.iter().find(|(other, _)| *other == group).map(|(_, rule)| *rule);
        own.unwrap_or(GroupRule {
            learning_rate: 1.0,
            weight_decay: match group {
                ParameterGroup::Vector | ParameterGroup::Embedding => 0.0,
                _ => self.weight_decay,
            },
        })
    }
}

/// AdamW with its two moments for every parameter.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    specs: Vec<ParameterSpec>,
    step: u32,
    first: Vec<Buffer>,
    second: Vec<Buffer>,
}

/// First bytes of a stored state; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"weighop1";

impl Optimizer {
    /// Zero moments for `parameters`.
    pub fn new(config: OptimizerConfig, parameters: &(impl Parameters + ?Sized)) -> Self {
        let specs = parameters.specs().to_vec();
        let zeros: Vec<Buffer> = specs.iter().map(|spec| Buffer::zeros(spec.len())).collect();
        Self { config, specs, step: 0, first: zeros.clone(), second: zeros }
    }

    /// Steps made.
    pub fn steps(&self) -> u32 {
        self.step
    }

    /// One step with the gradients as they are (they are not cleared). Returns their norm before clipping.
    ///
    /// # Errors
    /// [`Error::Diverged`] where the norm is not finite (nothing is changed then); [`Error::Invalid`] for parameters
    /// or gradients of something else.
    pub fn step(
        &mut self,
        parameters: &mut (impl Parameters + ?Sized),
        gradients: &Gradients,
        learning_rate: f32,
    ) -> Result<f64, Error> {
        if !gradients.match_specs(&self.specs) || parameters.specs() != self.specs {
            return Err(Error::Invalid("the optimiser was made for other parameters".into()));
        }
        let norm = gradients.norm();
        if !norm.is_finite() {
            return Err(Error::Diverged { step: self.step + 1, loss: norm });
        }
        self.step += 1;
        let scale = match self.config.clip_norm {
            // As PyTorch's clip_grad_norm_.
            Some(limit) => (f64::from(limit) / (norm + 1e-6)).min(1.0) as f32,
            None => 1.0,
        };
        let Self { config, specs, step, first, second } = self;
        parameters.for_each_parameter(&mut |number, mut parameter| {
            let group = config.rule(specs[number].group);
            let rule = AdamW {
                learning_rate: learning_rate * group.learning_rate,
                beta1: config.beta1,
                beta2: config.beta2,
                epsilon: config.epsilon,
                weight_decay: group.weight_decay,
                step: *step,
            };
            let (gradient, first, second) =
                (&gradients.values()[number], &mut first[number], &mut second[number]);
            match &mut parameter {
                Parameter::Matrix(matrix) => adamw_matrix(&rule, scale, matrix, gradient, first, second),
                Parameter::Slice(values) => adamw(&rule, scale, values, gradient, first, second),
            }
        });
        Ok(norm)
    }

    /// The number of steps and the moments, as bytes. With the parameters in 32 bits they are all that a training
    /// run needs to go on bit by bit.
    pub fn write_state(&self) -> Vec<u8> {
        let values: usize = self.specs.iter().map(ParameterSpec::len).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 12 + 8 * values);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.step.to_le_bytes());
        bytes.extend_from_slice(&(values as u64).to_le_bytes());
        for value in self.first.iter().chain(&self.second).flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Takes a state that [`Optimizer::write_state`] made for the same parameters.
    ///
    /// # Errors
    /// [`Error::Format`] where it is not such a state.
    pub fn read_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let refuse = |reason: String| Error::Format { place: "optimiser state".into(), reason };
        let values: usize = self.specs.iter().map(ParameterSpec::len).sum();
        let expected = MAGIC.len() + 12 + 8 * values;
        if bytes.len() != expected || &bytes[..8] != MAGIC {
            return Err(refuse(format!(
                "not the state of these {values} parameters: {} bytes where {expected} are expected",
                bytes.len()
            )));
        }
        let count = bytes[12..20].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        if count != values as u64 {
            return Err(refuse(format!("{count} values where {values} are expected")));
        }
        self.step = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let mut stored = bytes[20..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for value in self.first.iter_mut().chain(&mut self.second).flatten() {
            *value = stored.next().expect("the length was checked");
        }
        Ok(())
    }
}

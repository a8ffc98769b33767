//! Going on with a run: what it was is held against what the spec is now, and its state and variables are put back.
//!
//! What cannot go on is refused with a way out: another model, another optimizer, other rows. What can go on differently is said.

use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, Run};
use super::fingerprint::Fingerprint;
use super::trainer::Trainer;
use super::{Event, Observer, Options};
use crate::error::{Error, Result};
use crate::program::VariableKind;
use crate::weights::{Misfits, saved};

impl Trainer {
    /// Puts back what the newest checkpoint of a run holds; tells what has changed since.
    pub fn resume(&mut self, folder: &Path, options: &Options, observer: &mut dyn Observer) -> Result<()> {
        let Some((checkpoint, damaged)) = Checkpoint::newest(folder)? else {
            return Err(Error::NoRun { folder: folder.to_path_buf() });
        };
        for error in damaged {
            let text = format!("{error}; going on from the checkpoint before it");
            observer.event(&Event::Note { text: &text });
        }
        let now = Run { data: Fingerprint::new(&self.parts).text().to_owned(), ..self.run(options) };
        self.compare(&checkpoint, &now, observer)?;
        self.put_back(checkpoint)
    }

    /// Refuses a run that is another one.
    fn compare(&self, checkpoint: &Checkpoint, now: &Run, observer: &mut dyn Observer) -> Result<()> {
        let then = &checkpoint.run;
        let refuse = |message: String| Err(Error::Resume { file: checkpoint.path.clone(), message });
        if then.training != now.training {
            return refuse(format!(
                "this run is of the train block `{}`, not `{}`; choose it with --train {}",
                then.training, now.training, then.training
            ));
        }
        if then.seed != now.seed {
            return refuse(format!(
                "this run has the seed {}, not {}: rows would be held out and drawn in another way; leave the seed as it was",
                then.seed, now.seed
            ));
        }
        if then.rows != now.rows || then.data != now.data {
            let what = match then.rows == now.rows {
                true => "other rows than".to_owned(),
                false => format!(
                    "{} rows to train on, {} to validate and {} to test, where there were {}, {} and {}:",
                    now.rows[0], now.rows[1], now.rows[2], then.rows[0], then.rows[1], then.rows[2]
                ),
            };
            return refuse(format!(
                "the data have changed since: {what}; a new run on them can start from this one's weights \
                 (--weights FILE, and another --out)"
            ));
        }
        if then.batch != now.batch && checkpoint.state.batch > 0 {
            return refuse(format!(
                "this run is in the middle of an epoch in batches of {}; go on with that, and change the batch after the epoch",
                then.batch
            ));
        }
        if then.epochs != now.epochs {
            let text = format!(
                "{} epochs in all, where there were {}; rates that follow the whole length follow the new one",
                now.epochs, then.epochs
            );
            observer.event(&Event::Note { text: &text });
        }
        Ok(())
    }

    /// Takes over the state and all variables.
    fn put_back(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let program = Arc::clone(&self.program);
        let mut misfits = Misfits::default();
        for (index, variable) in program.variables.iter().enumerate() {
            match checkpoint.tensors.get(&variable.path) {
                Some(tensor) if (tensor.dtype, &tensor.shape) == (variable.dtype, &variable.shape) => {
                    self.session.variable_bytes_mut(index).copy_from_slice(&tensor.data);
                }
                // Sums of an epoch: those of a metric that is new begin here.
                _ if variable.kind == VariableKind::Accumulator => {}
                Some(tensor) => {
                    misfits.different(variable, format_args!("{}{:?}", tensor.dtype.name(), tensor.shape), "")
                }
                None => misfits.missing(&variable.path, checkpoint.tensors.keys().map(String::as_str)),
            }
        }
        if let Err(error) = misfits.check(&checkpoint.path, &program.name) {
            let message = match error {
                Error::Weights { message, .. } => message,
                other => return Err(other),
            };
            return Err(Error::Resume {
                file: checkpoint.path,
                message: format!(
                    "{message}. Put the model and its optimizer back as they were; a new run can start from weights \
                     that still fit (--weights FILE, and another --out)"
                ),
            });
        }
        for (name, rows) in checkpoint.beside("collected") {
            self.collections.put(name, rows);
        }
        if checkpoint.state.kept.is_some() {
            let best: Vec<(&str, _)> = checkpoint.beside("best").collect();
            let mut copy = Vec::new();
            for index in saved(&program) {
                let variable = &program.variables[index];
                let found = best.iter().find(|(name, _)| *name == variable.path).map(|(_, tensor)| *tensor);
                match found {
                    Some(tensor) if tensor.shape == variable.shape && tensor.dtype == variable.dtype => {
                        copy.extend_from_slice(&tensor.data);
                    }
                    _ => {
                        return Err(Error::damaged(
                            &checkpoint.path,
                            format!("the best `{}` is not there", variable.path),
                        ));
                    }
                }
            }
            self.best = Some(Arc::new(copy));
        }
        self.state = checkpoint.state;
        Ok(())
    }
}

//! What each number of an input has to do with a score: runs of the two entries that the compiler makes for it.

use crate::failure::Failure;
use crate::inputs::bytes_of;
use weft_compiler::inspect::{CAM, CLASS, FORWARD, GRADIENT, Inspection, Leaf, SCORE, Scores};
use weft_runtime::execute::Session;
use weft_runtime::tensor::{Tensor, TensorView};

/// So many points between baseline and input are run as one batch.
const AT_ONCE: usize = 16;

/// A tensor by name.
pub type Named = (String, Tensor);

/// What was asked for besides the input.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub class: Option<u32>,
    pub baseline: f64,
    pub steps: usize,
}

/// The answers for one row of the input.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// The class that is explained, where the scores are of classes; with the next best and its score.
    pub class: Option<usize>,
    pub next: Option<(usize, f64)>,
    pub score: f64,
    pub baseline_score: f64,
    pub leaves: Vec<LeafMaps>,
    /// Grad-CAM: height, width, values.
    pub cam: Option<(usize, usize, Vec<f64>)>,
    /// Every output of the forward run of this row.
    pub seen: Vec<Named>,
}

/// One number for each of a leaf's.
#[derive(Clone, Debug)]
pub struct LeafMaps {
    pub leaf: Leaf,
    /// Without the axis of rows.
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    pub gradient: Vec<f64>,
    pub integrated: Vec<f64>,
}

impl Attribution {
    /// What integrated gradients add up to; it should be the score less that of the baseline.
    pub fn explained(&self) -> f64 {
        self.leaves.iter().flat_map(|l| &l.integrated).sum()
    }

    pub fn difference(&self) -> f64 {
        self.score - self.baseline_score
    }
}

/// A session with the entries, and what is known of them.
pub struct Looker<'a> {
    pub session: Session,
    pub inspection: &'a Inspection,
}

impl Looker<'_> {
    /// Answers for one row (the whole input, where there are no rows). `inputs` has this row alone.
    pub fn look(&mut self, inputs: &[Named], question: Question) -> Result<Attribution, Failure> {
        let seen = self.run(FORWARD, inputs, &[])?;
        let scores = values(&seen, SCORE);
        let class = self.class(&scores, question.class)?;
        let best = |skip: Option<usize>| {
            let rest = scores.iter().copied().enumerate().filter(|(i, _)| Some(*i) != skip);
            rest.max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let next = class.and_then(|c| best(Some(c)));
        let start: Vec<Tensor> =
            self.inspection.leaves.iter().filter_map(|leaf| tensor(&seen, &leaf.value())).collect();
        let here = self.gradient(inputs, &start, &[1.0], class, question.baseline)?;
        let there = self.gradient(inputs, &start, &[0.0], class, question.baseline)?;
        let integrated = self.integrated(inputs, &start, class, question)?;
        let skip = usize::from(self.inspection.rows);
        let leaves =
            self.inspection.leaves.iter().zip(&start).zip(integrated).map(|((leaf, x), integrated)| {
                LeafMaps {
                    leaf: leaf.clone(),
                    shape: x.shape.get(skip..).unwrap_or_default().to_vec(),
                    values: x.view().to_f64(),
                    gradient: values(&here, &leaf.gradient()),
                    integrated,
                }
            });
        let cam = tensor(&here, CAM).and_then(|map| match map.shape[..] {
            [_, h, w] => Some((h, w, map.view().to_f64())),
            _ => None,
        });
        Ok(Attribution {
            class,
            next,
            score: values(&here, SCORE).iter().sum(),
            baseline_score: values(&there, SCORE).iter().sum(),
            leaves: leaves.collect(),
            cam,
            seen,
        })
    }

    /// The class to explain: the one that was asked for, or the best.
    fn class(&self, scores: &[f64], asked: Option<u32>) -> Result<Option<usize>, Failure> {
        let classes = matches!(self.inspection.scores, Scores::Classes(_));
        match asked {
            Some(_) if !classes => {
                let explained = &self.inspection.explained;
                Err(Failure::usage(format!(
                    "`{explained}` does not come from scores of classes, so --class means nothing"
                )))
            }
            Some(class) if class as usize >= scores.len() => Err(Failure::usage(format!(
                "there is no class {class}: the model tells {} apart, from 0 to {}",
                scores.len(),
                scores.len().saturating_sub(1)
            ))),
            Some(class) => Ok(Some(class as usize)),
            None if classes => {
                Ok(scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class))
            }
            None => Ok(None),
        }
    }

    /// The path integral of the gradient from the baseline to the input, for each leaf: the mean at the middles of equal steps, times the way.
    fn integrated(
        &mut self,
        inputs: &[Named],
        start: &[Tensor],
        class: Option<usize>,
        question: Question,
    ) -> Result<Vec<Vec<f64>>, Failure> {
        let mut sums: Vec<Vec<f64>> = start.iter().map(|x| vec![0.0; x.view().to_f64().len()]).collect();
        let points: Vec<f64> =
            (0..question.steps).map(|i| (i as f64 + 0.5) / question.steps as f64).collect();
        for points in points.chunks(if self.inspection.rows { AT_ONCE } else { 1 }) {
            let gradients = self.gradient(inputs, start, points, class, question.baseline)?;
            for (leaf, sum) in self.inspection.leaves.iter().zip(&mut sums) {
                let gradients = values(&gradients, &leaf.gradient());
                for (place, gradient) in gradients.iter().enumerate() {
                    let at = place % sum.len().max(1);
                    if let Some(sum) = sum.get_mut(at) {
                        *sum += gradient;
                    }
                }
            }
        }
        for (x, sum) in start.iter().zip(&mut sums) {
            for (x, sum) in x.view().to_f64().iter().zip(sum) {
                *sum *= (x - question.baseline) / question.steps as f64;
            }
        }
        Ok(sums)
    }

    /// The gradient's entry at some points of the way from the baseline (0) to the input (1), a row each.
    fn gradient(
        &mut self,
        inputs: &[Named],
        start: &[Tensor],
        points: &[f64],
        class: Option<usize>,
        baseline: f64,
    ) -> Result<Vec<Named>, Failure> {
        let copies = if self.inspection.rows { points.len() } else { 1 };
        let mut all: Vec<Named> = inputs.iter().map(|(n, t)| (n.clone(), repeated(t, copies))).collect();
        for (leaf, x) in self.inspection.leaves.iter().zip(start) {
            let values = x.view().to_f64();
            let moved: Vec<f64> = points
                .iter()
                .flat_map(|a| values.iter().map(move |v| baseline + a * (v - baseline)))
                .collect();
            let mut shape = x.shape.clone();
            if let (true, Some(rows)) = (self.inspection.rows, shape.first_mut()) {
                *rows = copies;
            }
            let data = bytes_of(x.dtype, &moved).ok_or_else(|| {
                Failure::input(format!(
                    "gradients of {} are not computed; cast the input to f32",
                    x.dtype.name()
                ))
            })?;
            all.retain(|(name, _)| *name != leaf.name);
            all.push((leaf.name.clone(), Tensor { dtype: x.dtype, shape, data }));
        }
        let class = vec![class.unwrap_or(0) as i32; copies];
        let shape = if self.inspection.rows { vec![copies] } else { vec![] };
        let class = (CLASS.to_owned(), Tensor::from_i32(&shape, &class));
        self.run(GRADIENT, &all, &[class])
    }

    /// Runs an entry on those of the named tensors that it takes.
    fn run(&mut self, entry: &str, inputs: &[Named], more: &[Named]) -> Result<Vec<Named>, Failure> {
        let index = self.session.entry(entry)?;
        let taken = |name: &str| self.session.program().entries[index].inputs.iter().any(|i| i.name == name);
        let named: Vec<(&str, TensorView<'_>)> = inputs
            .iter()
            .chain(more)
            .filter(|(name, _)| taken(name))
            .map(|(name, tensor)| (name.as_str(), tensor.view()))
            .collect();
        let views = self.session.arrange(index, &named)?;
        let outputs = self.session.run(index, &views)?;
        Ok(outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
    }
}

pub fn tensor(named: &[Named], name: &str) -> Option<Tensor> {
    named.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor.clone())
}

fn values(named: &[Named], name: &str) -> Vec<f64> {
    tensor(named, name).map(|t| t.view().to_f64()).unwrap_or_default()
}

/// One row so many times.
fn repeated(tensor: &Tensor, copies: usize) -> Tensor {
    let mut repeated = tensor.clone();
    if copies != 1
        && let Some(rows) = repeated.shape.first_mut()
    {
        *rows *= copies;
        repeated.data = tensor.data.repeat(copies);
    }
    repeated
}

/// A row of a tensor, as a batch of one.
pub fn row(tensor: &Tensor, at: usize) -> Tensor {
    let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
    let bytes = tensor.data.len() / rows;
    let mut shape = tensor.shape.clone();
    if let Some(first) = shape.first_mut() {
        *first = 1;
    }
    let data = tensor.data.get(at * bytes..(at + 1) * bytes).unwrap_or_default().to_vec();
    Tensor { dtype: tensor.dtype, shape, data }
}

/// An array as `.npy` takes it.
pub fn array(shape: &[usize], values: &[f64]) -> Tensor {
    let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    Tensor::from_f32(shape, &values)
}

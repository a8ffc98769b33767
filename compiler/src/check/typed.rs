//! The checked spec as a person reads it: `emit --stage typed` and `summary`.

use crate::graph::Module;
use serde::Serialize;
use std::fmt;
use weft_runtime::program::{self, Begin, Choice, EarlyStopping, Strategy, Token, VariableKind};

/// Everything that the checker knows about a spec beside its graphs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TypedSpec {
    /// File-level settings with their values.
    pub settings: Vec<(String, String)>,
    /// All instances, each before those inside it.
    pub instances: Vec<Instance>,
    pub variables: Vec<Variable>,
    pub data: Vec<DataSet>,
    pub trainings: Vec<Training>,
    pub predictions: Vec<Prediction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<Generation>,
}

/// One layer or model of the spec, at its first application.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Instance {
    /// `Cnn.conv2d_2`
    pub path: String,
    /// `conv2d(filters = 64, kernel = 3)`
    pub layer: String,
    /// The first line of the item's `///`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// Types of the tensor inputs.
    pub inputs: Vec<String>,
    pub output: String,
    /// The line of the user's text.
    pub line: usize,
    #[serde(skip)]
    pub(crate) order: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variable {
    pub path: String,
    pub kind: VariableKind,
    #[serde(rename = "type")]
    pub ty: String,
    pub elements: i64,
    pub trainable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataSet {
    pub name: String,
    pub source: String,
    /// What a row is in the source.
    pub raw: Vec<(String, String)>,
    /// What is computed from the training part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fit: Vec<(String, String)>,
    /// What a row is after the body.
    pub row: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Training {
    pub name: String,
    pub data: String,
    pub batch: usize,
    pub epochs: usize,
    pub seed: u64,
    pub shuffle: bool,
    pub accumulate: usize,
    /// Clipping, averages and reductions of rates, as they are written.
    pub rules: Vec<String>,
    /// Each `minimize`: the optimizer and how many weights it moves.
    pub optimizers: Vec<(String, usize)>,
    pub figures: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    pub name: String,
    pub inputs: Vec<(String, String)>,
    pub outputs: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Generation {
    pub name: String,
    pub inputs: Vec<(String, String)>,
    /// What the text is made of; none where tokens are numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
    pub begin: String,
    pub until: Vec<String>,
    pub max: usize,
    pub by: String,
}

impl TypedSpec {
    pub(crate) fn fill(&mut self, module: &Module, mut instances: Vec<Instance>) {
        // Instances are noted when they end; `order` tells how many had ended when they began.
        let mut ordered: Vec<Instance> = Vec::new();
        for instance in instances.drain(..) {
            let at = instance.order.min(ordered.len());
            ordered.insert(at, instance);
        }
        self.instances = ordered;
        self.variables = module
            .variables
            .iter()
            .map(|v| Variable {
                path: v.path.clone(),
                kind: v.kind,
                ty: v.ty.to_string(),
                elements: v.ty.elements().as_constant().unwrap_or(0),
                trainable: v.trainable,
            })
            .collect();
        self.predictions = module
            .predictions
            .iter()
            .filter_map(|p| {
                let entry = module.entries.iter().find(|e| e.graph.name == p.entry)?;
                let outputs = entry.graph.outputs.iter();
                Some(Prediction {
                    name: p.name.clone(),
                    inputs: entry.inputs.iter().map(|(n, t, _)| (n.clone(), t.to_string())).collect(),
                    outputs: outputs
                        .map(|(n, id)| (n.clone(), entry.graph.node(*id).ty.to_string()))
                        .collect(),
                })
            })
            .collect();
        self.generations = module.generations.iter().map(|g| Generation::of(g, module)).collect();
    }

    /// The number of learned numbers under a path (all of them for "").
    pub fn parameters(&self, path: &str) -> i64 {
        let prefix = format!("{path}.");
        let weights = self.variables.iter().filter(|v| v.kind == VariableKind::Weight);
        weights.filter(|v| path.is_empty() || v.path.starts_with(&prefix)).map(|v| v.elements).sum()
    }
}

impl Generation {
    fn of(generation: &program::Generation, module: &Module) -> Generation {
        let entry = module.entries.iter().find(|e| e.graph.name == generation.start);
        let inputs = entry.iter().flat_map(|entry| &entry.inputs);
        let token = |token: &Token| match token {
            Token::Id(id) => id.to_string(),
            Token::Name(name) => format!("{name:?}"),
        };
        let list = |tokens: &[Token]| tokens.iter().map(token).collect::<Vec<_>>();
        Generation {
            name: generation.name.clone(),
            inputs: inputs.map(|(n, t, _)| (n.clone(), t.to_string())).collect(),
            vocabulary: generation.vocabulary.clone(),
            begin: match &generation.begin {
                Begin::Tokens(tokens) => list(tokens).join(", "),
                Begin::Text { text, .. } => format!("the tokens of {text}"),
                Begin::Input(name) => name.clone(),
            },
            until: list(&generation.until),
            max: generation.max,
            by: shown(&generation.by),
        }
    }
}

/// A strategy as a spec would write it, with what it leaves to defaults.
fn shown(by: &Strategy) -> String {
    let number = super::value::show_float;
    let mut parts = Vec::new();
    let word = match &by.choice {
        Choice::Greedy => "greedy",
        Choice::Sample { temperature, top_k, top_p } => {
            parts.push(format!("temperature = {}", number(*temperature)));
            parts.extend(top_k.map(|k| format!("top_k = {k}")));
            parts.push(format!("top_p = {}", number(*top_p)));
            "sample"
        }
        Choice::Beam { width, length_penalty, early_stopping } => {
            let early = match early_stopping {
                EarlyStopping::Yes => "true",
                EarlyStopping::No => "false",
                EarlyStopping::Never => "never",
            };
            parts.push(format!("{width}, length_penalty = {}", number(*length_penalty)));
            parts.push(format!("early_stopping = {early}"));
            "beam"
        }
    };
    if by.repetition_penalty != 1.0 {
        parts.push(format!("repetition_penalty = {}", number(by.repetition_penalty)));
    }
    if parts.is_empty() { word.to_owned() } else { format!("{word}({})", parts.join(", ")) }
}

/// Is the instance at `path` part of the one at `outer`?
fn inside(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

impl fmt::Display for TypedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.settings {
            writeln!(f, "setting {name} = {value}")?;
        }
        let mut around: Vec<&str> = Vec::new();
        for instance in &self.instances {
            while around.last().is_some_and(|a| !inside(&instance.path, a)) {
                around.pop();
            }
            let depth = around.len();
            around.push(&instance.path);
            let inputs = instance.inputs.join(", ");
            writeln!(
                f,
                "{:indent$}{}: {} : ({inputs}) -> {}",
                "",
                instance.path,
                instance.layer,
                instance.output,
                indent = 4 * depth
            )?;
            for variable in &self.variables {
                let own = variable.path.strip_prefix(&instance.path).and_then(|rest| rest.strip_prefix('.'));
                if own.is_some_and(|rest| !rest.contains('.')) {
                    let kind = match variable.kind {
                        VariableKind::Weight => "weight",
                        VariableKind::State => "state",
                        VariableKind::Slot | VariableKind::Accumulator | VariableKind::Scale => continue,
                    };
                    let held = if variable.kind == VariableKind::Weight && !variable.trainable {
                        " held"
                    } else {
                        ""
                    };
                    writeln!(
                        f,
                        "{:indent$}{kind} {}: {}{held}",
                        "",
                        own.unwrap_or(""),
                        variable.ty,
                        indent = 4 * depth + 4
                    )?;
                }
            }
        }
        let list = |fields: &[(String, String)]| {
            fields.iter().map(|(n, t)| format!("{n}: {t}")).collect::<Vec<_>>().join(", ")
        };
        for data in &self.data {
            let (raw, row) = (list(&data.raw), list(&data.row));
            writeln!(f, "data {} = {} : {{ {raw} }} -> {{ {row} }}", data.name, data.source)?;
            for (name, ty) in &data.fit {
                writeln!(f, "    fit {name}: {ty}")?;
            }
        }
        for t in &self.trainings {
            // A nameless block is called as it begins.
            let name = if t.name == "train" { String::new() } else { format!(" {}", t.name) };
            writeln!(f, "train{name} on {}", t.data)?;
            writeln!(
                f,
                "    batch = {}, epochs = {}, seed = {}, shuffle = {}",
                t.batch, t.epochs, t.seed, t.shuffle
            )?;
            if t.accumulate > 1 {
                writeln!(f, "    accumulate = {}", t.accumulate)?;
            }
            for rule in &t.rules {
                writeln!(f, "    {rule}")?;
            }
            for (optimizer, weights) in &t.optimizers {
                writeln!(f, "    using {optimizer} on {weights} weights")?;
            }
            writeln!(f, "    figures {}", t.figures.join(", "))?;
        }
        for p in &self.predictions {
            writeln!(f, "predict {}({}) -> {{ {} }}", p.name, list(&p.inputs), list(&p.outputs))?;
        }
        for g in &self.generations {
            writeln!(f, "generate {}({})", g.name, list(&g.inputs))?;
            if let Some(vocabulary) = &g.vocabulary {
                writeln!(f, "    vocabulary = {vocabulary}")?;
            }
            writeln!(f, "    begin = {}", g.begin)?;
            if !g.until.is_empty() {
                writeln!(f, "    until = {}", g.until.join(", "))?;
            }
            writeln!(f, "    max = {}, by = {}", g.max, g.by)?;
        }
        Ok(())
    }
}

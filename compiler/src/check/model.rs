//! Models on their own: each is elaborated once from its own signature, so that it is checked and summarised with its own symbols even
//! when nothing trains it.

use super::layer::Frame;
use super::names::{Global, ItemRef};
use super::scope::Scope;
use super::value::{Argument, Item, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::{Dim, Entry};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, CallableKind, DimSpec, Expr, ExprKind, TypeKind};
use weft_runtime::program::{InputSource, Prediction};

impl Checker<'_> {
    pub(crate) fn models(&mut self, home: usize) {
        let models: Vec<Rc<Item>> = self.items(home, |item| match item {
            ItemRef::Callable(item) if item.callable.kind == CallableKind::Model => Some(item.clone()),
            _ => None,
        });
        let stated = self.items(home, |item| matches!(item, ItemRef::Predict(_)).then_some(()));
        let single = models.len() == 1;
        for model in models {
            // A model whose configuration must be given has no signature of its own.
            if model.callable.params.iter().any(|p| p.default.is_none()) {
                continue;
            }
            let name = if single { "predict".to_owned() } else { format!("predict.{}", model.name()) };
            let Ok(entry) = self.model_entry(home, &model, &name) else {
                self.incomplete = true;
                continue;
            };
            if stated.is_empty() {
                let prediction = if single { "predict".to_owned() } else { model.name().to_owned() };
                self.module.entries.push(entry);
                self.module.predictions.push(Prediction {
                    name: prediction,
                    entry: name,
                    of_model: true,
                    doc: String::new(),
                });
            }
        }
    }

    fn model_entry(&mut self, home: usize, model: &Rc<Item>, name: &str) -> Result<Entry> {
        let training = self.options.training;
        let outer = self.enter(name, training);
        self.frames.push(Frame::new(Some(Rc::from("")), "model", None));
        let result = self.model_body(home, model);
        self.frames.pop();
        let context = self.leave(outer);
        result.map(|()| context.finish(|_| training))
    }

    fn model_body(&mut self, home: usize, model: &Rc<Item>) -> Result<()> {
        let inputs = model.callable.inputs.as_deref().unwrap_or(&[]);
        let scope = Scope::of_file(home);
        // Configuration is in scope of the inputs' types.
        for bound in self
            .configure(model, Vec::new(), model.callable.name.span)?
            .into_iter()
            .zip(&model.callable.params)
        {
            scope.bind(&bound.1.name.text, bound.0.value, bound.0.span);
        }
        let arguments = self.own_inputs(inputs, &scope)?;
        let span = model.callable.name.span;
        let function = match self.global(home, model.name(), span) {
            Some(Ok(Global::Value(Value::Function(f)))) => f,
            _ => return Err(Reported),
        };
        // The configuration is all defaults, so naming the inputs applies the model directly.
        let function = match model.callable.params.is_empty() {
            true => function,
            false => {
                let configured = self.apply(&function, Vec::new(), span, None)?;
                self.function(&configured, span)?
            }
        };
        let value = self.apply(&function, arguments, span, None)?;
        self.lint_entry(None);
        self.outputs(&value, span, "output")
    }

    /// The inputs of an entry from its signature: names that are no settings are its symbols.
    pub(crate) fn own_inputs(&mut self, params: &[ast::Param], scope: &Scope) -> Result<Vec<Argument>> {
        let mut arguments = Vec::new();
        let mut failed = false;
        for param in params {
            if matches!(param.default.as_ref().map(|d| &d.kind), Some(ExprKind::None)) {
                continue;
            }
            match self.own_input(param, scope) {
                Ok(argument) => arguments.push(argument),
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(arguments) }
    }

    fn own_input(&mut self, param: &ast::Param, scope: &Scope) -> Result<Argument> {
        let Some(ty) = &param.ty else {
            let message = format!("the input `{}` needs a type, such as `f32[n, 8]`", param.name.text);
            return self.fail(Code::WrongKind, param.span, message);
        };
        if let TypeKind::Tensor { dtype, dims: Some(dims) } = &ty.kind
            && dtype.text == "text"
        {
            return self.own_texts(param, dims, ty.span, scope);
        }
        let ty = self.symbolic_type(&param.name.text, ty, scope)?;
        self.place(param.span);
        let node = self.context.input(&param.name.text, ty, InputSource::Caller);
        let node = self.built(node, param.span)?;
        self.originate(node, format!("`{}`", param.name.text), param.span, None);
        Ok(Argument { name: Some(param.name.clone()), value: self.tensor(node), span: param.span })
    }

    /// `text: text[n]`: texts, as many as the batch has rows.
    fn own_texts(
        &mut self,
        param: &ast::Param,
        dims: &[DimSpec],
        span: Span,
        scope: &Scope,
    ) -> Result<Argument> {
        let name = &param.name.text;
        let [DimSpec::Expr(Expr { kind: ExprKind::Name(batch), span: at })] = dims else {
            let message = format!("`{name}` is a number of texts, known only when it runs");
            return self.fail_hint(Code::WrongKind, span, message, format!("write `{name}: text[n]`"));
        };
        let dim = match self.dim_name(batch, *at, scope)? {
            Some((dim, _)) => dim,
            None => {
                let dim = Dim::symbol(batch.as_str());
                let what = format!("the number of texts in `{name}`, known only when it runs");
                self.context.symbols.entry(batch.as_str().into()).or_insert((what, *at));
                scope.bind(batch, Value::Dim(dim.clone()), *at);
                dim
            }
        };
        let value = self.texts_input(param, dim);
        Ok(Argument { name: Some(param.name.clone()), value, span: param.span })
    }

    /// Makes a value the entry's outputs: a record by its names, a tuple numbered, else one.
    pub(crate) fn outputs(&mut self, value: &Value, span: Span, name: &str) -> Result<()> {
        match value {
            Value::Tensor(t) => self.context.output(name, t.node),
            Value::Record(fields) => {
                for (field, value) in fields.iter() {
                    let inner = if name == "output" { field.to_string() } else { format!("{name}.{field}") };
                    self.outputs(value, span, &inner)?;
                }
            }
            Value::Tuple(items) | Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.outputs(item, span, &format!("{name}.{i}"))?;
                }
            }
            Value::Int(_) | Value::Float(_) | Value::Dim(_) => {
                let tensor = self.as_tensor(value, crate::graph::DType::F32, span)?;
                self.context.output(name, tensor.node);
            }
            other => {
                let message = format!("a result is made of tensors, but `{name}` is {}", other.kind());
                return self.fail(Code::ResultMismatch, span, message);
            }
        }
        Ok(())
    }
}

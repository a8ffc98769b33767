//! The functions of a model: what they are given becomes a call of the runtime's function that is the same for all models.

use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{
    self, AbiParam, ExtFuncData, ExternalName, GlobalValueData, InstBuilder, StackSlotData, StackSlotKind,
    UserExternalName, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use weft_runtime::library::{self as runtime, signature};

use super::{Model, names};

/// A function of the model. All it takes and gives are words: whole numbers and pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thunk {
    pub name: String,
    /// How many arguments it has.
    params: usize,
    /// What it calls, and with what.
    calls: &'static str,
    with: Vec<Given>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Descriptor,
    Constant(i64),
    Param(usize),
    /// The arguments from this one on, as a row of words.
    Row(usize),
}

/// What stands in code for something elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    Descriptor,
    /// A function of the runtime, by its place in [`runtime::FUNCTIONS`].
    Runtime(usize),
}

/// Machine code, and the places in it that the linker fills in.
#[derive(Debug)]
pub struct Code {
    pub bytes: Vec<u8>,
    pub places: Vec<(u32, Reloc, Symbol, i64)>,
}

/// The functions of a model, in the order of its header.
pub fn all(model: &Model<'_>) -> Vec<Thunk> {
    let prefix = model.prefix;
    let thunk =
        |name: &str, params, calls, with| Thunk { name: format!("{prefix}_{name}"), params, calls, with };
    let (first, second) = (Given::Param(0), Given::Param(1));
    let mut all = vec![thunk("create", 2, runtime::CREATE, vec![Given::Descriptor, first, second])];
    if let Some(sizes) = signature::sizes(model.program) {
        let row = |first: usize| {
            let params = (0..first).map(Given::Param);
            [Given::Descriptor].into_iter().chain(params).chain([Given::Row(first)]).collect()
        };
        all.push(thunk("memory", 2 + sizes.len(), runtime::MEMORY, row(2)));
        all.push(thunk("create_in", 4 + sizes.len(), runtime::CREATE_IN, row(4)));
    }
    all.extend([
        thunk("destroy", 1, runtime::DESTROY, vec![first]),
        thunk("last_error", 0, runtime::LAST_ERROR, vec![]),
    ]);
    for (place, (function, _)) in names::classes(model.classes).into_iter().enumerate() {
        let with = vec![first, Given::Constant(place as i64), second];
        all.push(thunk(&function, 2, runtime::CLASS_NAME, with));
    }
    for (place, function) in model.functions().iter().enumerate() {
        let with = vec![first, Given::Constant(place as i64), Given::Row(1)];
        all.push(thunk(&function.name, 1 + function.arguments.len(), runtime::CALL, with));
    }
    all
}

impl Thunk {
    /// Its machine code.
    pub fn compile(&self, isa: &dyn TargetIsa) -> Result<Code, String> {
        let mut context = Context::for_function(self.function(isa));
        let compiled = context
            .compile(isa, &mut ControlPlane::default())
            .map_err(|error| format!("the code generator failed: {:?}", error.inner))?;
        let (mut bytes, relocations) = (compiled.buffer.data().to_vec(), compiled.buffer.relocs().to_vec());
        let symbol = |relocation: &FinalizedMachReloc| match &relocation.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                let name = &context.func.params.user_named_funcs()[*name];
                let symbol = if name.namespace == 0 {
                    Symbol::Descriptor
                } else {
                    Symbol::Runtime(name.index as usize)
                };
                Ok((relocation.offset, relocation.kind, symbol, relocation.addend))
            }
            other => Err(format!("the code refers to {other:?}")),
        };
        let mut places: Vec<_> = relocations.iter().map(symbol).collect::<Result<_, _>>()?;
        // Addresses come from a table of the loader's. What is near has no need of it: the load of the address becomes its computation, as
        // linkers do it (*System V ABI, AMD64 supplement*, B.2).
        for (offset, kind, ..) in &mut places {
            let operation = (*offset as usize).checked_sub(2).and_then(|at| bytes.get_mut(at));
            if let (Reloc::X86GOTPCRel4, Some(operation @ 0x8b)) = (*kind, operation) {
                (*operation, *kind) = (0x8d, Reloc::X86PCRel4);
            }
        }
        Ok(Code { bytes, places })
    }

    fn function(&self, isa: &dyn TargetIsa) -> ir::Function {
        // What C calls, and what the runtime's functions are.
        let call_conv = CallConv::triple_default(isa.triple());
        let signature = |params: usize| {
            let mut signature = ir::Signature::new(call_conv);
            signature.params = vec![AbiParam::new(types::I64); params];
            signature.returns = vec![AbiParam::new(types::I64)];
            signature
        };
        let mut function = ir::Function::new();
        function.signature = signature(self.params);
        let mut context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut function, &mut context);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        b.seal_block(block);
        let params = b.block_params(block).to_vec();
        let name = |b: &mut FunctionBuilder<'_>, namespace, index| {
            ExternalName::User(b.func.declare_imported_user_function(UserExternalName { namespace, index }))
        };
        let mut arguments = Vec::new();
        for given in &self.with {
            arguments.push(match *given {
                Given::Descriptor => {
                    let name = name(&mut b, 0, 0);
                    let data =
                        GlobalValueData::Symbol { name, offset: 0.into(), colocated: true, tls: false };
                    let global = b.create_global_value(data);
                    b.ins().symbol_value(types::I64, global)
                }
                Given::Constant(value) => b.ins().iconst(types::I64, value),
                Given::Param(place) => params[place],
                Given::Row(first) => {
                    let words = &params[first..];
                    let bytes = 8 * words.len().max(1) as u32;
                    let slot =
                        b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3));
                    for (place, word) in words.iter().enumerate() {
                        b.ins().stack_store(types::I64, *word, slot, 8 * place as i32);
                    }
                    b.ins().stack_addr(types::I64, slot, 0)
                }
            });
        }
        let place = runtime::FUNCTIONS.iter().position(|function| *function == self.calls);
        let name = name(&mut b, 1, place.unwrap_or_default() as u32);
        let signature = b.import_signature(signature(arguments.len()));
        let callee = b.import_function(ExtFuncData { name, signature, colocated: true, patchable: false });
        let call = b.ins().call(callee, &arguments);
        let answer = b.inst_results(call)[0];
        b.ins().return_(&[answer]);
        b.finalize(isa.frontend_config());
        function
    }
}

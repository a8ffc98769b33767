//! What is made from weights alone is made once, and again when one of them has changed, by whomever.

use super::{Target, compile, tensor, variable};
use crate::graph::text::parse;
use crate::graph::{DType, Entry, Module, Variable};
use crate::plan::{self, Storage};
use std::sync::Arc;
use weft_runtime::execute::Session;
use weft_runtime::program::{InputSource, Kernel, VariableKind};

/// `y = x · wᵀ`, for which `w` is packed; `double` doubles `w`, `count` counts its runs, `fold` does both: the product and a change, and
/// `again` is the product once more.
fn module() -> Module {
    let product = "%w = variable : f32[40, 24]
%x = input : f32[n, 24]
%y = contract %x, %w {batch=[], sum=[(1, 1)]} : f32[n, 40]
output \"y\" = %y\n";
    let doubled = "%two = constant 2.0 : f32[]
%twos = broadcast %two {axes=[]} : f32[40, 24]
%more = mul %w, %twos : f32[40, 24]
update \"w\" = %more\n";
    let texts = [
        format!("graph product\n{product}"),
        format!("graph double\n%w = variable : f32[40, 24]\n{doubled}"),
        "graph count\n%c = variable : f32[1]\n%one = constant 1.0 : f32[]\n%ones = broadcast %one {axes=[]} : f32[1]\n%more = add %c, %ones : f32[1]\nupdate \"c\" = %more\n".to_string(),
        format!("graph fold\n{product}{doubled}"),
        format!("graph again\n{product}"),
    ];
    let entry = |text: &String| {
        let graph = parse(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let x = graph.nodes.iter().find(|n| matches!(n.op, crate::graph::Op::Input(_)));
        let inputs = x.map(|n| ("x".to_string(), n.ty.clone(), InputSource::Caller)).into_iter().collect();
        Entry { graph, inputs }
    };
    let named = |path: &str, shape: &[usize]| variable(path, shape, VariableKind::Weight, DType::F32, 1.0).0;
    let variables: Vec<Variable> = vec![named("w", &[40, 24]), named("c", &[1])];
    Module { name: "test".into(), variables, entries: texts.iter().map(entry).collect(), ..Module::default() }
}

/// The product in f64, in no particular order.
fn product(x: &[f64], w: &[f64]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    x.chunks(24).flat_map(|row| w.chunks(24).map(move |column| dot(row, column))).collect()
}

/// Runs an entry: whether the weight was packed, whether the product is right.
fn run_entry(session: &mut Session, entry: usize, rows: usize, w: &[f64]) -> (bool, bool) {
    let x: Vec<f64> = (0..rows * 24).map(|i| (i * 5 % 11) as f64 - 5.0).collect();
    let given = tensor(DType::F32, &[rows, 24], &x);
    session.scribble().unwrap();
    let profile = session.run_profiled(entry, &[given.view()]).unwrap();
    let packing = profile.launches.iter().filter(|l| matches!(l.launch.kernel, Kernel::Pack(_)));
    let packed = packing.map(|l| l.nanoseconds).sum::<u64>() > 0;
    (packed, profile.outputs.get(0).to_f64() == product(&x, w))
}

fn set(session: &mut Session, w: &[f64]) {
    let bytes = tensor(DType::F32, &[40, 24], w);
    session.variable_bytes_mut(0).copy_from_slice(&bytes.data);
}

#[test]
fn packed_weights_last_until_the_weights_change() {
    let module = module();
    let plan = |at: usize| plan::plan(&module.entries[at], &module.variables).unwrap();
    let prepared = |plan: &plan::Plan| plan.buffers.iter().filter(|b| b.storage == Storage::Prepared).count();
    // An entry that changes the weight packs it at each run.
    assert_eq!((plan(0).prepares, prepared(&plan(0))), (1, 1), "{}", plan::text::print(&plan(0)));
    assert_eq!((plan(3).prepares, prepared(&plan(3))), (0, 0), "{}", plan::text::print(&plan(3)));

    let program = Arc::new(compile(&module, Target::Host).unwrap());
    let mut session = Session::new(program, 2).unwrap();
    let mut w: Vec<f64> = (0..40 * 24).map(|i| f64::from(i * 7 % 13) - 6.0).collect();
    let run = |session: &mut Session, rows: usize, w: &[f64]| run_entry(session, 0, rows, w);
    set(&mut session, &w);
    assert_eq!(run(&mut session, 16, &w), (true, true));
    assert_eq!(run(&mut session, 16, &w), (false, true));
    // Other sizes, and so another arena and another binding.
    assert_eq!(run(&mut session, 300, &w), (false, true));
    // Another variable, and an entry that changes another.
    session.variable_bytes_mut(1).fill(0);
    session.run(2, &[]).unwrap();
    assert_eq!(run(&mut session, 16, &w), (false, true));
    // By hand, by one entry, and by another that reads it as well.
    w.iter_mut().for_each(|w| *w += 1.0);
    set(&mut session, &w);
    assert_eq!(run(&mut session, 16, &w), (true, true));
    assert_eq!(run(&mut session, 16, &w), (false, true));
    session.run(1, &[]).unwrap();
    w.iter_mut().for_each(|w| *w *= 2.0);
    assert_eq!(run(&mut session, 300, &w), (true, true));
    let given = tensor(DType::F32, &[16, 24], &[1.0; 16 * 24]);
    for _ in 0..2 {
        let outputs = session.run(3, &[given.view()]).unwrap();
        assert_eq!(outputs.get(0).to_f64(), product(&[1.0; 16 * 24], &w));
        w.iter_mut().for_each(|w| *w *= 2.0);
    }
    assert_eq!(run(&mut session, 16, &w), (true, true));
    // Room given back is filled again.
    session.release(0).unwrap();
    assert_eq!(run(&mut session, 16, &w), (true, true));
    assert_eq!(run(&mut session, 16, &w), (false, true));
}

#[test]
fn entries_that_pack_the_same_have_it_once() {
    let program = Arc::new(compile(&module(), Target::Host).unwrap());
    let mut session = Session::new(program, 1).unwrap();
    let mut w: Vec<f64> = (0..40 * 24).map(|i| f64::from(i * 7 % 13) - 6.0).collect();
    set(&mut session, &w);
    assert_eq!(run_entry(&mut session, 0, 16, &w), (true, true));
    let taken = session.taken_bytes();
    assert_eq!(run_entry(&mut session, 4, 16, &w), (false, true));
    assert_eq!(session.taken_bytes(), taken);
    assert_eq!(session.planned_bytes(0), session.planned_bytes(4));
    // Whoever comes first after a change packs it for all.
    w.iter_mut().for_each(|w| *w += 1.0);
    set(&mut session, &w);
    assert_eq!(run_entry(&mut session, 4, 300, &w), (true, true));
    assert_eq!(run_entry(&mut session, 0, 16, &w), (false, true));
    // It stays as long as one of them needs it.
    session.release(0).unwrap();
    assert_eq!(run_entry(&mut session, 4, 16, &w), (false, true));
    session.release(4).unwrap();
    assert_eq!(run_entry(&mut session, 0, 16, &w), (true, true));
    assert_eq!(run_entry(&mut session, 4, 16, &w), (false, true));
}

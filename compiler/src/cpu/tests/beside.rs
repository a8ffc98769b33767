//! Loops that follow one another: what runs ahead, what runs side by side, and what must wait.

use super::loops::check;
use super::module;
use crate::graph::text::parse;
use crate::plan::{self, Step};

/// Three recurrent layers, each with a product of what the one before yields and one of its own state. `captured` is what the second
/// layer's steps see whole: `last` is what the first layer leaves.
fn layers(reversed: [bool; 3], units: usize, captured: &str) -> String {
    let mut text = format!(
        "graph predict\n%h0 = input : f32[t, n, {units}]\n%given = input : f32[n, {units}]\n\
         %constant = constant 0.0 : f32[]\n%zero = broadcast %constant {{axes=[]}} : f32[n, {units}]\n"
    );
    for (layer, reversed) in (1..).zip(reversed) {
        let before = layer - 1;
        let seen = if layer == 2 && captured == "last" { "last1" } else { "given" };
        text += &format!(
            r#"%w{layer} = input : f32[{units}, {units}]
%u{layer} = input : f32[{units}, {units}]
%scan{layer} = scan %h{before}, %zero, %w{layer}, %u{layer}, %{seen} {{trip=t, reversed={reversed}, elements=1, carries=1}} : bool[0]
  | %element.0 = input : f32[n, {units}]
  | %carry.0 = input : f32[n, {units}]
  | %capture.0 = input : f32[{units}, {units}]
  | %capture.1 = input : f32[{units}, {units}]
  | %capture.2 = input : f32[n, {units}]
  | %a = contract %element.0, %capture.0 {{batch=[], sum=[(1, 0)]}} : f32[n, {units}]
  | %b = contract %carry.0, %capture.1 {{batch=[], sum=[(1, 0)]}} : f32[n, {units}]
  | %c = add %a, %b : f32[n, {units}]
  | %d = add %c, %capture.2 : f32[n, {units}]
  | %e = tanh %d : f32[n, {units}]
  | output "carry.0" = %e
  | output "yield.0" = %e
%last{layer} = result %scan{layer} {{index=0}} : f32[n, {units}]
%h{layer} = result %scan{layer} {{index=1}} : f32[t, n, {units}]
"#
        );
    }
    text + "%both = add %last1, %last3 : f32[n, UNITS]\noutput \"both\" = %both\noutput \"all\" = %h3\n"
        .replace("UNITS", &units.to_string())
        .as_str()
}

/// Of each segment with a loop: whether it follows the one before, and how many of the loop's launches run ahead.
fn shape(text: &str) -> Vec<(bool, usize)> {
    let graph = parse(text).unwrap();
    let plan = plan::plan(&module(&graph, Vec::new()).entries[0], &[]).unwrap();
    let loops = plan.segments.iter().filter_map(|segment| {
        let mut ahead = segment.steps.iter().filter_map(|step| match step {
            Step::Loop(inner) => Some(inner.ahead()),
            Step::Launch(_) => None,
        });
        ahead.next().map(|ahead| (segment.follows, ahead))
    });
    loops.collect()
}

/// Batches that are one task and several, and trips around multiples of the steps that are done at once.
const SIZES: [&[(&str, usize)]; 12] = [
    &[("n", 1), ("t", 0)],
    &[("n", 1), ("t", 1)],
    &[("n", 1), ("t", 11)],
    &[("n", 1), ("t", 12)],
    &[("n", 1), ("t", 40)],
    &[("n", 2), ("t", 6)],
    &[("n", 2), ("t", 13)],
    &[("n", 5), ("t", 7)],
    &[("n", 7), ("t", 5)],
    &[("n", 31), ("t", 3)],
    &[("n", 64), ("t", 4)],
    &[("n", 0), ("t", 4)],
];

#[test]
fn layers_run_side_by_side_and_what_needs_no_state_ahead() {
    for reversed in [false, true] {
        let text = layers([reversed; 3], 8, "given");
        assert_eq!(shape(&text), [(false, 1), (true, 1), (true, 1)]);
        check(&text, &SIZES);
    }
    check(&layers([false; 3], 64, "given"), &SIZES);
}

#[test]
fn a_layer_in_the_other_direction_waits_for_all_of_the_one_before() {
    for (reversed, follows) in
        [([false, true, true], [false, false, true]), ([true, true, false], [false, true, false])]
    {
        let text = layers(reversed, 8, "given");
        assert_eq!(shape(&text).into_iter().map(|(follows, _)| follows).collect::<Vec<_>>(), follows);
        check(&text, &SIZES);
    }
}

#[test]
fn a_layer_that_sees_what_the_one_before_leaves_waits_for_it() {
    let text = layers([false; 3], 8, "last");
    assert_eq!(shape(&text), [(false, 1), (false, 1), (true, 1)]);
    check(&text, &SIZES);
}

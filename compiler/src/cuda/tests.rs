//! Printed kernels of small graphs, and which forms are chosen for products.

use super::{Compilation, Math, plan_in};
use crate::graph::{Entry, Op, text::parse};
use weft_runtime::program::InputSource;

/// The kernels of a graph, without its loop nests.
fn kernels(graph: &str, math: Math) -> Vec<String> {
    compiled(graph, math).functions.into_iter().map(|function| function.source).collect()
}

fn compiled(graph: &str, math: Math) -> Compilation {
    let graph = parse(&format!("graph predict\n{graph}")).unwrap();
    let input = |node: &crate::graph::Node| match &node.op {
        Op::Input(name) => Some((name.to_string(), node.ty.clone(), InputSource::Caller)),
        _ => None,
    };
    let inputs = graph.nodes.iter().filter_map(input).collect();
    let plan = plan_in(&Entry { graph, inputs }, &[], math).unwrap();
    Compilation::of(vec![plan], math, &|_| String::new()).unwrap()
}

/// The only kernel of a graph.
fn kernel(graph: &str) -> String {
    let mut all = kernels(graph, Math::F32);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// `x · w` of these shapes, with x at most so many rows.
fn product(rows: i64, x: &str, w: &str, out: &str, sum: &str) -> String {
    format!(
        "bound n <= {rows}\n%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n\
         %2 = contract %0, %1 {{batch=[], sum=[{sum}]}} : f32[{out}]  // Net.dense\noutput \"y\" = %2"
    )
}

/// The line that names the form of a product.
fn form(text: &str) -> &str {
    let line = text.lines().find(|line| line.contains(" Tile;")).unwrap();
    line.trim().trim_start_matches("typedef ").split(" Tile;").next().unwrap()
}

#[test]
fn a_dense_layer() {
    insta::assert_snapshot!(kernel(&product(256, "n, 784", "784, 512", "n, 512", "(1, 0)")));
}

#[test]
fn a_batch_of_products_of_views() {
    insta::assert_snapshot!(kernel(
        "%0 = input \"q\" : f32[n, 9, 3, 20]\n%1 = input \"k\" : f32[n, 3, 20, 12]\n\
         %2 = contract %0, %1 {batch=[(0, 0), (2, 1)], sum=[(3, 2)]} : f32[n, 3, 9, 12]  // Net.scores\noutput \"y\" = %2"
    ));
}

#[test]
fn the_form_of_a_product_follows_from_its_size() {
    let of = |rows, x, w, out, sum, math| form(&kernels(&product(rows, x, w, out, sum), math)[0]).to_string();
    let plain = |rows| of(rows, "n, 512", "512, 512", "n, 512", "(1, 0)", Math::F32);
    assert_eq!(plain(8192), "TileF32<2, 2, 4, 2, 8>");
    assert_eq!(plain(64), "TileF32<1, 1, 2, 2, 16>");
    assert_eq!(plain(1), "FewAcross<4, 1, 8>");
    // Columns that lie along the sum are read so; and four at a time only where they begin at multiples of four.
    assert_eq!(of(1, "n, 512", "100, 512", "n, 100", "(1, 1)", Math::F32), "FewAlong<4, 4, 8>");
    assert_eq!(of(1, "n, 511", "100, 511", "n, 100", "(1, 1)", Math::F32), "FewAlong<4, 1, 8>");
    assert_eq!(of(8192, "n, 10", "10, 512", "n, 512", "(1, 0)", Math::F32), "TileF32<2, 1, 4, 2, 16>");
    assert_eq!(of(8192, "n, 512", "512, 512", "n, 512", "(1, 0)", Math::Tf32), "TileMma<float, 4, 2, 2, 4>");
}

#[test]
fn operands_of_16_bits_are_rounded_before_they_are_multiplied() {
    let dense = |rows| kernels(&product(rows, "n, 512", "512, 512", "n, 512", "(1, 0)"), Math::Bf16);
    let all = dense(1024);
    assert_eq!(all.len(), 3, "{all:?}");
    let (products, casts): (Vec<&String>, Vec<&String>) =
        all.iter().partition(|text| text.contains(" Tile;"));
    assert!(casts.iter().all(|text| text.contains("    bfloat_t* ")), "{casts:?}");
    let [product] = products.as_slice() else { panic!("{all:?}") };
    assert_eq!(form(product), "TileMma<bfloat_t, 2, 2, 2, 2>");
    assert!(product.contains("multiply<ALONG_K_8, ACROSS_K_8>"), "{product}");
    // What is loaded once is rounded on the way.
    let all = dense(64);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(form(&all[1]), "TileMma<bfloat_t, 2, 1, 2, 2>");
    assert!(
        all[1].contains("multiply<ALONG_K_8, ACROSS_K_8>") && all[1].contains("mapped<bfloat_t"),
        "{}",
        all[1]
    );
    // Uneven rows are moved by single elements; what is read twice is rounded once.
    let twice = "bound n <= 64\n%0 = input \"x\" : f32[n, 33]\n%1 = transpose %0 {permutation=[1, 0]} : f32[33, n]\n\
                 %2 = contract %0, %1 {batch=[], sum=[(1, 0)]} : f32[n, n]  // Net.scores\noutput \"y\" = %2";
    let all = kernels(twice, Math::F16);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all[1].contains("TileMma<half_t, ") && all[1].contains("multiply<ALONG_K, ALONG_K>"),
        "{}",
        all[1]
    );
}

#[test]
fn a_product_makes_its_operands_while_it_loads_them() {
    // Each row of x has its own scale, so that a place in x is to be found; w lies along the sum.
    let dense = "bound n <= 64\n%0 = input \"x\" : u8[n, 60]\n%1 = input \"w\" : f32[24, 60]\n%2 = input \"by\" : f32[n]\n\
                 %3 = cast %0 : f32[n, 60]\n%4 = constant 255.0 : f32[]\n%5 = broadcast %4 {axes=[]} : f32[n, 60]\n\
                 %6 = div %3, %5 : f32[n, 60]\n%7 = broadcast %2 {axes=[0]} : f32[n, 60]\n\
                 %8 = mul %6, %7 : f32[n, 60]  // Net.scaled\n\
                 %9 = contract %8, %1 {batch=[], sum=[(1, 1)]} : f32[n, 24]  // Net.dense\noutput \"y\" = %9";
    insta::assert_snapshot!(kernel(dense));
}

#[test]
fn a_sum_is_cut_into_parts() {
    let all = kernels(&product(8192, "n, 64", "n, 32", "64, 32", "(0, 0)"), Math::F32);
    assert_eq!(all.len(), 2, "the product, and the nest that adds the parts up");
    assert!(all[0].contains("PARTS = 32;"), "{}", all[0]);
}

#[test]
fn a_convolution_and_its_gradients() {
    let conv = |kind: &str, x: &str, w: &str, y: &str| {
        kernel(&format!(
            "%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n\
             %2 = {kind} %0, %1 {{stride=[2, 2], padding=[(1, 0), (1, 0)], dilation=[1, 1], groups=1}} : f32[{y}]  // Net.conv\n\
             output \"y\" = %2"
        ))
    };
    let (x, w, y) = ("n, 32, 32, 64", "3, 3, 64, 128", "n, 16, 16, 128");
    insta::assert_snapshot!([conv("conv", x, w, y), conv("conv_data", y, w, x)].join("\n"));
}

#[test]
fn attention_with_a_bias_and_its_gradients() {
    let head = "%0 = input \"q\" : f32[n, t, 8, 64]\n%1 = input \"k\" : f32[n, t, 2, 64]\n%2 = input \"v\" : f32[n, t, 2, 64]\n\
                %3 = input \"b\" : f32[n, 8, t, t]\n";
    let part = |inputs: &str, part: &str, ty: &str| {
        format!(
            "attention {inputs} {{part={part}, scale=0.125, causal=true, bias=true, mask=false}} : f32[{ty}]  // Net.attend\n"
        )
    };
    let forward = format!(
        "%4 = {}%5 = {}",
        part("%0, %1, %2, %3", "result", "n, t, 8, 64"),
        part("%0, %1, %2, %3", "sums", "n, 8, t")
    );
    let all = format!("{head}{forward}output \"y\" = %4");
    insta::assert_snapshot!("attention_forward", kernel(&all));
    let back = format!(
        "%6 = input \"g\" : f32[n, t, 8, 64]\n%7 = {}",
        part("%0, %1, %2, %3, %4, %5, %6", "keys", "n, t, 2, 64")
    );
    let all = kernels(&format!("{head}{forward}{back}output \"y\" = %7"), Math::F32);
    insta::assert_snapshot!("attention_backward", all[1]);
}

#[test]
fn moving_and_sorting() {
    let texts = [
        "%0 = input \"x\" : f32[1000, 64]\n%1 = input \"i\" : i32[n]\n%2 = gather %0, %1 {axis=0} : f32[n, 64]  // Net.embed\noutput \"y\" = %2",
        "%0 = input \"x\" : f32[n, 64]\n%1 = input \"i\" : i32[n]\n%2 = scatter_add %0, %1 {axis=0} : f32[1000, 64]  // Net.embed'\noutput \"y\" = %2",
        "%0 = input \"x\" : f32[n, 50000]\n%1 = sort %0 {falling=true, indices=true} : i32[n, 5]  // Net.best\noutput \"y\" = %1",
        "%0 = input \"x\" : f32[n, 100]\n%1 = cumulative_sum %0 {axis=1, reverse=false, exclusive=true} : f32[n, 100]  // Net.sums\noutput \"y\" = %1",
    ];
    insta::assert_snapshot!(texts.map(kernel).join("\n"));
}

#[test]
fn a_product_does_what_is_done_to_its_elements_alone() {
    let all = |rest: &str| {
        kernels(
            &format!(
                "%0 = input \"x\" : f32[n, 64]\n%1 = input \"w\" : f32[64, 128]\n%2 = input \"b\" : f32[128]\n\
                 %3 = contract %0, %1 {{batch=[], sum=[(1, 0)]}} : f32[n, 128]  // Net.dense\n\
                 %4 = broadcast %2 {{axes=[1]}} : f32[n, 128]\n%5 = add %3, %4 : f32[n, 128]  // Net.dense\n\
                 %6 = sigmoid %5 : f32[n, 128]  // Net.sigmoid\n{rest}"
            ),
            Math::F32,
        )
    };
    let one = all("output \"y\" = %6");
    assert_eq!(one.len(), 1, "{one:?}");
    insta::assert_snapshot!(one[0]);
    // What others need is stored too.
    let both = all("output \"y\" = %6\noutput \"z\" = %3");
    assert_eq!(both.len(), 1, "{both:?}");
    assert!(both[0].contains("float* Net_dense_contract,"), "{}", both[0]);
    // A sum of rows has no element of its own for each; nor has another order.
    assert_eq!(all("%7 = reduce_sum %6 {axes=[1]} : f32[n]\noutput \"y\" = %7").len(), 2);
    let turned =
        "%7 = transpose %3 {permutation=[1, 0]} : f32[128, n]\n%8 = exp %7 : f32[128, n]\noutput \"y\" = %8";
    assert_eq!(all(turned).len(), 2);
}

/// Kernels count in 32 bits: what they make on their way, and may be more, is listed.
#[test]
fn what_is_in_memory_nowhere_is_counted() {
    let counts = |graph: &str| -> Vec<String> {
        let launches = compiled(graph, Math::F32).launches;
        launches.into_iter().flat_map(|launch| launch.counts).map(|count| count.to_string()).collect()
    };
    let terms = counts(
        "%0 = input \"x\" : f32[b, n]\n%1 = input \"v\" : f32[b, m]\n%2 = broadcast %0 {axes=[0, 1]} : f32[b, n, m]\n\
         %3 = broadcast %1 {axes=[0, 2]} : f32[b, n, m]\n%4 = sub %2, %3 : f32[b, n, m]\n\
         %5 = reduce_sum %4 {axes=[1, 2]} : f32[b]\noutput \"y\" = %5",
    );
    assert!(terms.contains(&"m*n".to_string()), "{terms:?}");
    let pairs = "%0 = input \"x\" : f32[n]\n%1 = input \"v\" : f32[m]\n%2 = broadcast %0 {axes=[0]} : f32[n, m]\n\
                 %3 = broadcast %1 {axes=[1]} : f32[n, m]\n%4 = sub %2, %3 : f32[n, m]\n";
    // What is in memory is looked at there.
    let stored = counts(&format!("{pairs}output \"y\" = %4"));
    assert!(!stored.contains(&"m*n".to_string()), "{stored:?}");
    let operand = format!(
        "{pairs}%5 = input \"w\" : f32[m, 2]\n%6 = contract %4, %5 {{batch=[], sum=[(1, 0)]}} : f32[n, 2]\noutput \"y\" = %6"
    );
    let made = counts(&operand);
    assert_eq!(compiled(&operand, Math::F32).functions.len(), 1, "the operand is made on the way");
    assert!(made.contains(&"m*n".to_string()), "{made:?}");
    let random = "%0 = input \"state\" : i64[2]\n%1 = random %0 {distribution=uniform, key=\"net.noise\"} : f32[n, m]\n\
                  %2 = reduce_sum %1 {axes=[1]} : f32[n]\noutput \"y\" = %2";
    let drawn = counts(random);
    assert!(drawn.contains(&"m*n".to_string()), "{drawn:?}");
    // What has less is worth no test.
    let few =
        counts("%0 = input \"x\" : f32[40, 50]\n%1 = reduce_sum %0 {axes=[1]} : f32[40]\noutput \"y\" = %1");
    assert!(few.is_empty(), "{few:?}");
}

/// Along y a grid has few blocks: what may be more is along x.
#[test]
fn blocks_of_any_number_are_along_x() {
    let grid =
        |graph: &str| compiled(graph, Math::F32).launches[0].grid.clone().map(|blocks| blocks.to_string());
    let product =
        |cols: &str| grid(&product(64, "n, 3", &format!("3, {cols}"), &format!("n, {cols}"), "(1, 0)"));
    assert_eq!(product("640")[1], "10");
    assert_eq!(product("c")[1], "1");
    assert_eq!(product("10000000")[1], "1");
    let scattered = "%0 = input \"x\" : f32[n, c]\n%1 = input \"i\" : i32[n]\n\
                     %2 = scatter_add %0, %1 {axis=0} : f32[1000, c]  // Net.embed'\noutput \"y\" = %2";
    assert_eq!(grid(scattered)[1], "1");
}

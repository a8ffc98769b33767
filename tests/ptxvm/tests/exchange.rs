//! What threads tell each other: exchanges of a warp, barriers that count, atomic operations; and memory of all kinds.

use ptxvm::gpu::{Argument, Gpu};

/// Runs a body on one block; each thread leaves a word in `%r0`, which is returned for all of them.
fn run(threads: u32, seed: u64, body: &str) -> Vec<u32> {
    let text = format!(
        ".version 9.0\n.target sm_90\n.address_size 64\n.const .align 4 .u32 table[4] = {{5, 6, 7, 8}};\n\
         .visible .entry k(.param .u64 out, .param .align 4 .b8 list[16]) {{
            .reg .b64 %d<8>; .reg .b32 %r<16>; .reg .b16 %h<8>; .reg .pred %p<8>; .reg .f32 %f<8>;
            .shared .align 16 .b8 memory[1024]; .local .align 8 .b8 own[64];
            mov.u32 %r1, %tid.x; mov.u32 %r2, %laneid; mov.u32 %r0, 0;
            {body}
            ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2;
            st.global.u32 [%d1], %r0;
            ret;
        }}\n"
    );
    let mut gpu = Gpu::default();
    gpu.limits.seed = seed;
    let module = gpu.load(&text).unwrap();
    let out = gpu.upload(&vec![0u32; threads as usize]);
    let list = [10u32, 20, 30, 40].iter().flat_map(|x| x.to_le_bytes()).collect();
    let arguments = [Argument::U64(out), Argument::Bytes(list)];
    gpu.launch(&module.kernels["k"], [1, 1, 1], [threads, 1, 1], 0, &arguments)
        .unwrap_or_else(|r| panic!("{r}"));
    gpu.download(out, threads as usize)
}

/// What each thread must leave.
fn leaves(threads: u32, body: &str, wanted: impl Fn(u32) -> u32) {
    for seed in [0, 5] {
        let wanted: Vec<u32> = (0..threads).map(&wanted).collect();
        assert_eq!(run(threads, seed, body), wanted, "{body}");
    }
}

#[test]
fn shuffles() {
    let all = "mul.lo.u32 %r3, %r1, 10;";
    leaves(64, &format!("{all} shfl.sync.bfly.b32 %r0, %r3, 5, 31, -1;"), |t| (t ^ 5) * 10);
    leaves(64, &format!("{all} shfl.sync.idx.b32 %r0, %r3, 7, 31, -1;"), |t| (t / 32 * 32 + 7) * 10);
    leaves(32, &format!("{all} shfl.sync.down.b32 %r0, %r3, 3, 31, -1;"), |t| {
        10 * if t + 3 < 32 { t + 3 } else { t }
    });
    leaves(32, &format!("{all} shfl.sync.up.b32 %r0, %r3, 3, 0, -1;"), |t| {
        10 * if t >= 3 { t - 3 } else { t }
    });
    // In segments of eight: the mask of segments is 0x18, and the clamp 7 or 0.
    leaves(32, &format!("{all} shfl.sync.down.b32 %r0, %r3, 3, 0x1807, -1;"), |t| {
        10 * if t % 8 + 3 < 8 { t + 3 } else { t }
    });
    leaves(32, &format!("{all} shfl.sync.idx.b32 %r0, %r3, 9, 0x1807, -1;"), |t| (t / 8 * 8 + 1) * 10);
    leaves(
        32,
        &format!("{all} shfl.sync.up.b32 %r0|%p1, %r3, 2, 0x1800, -1; selp.b32 %r0, %r0, 999, %p1;"),
        |t| if t % 8 >= 2 { (t - 2) * 10 } else { 999 },
    );
}

#[test]
fn shuffles_of_parts_of_a_warp_while_others_are_elsewhere_or_gone() {
    // The lower half exchanges among itself, the upper half has another place to do so, and lanes 24 to 31 have left.
    let body = "
        setp.ge.u32 %p1, %r2, 24; @%p1 bra END;
        setp.ge.u32 %p2, %r2, 16; @%p2 bra UPPER;
        shfl.sync.bfly.b32 %r0, %r1, 1, 31, 0x0000ffff; bra.uni END;
        UPPER: shfl.sync.bfly.b32 %r0, %r1, 2, 31, 0xffff0000;
        END: add.s32 %r0, %r0, 1;";
    // Lanes that left before are not waited for only when they have exited.
    leaves(32, &body.replace("@%p1 bra END", "@%p1 ret"), |t| match t {
        0..16 => (t ^ 1) + 1,
        16..24 => (t ^ 2) + 1,
        _ => 0,
    });
    // Each group of eight has its own mask, all in one instruction.
    let body = "
        shr.u32 %r3, %r2, 3; shl.b32 %r3, %r3, 3; mov.u32 %r4, 255; shl.b32 %r4, %r4, %r3;
        shfl.sync.bfly.b32 %r0, %r1, 4, 0x1f, %r4; vote.sync.ballot.b32 %r5, 1, %r4; xor.b32 %r0, %r0, %r5;";
    leaves(32, body, |t| (t ^ 4) ^ (255 << (t / 8 * 8)));
}

#[test]
fn votes_matches_and_reductions() {
    let odd = "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0;";
    leaves(32, &format!("{odd} vote.sync.ballot.b32 %r0, %p1, -1;"), |_| 0xaaaa_aaaa);
    leaves(32, &format!("{odd} vote.sync.ballot.b32 %r0, !%p1, -1;"), |_| 0x5555_5555);
    leaves(32, &format!("{odd} vote.sync.any.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;"), |_| 1);
    leaves(32, &format!("{odd} vote.sync.all.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;"), |_| 0);
    leaves(32, &format!("{odd} vote.sync.uni.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;"), |_| 0);
    leaves(20, "activemask.b32 %r0;", |_| 0xf_ffff);
    leaves(32, "shr.u32 %r3, %r1, 2; match.any.sync.b32 %r0, %r3, -1;", |t| 15 << (t / 4 * 4));
    leaves(32, "mov.u32 %r3, 7; match.all.sync.b32 %r0|%p1, %r3, -1; @!%p1 mov.u32 %r0, 1;", |_| u32::MAX);
    leaves(32, "match.all.sync.b32 %r0|%p1, %r1, -1; @!%p1 add.s32 %r0, %r0, 3;", |_| 3);
    leaves(32, "redux.sync.add.s32 %r0, %r1, -1;", |_| 31 * 16);
    leaves(32, "redux.sync.max.u32 %r0, %r1, -1;", |_| 31);
    leaves(32, "sub.s32 %r3, 3, %r1; redux.sync.min.s32 %r0, %r3, -1;", |_| -28i32 as u32);
    leaves(32, "redux.sync.xor.b32 %r0, %r1, -1;", |_| 0);
    leaves(32, "elect.sync _|%p1, -1; selp.b32 %r0, 1, 0, %p1;", |t| u32::from(t == 0));
}

#[test]
fn barriers_that_count_and_reduce() {
    let odd = "and.b32 %r3, %r1, 3; setp.eq.u32 %p1, %r3, 0;";
    leaves(96, &format!("{odd} bar.red.popc.u32 %r0, 0, %p1;"), |_| 24);
    leaves(96, &format!("{odd} barrier.red.popc.aligned.u32 %r0, 0, !%p1;"), |_| 72);
    leaves(96, &format!("{odd} bar.red.and.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), |_| 0);
    leaves(96, &format!("{odd} bar.red.or.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), |_| 1);
    // One warp makes a number, another takes it: the first does not wait.
    let body = "
        mov.u32 %r5, memory; setp.ge.u32 %p1, %r1, 32; @%p1 bra TAKE;
        shl.b32 %r3, %r1, 2; add.s32 %r5, %r5, %r3; add.s32 %r4, %r1, 100; st.shared.u32 [%r5], %r4;
        bar.arrive 1, 64; bra.uni END;
        TAKE: bar.sync 1, 64; sub.s32 %r3, 63, %r1; shl.b32 %r3, %r3, 2; add.s32 %r5, %r5, %r3;
        ld.shared.u32 %r0, [%r5];
        END: bar.sync 0;";
    leaves(64, body, |t| if t < 32 { 0 } else { 100 + 63 - t });
}

#[test]
fn atomic_operations_of_all_kinds() {
    // All threads change one word of shared memory, and read it after a barrier.
    let of = |op: &str, start: &str| {
        format!(
            "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [memory], {start}; bar.sync 0;
             add.s32 %r3, %r1, 1; red.shared.{op} [memory], %r3; bar.sync 0; ld.shared.u32 %r0, [memory];"
        )
    };
    leaves(64, &of("add.u32", "5"), |_| 5 + 64 * 65 / 2);
    leaves(64, &of("min.s32", "-7"), |_| -7i32 as u32);
    leaves(64, &of("min.u32", "-7"), |_| 1);
    leaves(64, &of("max.s32", "-7"), |_| 64);
    leaves(64, &of("and.b32", "0xf00"), |_| 0);
    leaves(64, &of("or.b32", "0x100"), |_| 0x17f);
    leaves(64, &of("xor.b32", "0x100"), |_| 0x140);
    leaves(64, &of("inc.u32", "0"), |_| (0..64).fold(0, |v, _| v + 1));
    // Every thread gets a value of its own by exchange; together they are all.
    let body = "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [memory], 0; bar.sync 0;
        atom.shared.add.u32 %r0, [memory], 1;";
    let mut tickets = run(64, 3, body);
    tickets.sort_unstable();
    assert_eq!(tickets, (0..64).collect::<Vec<_>>());
    // Compare and swap: one thread wins.
    let body = "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [memory], 0; bar.sync 0;
        add.s32 %r3, %r1, 1; atom.shared.cas.b32 %r4, [memory], 0, %r3; setp.eq.u32 %p1, %r4, 0; selp.b32 %r0, 1, 0, %p1;";
    assert_eq!(run(64, 3, body).iter().sum::<u32>(), 1);
    // Vectors and pairs in device memory, where the results are.
    let body = "ld.param.u64 %d1, [out]; mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f40000000;
        setp.lt.u32 %p1, %r1, 3; @%p1 red.global.add.v2.f32 [%d1], {%f1, %f2};
        mov.u32 %r3, 0x3f804000; @%p1 red.global.add.noftz.bf16x2 [%d1+8], %r3; bar.sync 0;
        shl.b32 %r3, %r1, 2; cvt.u64.u32 %d2, %r3; add.s64 %d1, %d1, %d2; ld.global.u32 %r0, [%d1];";
    // Three times 1 and 2; three times bf16's 2 below and 1 above.
    leaves(4, body, |t| [3f32.to_bits(), 6f32.to_bits(), 0x4040_40c0, 0][t as usize]);
}

#[test]
fn memory_of_all_kinds() {
    // Constants, parameters by index, local memory, and generic addresses of each.
    let index = "and.b32 %r3, %r1, 3; shl.b32 %r3, %r3, 2; cvt.u64.u32 %d3, %r3;";
    leaves(8, &format!("{index} mov.u64 %d4, table; add.s64 %d4, %d4, %d3; ld.const.u32 %r0, [%d4];"), |t| {
        5 + t % 4
    });
    leaves(8, &format!("{index} mov.b64 %d4, list; add.s64 %d4, %d4, %d3; ld.param.u32 %r0, [%d4];"), |t| {
        10 + 10 * (t % 4)
    });
    leaves(8, "ld.param.v2.u32 {%r3, %r0}, [list+8];", |_| 40);
    leaves(
        8,
        "st.local.v2.u32 [own+8], {%r1, 77}; ld.local.u32 %r0, [own+12]; ld.local.u32 %r3, [own+8]; add.s32 %r0, %r0, %r3;",
        |t| 77 + t,
    );
    leaves(
        8,
        "mov.u64 %d4, own; cvta.local.u64 %d4, %d4; st.u32 [%d4+4], %r1; ld.u32 %r0, [%d4+4]; cvta.to.local.u64 %d5, %d4; ld.local.u32 %r3, [%d5+4]; add.s32 %r0, %r0, %r3;",
        |t| 2 * t,
    );
    // Lanes of one instruction in shared and in local memory.
    leaves(
        32,
        "mov.u64 %d4, own; cvta.local.u64 %d4, %d4; mov.u64 %d5, memory; cvta.shared.u64 %d5, %d5; mul.wide.u32 %d6, %r1, 4; add.s64 %d5, %d5, %d6;
         and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0; selp.b64 %d4, %d5, %d4, %p1; st.u32 [%d4], %r1; ld.u32 %r0, [%d4];
         isspacep.shared %p2, %d4; @%p2 add.s32 %r0, %r0, 1000;",
        |t| if t % 2 == 1 { 1000 + t } else { t },
    );
    // Narrow elements with and without signs, and vectors of them.
    leaves(
        4,
        "mul.lo.u32 %r3, %r1, 8; mov.u32 %r4, memory; add.s32 %r4, %r4, %r3; st.shared.u32 [%r4], 0x80ff7f01; st.shared.u32 [%r4+4], 0xfffe8000;
         ld.shared.s8 %r5, [%r4+2]; ld.shared.u8 %r6, [%r4+3]; ld.shared.s16 %r7, [%r4+6]; ld.shared.v4.u8 {%r8, %r9, _, %r10}, [%r4];
         add.s32 %r0, %r5, %r6; add.s32 %r0, %r0, %r7; add.s32 %r0, %r0, %r8; add.s32 %r0, %r0, %r9; add.s32 %r0, %r0, %r10;",
        |_| (-1 + 128 - 2 + 1 + 127 + 128) as u32,
    );
    leaves(
        4,
        "mul.lo.u32 %r3, %r1, 16; mov.u32 %r4, memory; add.s32 %r4, %r4, %r3; mov.u64 %d4, 0x100000002; st.shared.v2.u64 [%r4], {%d4, 7}; ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r4];
         mul.lo.s32 %r0, %r5, 1000; mad.lo.s32 %r0, %r6, 100, %r0; mad.lo.s32 %r0, %r7, 10, %r0; add.s32 %r0, %r0, %r8;",
        |_| 2170,
    );
}

#[test]
fn asynchronous_copies_fill_with_zeros_and_come_in_groups() {
    let body = "
        ld.param.u64 %d1, [out]; shl.b32 %r3, %r1, 2; cvt.u64.u32 %d2, %r3; add.s64 %d1, %d1, %d2; add.s32 %r4, %r1, 50; st.global.u32 [%d1], %r4;
        mov.u32 %r5, memory; add.s32 %r5, %r5, %r3; and.b32 %r6, %r1, 1; shl.b32 %r6, %r6, 2;
        cp.async.ca.shared.global [%r5], [%d1], 4; cp.async.commit_group;
        cp.async.ca.shared.global [%r5+256], [%d1], 4, %r6; cp.async.commit_group;
        cp.async.wait_group 1; ld.shared.u32 %r7, [%r5]; cp.async.wait_all; ld.shared.u32 %r8, [%r5+256]; mad.lo.s32 %r0, %r7, 1000, %r8;";
    leaves(32, body, |t| (50 + t) * 1000 + if t % 2 == 1 { 50 + t } else { 0 });
}

#[test]
fn matrices_are_stored_as_they_are_loaded() {
    // A tile of 8 × 8 is stored from fragments, transposed, and read row by row.
    let body = "
        mov.u32 %r3, memory; and.b32 %r4, %r1, 7; shl.b32 %r4, %r4, 4; add.s32 %r4, %r3, %r4;
        mul.lo.u32 %r5, %r1, 2; add.s32 %r6, %r5, 1; shl.b32 %r6, %r6, 16; or.b32 %r5, %r5, %r6;
        stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r4], {%r5}; bar.warp.sync -1;
        ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}, [%r4];";
    // Element (r, c) of what was given is 8 r + c; lane t reads row t / 4, columns 2 (t % 4) and the next, transposed.
    leaves(32, body, |t| {
        let (row, column) = (t / 4, 2 * (t % 4));
        (8 * column + row) | (8 * (column + 1) + row) << 16
    });
}

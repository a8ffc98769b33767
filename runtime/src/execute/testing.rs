//! Small programs written by hand, for tests: a builder for entries, and a few functions of machine code.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::program::*;

/// The system's allocator, counting what this thread asks for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often this thread has asked for memory.
pub fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

/// Machine code for x86-64, each function 16-byte aligned.
pub fn code() -> Code {
    let functions: [&[u8]; 5] = [
        // 0: out[i] = i + dims[0], i32.
        &[
            0x48, 0x8b, 0x07, //             mov rax, [rdi]
            0x4c, 0x8b, 0x0e, //             mov r9, [rsi]
            0x4c, 0x39, 0xc1, //       next: cmp rcx, r8
            0x7d, 0x0d, //                   jge done
            0x4d, 0x8d, 0x14, 0x09, //       lea r10, [r9 + rcx]
            0x44, 0x89, 0x14, 0x88, //       mov [rax + rcx*4], r10d
            0x48, 0xff, 0xc1, //             inc rcx
            0xeb, 0xee, //                   jmp next
            0xc3, //                   done: ret
        ],
        // 1: x[0] += dims[0], f32.
        &[
            0x48, 0x8b, 0x07, //             mov rax, [rdi]
            0xc4, 0xe1, 0xfa, 0x2a, 0x06, // vcvtsi2ss xmm0, xmm0, qword [rsi]
            0xc5, 0xfa, 0x58, 0x00, //       vaddss xmm0, xmm0, [rax]
            0xc5, 0xfa, 0x11, 0x00, //       vmovss [rax], xmm0
            0xc3, //                         ret
        ],
        // 2: out[0] = x[0] / y[0], f32.
        &[
            0x48, 0x8b, 0x07, //             mov rax, [rdi]
            0x48, 0x8b, 0x4f, 0x08, //       mov rcx, [rdi + 8]
            0x48, 0x8b, 0x57, 0x10, //       mov rdx, [rdi + 16]
            0xc5, 0xfa, 0x10, 0x00, //       vmovss xmm0, [rax]
            0xc5, 0xfa, 0x5e, 0x01, //       vdivss xmm0, xmm0, [rcx]
            0xc5, 0xfa, 0x11, 0x02, //       vmovss [rdx], xmm0
            0xc3, //                         ret
        ],
        // 3: sum[0] += x[0]², f32.
        &[
            0x48, 0x8b, 0x07, //             mov rax, [rdi]
            0x48, 0x8b, 0x57, 0x08, //       mov rdx, [rdi + 8]
            0xc5, 0xfa, 0x10, 0x02, //       vmovss xmm0, [rdx]
            0xc5, 0xfa, 0x59, 0xc0, //       vmulss xmm0, xmm0, xmm0
            0xc5, 0xfa, 0x58, 0x00, //       vaddss xmm0, xmm0, [rax]
            0xc5, 0xfa, 0x11, 0x00, //       vmovss [rax], xmm0
            0xc3, //                         ret
        ],
        // 4: sum[0] += x[i], where sum is f32 and x is i32.
        &[
            0x48, 0x8b, 0x07, //             mov rax, [rdi]
            0x48, 0x8b, 0x57, 0x08, //       mov rdx, [rdi + 8]
            0xc5, 0xfa, 0x10, 0x00, //       vmovss xmm0, [rax]
            0x4c, 0x39, 0xc1, //       next: cmp rcx, r8
            0x7d, 0x0e, //                   jge done
            0xc5, 0xf2, 0x2a, 0x0c, 0x8a, // vcvtsi2ss xmm1, xmm1, dword [rdx + rcx*4]
            0xc5, 0xfa, 0x58, 0xc1, //       vaddss xmm0, xmm0, xmm1
            0x48, 0xff, 0xc1, //             inc rcx
            0xeb, 0xed, //                   jmp next
            0xc5, 0xfa, 0x11, 0x00, // done: vmovss [rax], xmm0
            0xc3, //                         ret
        ],
    ];
    let mut code = Code { arch: "x86_64".into(), ..Code::default() };
    for function in functions {
        code.bytes.resize(code.bytes.len().next_multiple_of(16), 0xcc);
        code.functions.push(code.bytes.len() as u32);
        code.bytes.extend_from_slice(function);
    }
    code
}

/// `out[i] = i + dims[0]`
pub const COUNT_UP: u32 = 0;
/// `x[0] += dims[0]`
pub const ADD_TO: u32 = 1;
/// `out[0] = x[0] / y[0]`
pub const DIVIDE: u32 = 2;
/// `sum[0] += x[0]²`
pub const ADD_SQUARE: u32 = 3;
/// `sum[0] += x[i]`
pub const ADD_ALL: u32 = 4;

/// Builds an entry piece by piece.
#[derive(Debug, Default)]
pub struct Builder(pub Entry);

impl Builder {
    pub fn new(name: &str, symbols: &[&str]) -> Builder {
        Builder(Entry {
            name: name.into(),
            symbols: symbols.iter().map(|s| s.to_string()).collect(),
            ..Entry::default()
        })
    }

    pub fn dim(&mut self, expr: DimExpr) -> DimIndex {
        self.0.dims.push(expr);
        DimIndex(self.0.dims.len() as u32 - 1)
    }

    pub fn constant(&mut self, value: i64) -> DimIndex {
        self.dim(DimExpr::Constant(value))
    }

    pub fn buffer(&mut self, dtype: DType, elements: DimIndex, storage: Storage) -> BufferIndex {
        self.0.buffers.push(Buffer { dtype, elements, storage });
        BufferIndex(self.0.buffers.len() as u32 - 1)
    }

    /// An input with its own buffer.
    pub fn input(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[DimIndex],
        source: InputSource,
    ) -> BufferIndex {
        let elements = shape.iter().copied().reduce(|a, b| self.dim(DimExpr::Mul(a, b)));
        let elements = elements.unwrap_or_else(|| self.constant(1));
        let buffer = self.buffer(dtype, elements, Storage::Arena { first: 0, last: 0 });
        self.0.inputs.push(Input { name: name.into(), dtype, shape: shape.to_vec(), source, buffer });
        buffer
    }

    pub fn output(&mut self, name: &str, shape: &[DimIndex], buffer: BufferIndex) {
        let dtype = self.0.buffers[buffer.0 as usize].dtype;
        self.0.outputs.push(Output { name: name.into(), dtype, shape: shape.to_vec(), buffer });
    }

    pub fn launch(&mut self, kernel: Kernel, per_unit: DimIndex, buffers: &[BufferIndex]) -> Launch {
        let zero = self.constant(0);
        Launch {
            kernel,
            per_unit,
            buffers: buffers
                .iter()
                .map(|&buffer| BufferSlice { buffer, offset: None, advance: Vec::new(), block: false })
                .collect(),
            ahead: false,
            path: format!("{}.{}", self.0.name, self.0.segments.len()),
            place: Place { line: 7, ..Place::default() },
            flops: zero,
            bytes: zero,
        }
    }

    pub fn segment(&mut self, units: DimIndex, grain: i64, launches: Vec<Launch>) {
        let grain = self.constant(grain);
        let steps = launches.into_iter().map(Step::Launch).collect();
        self.0.segments.push(Segment { units, grain, steps, follows: false });
    }

    /// A segment of a single nest that runs once.
    pub fn nest(&mut self, function: u32, dims: &[DimIndex], buffers: &[BufferIndex]) {
        let one = self.constant(1);
        let launch = self.launch(Kernel::Nest { function, dims: dims.to_vec() }, one, buffers);
        self.segment(one, 1, vec![launch]);
    }
}

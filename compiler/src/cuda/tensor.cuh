// Products of matrices on tensor cores: the tiles of matrix.cuh with operands rounded to tf32 or bf16, and sums in f32.
//
// Tiles lie in shared memory as their operand does, along k or across it. So that neither those who bring a tile nor those who read its fragments
// meet in a bank, pieces of 16 bytes are exchanged within a short line (swizzled), and long lines lie a piece further apart.

// Begins to copy 4 bytes to shared memory, or a zero.
__device__ __forceinline__ void copy_async_one(void* to, const void* from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
        :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(there ? 4 : 0) : "memory");
}

// Four matrices of 8 lines of 16 bytes: thread i names line i % 8 of matrix i / 8, and has 4 bytes of each: number i % 4 of line i / 4.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"((unsigned)__cvta_generic_to_shared(line)));
}
// The same with each matrix of 8 by 8 numbers of 16 bits turned round.
__device__ __forceinline__ void load_matrices_turned(unsigned (&to)[4], const void* line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"((unsigned)__cvta_generic_to_shared(line)));
}

__device__ __forceinline__ unsigned round_to_tf32(unsigned bits) {
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
}
// Two floats as bf16, the first one below.
__device__ __forceinline__ unsigned round_to_bf16(float low, float high) {
    unsigned rounded;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(rounded) : "f"(high), "f"(low));
    return rounded;
}

// c += a b, for 16 by 8 elements of c, and 8 (tf32) or 16 (bf16) along k.
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void multiply_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// One operand's tile in tf32, or rather in f32 until its fragments are read: EXTENT rows (or columns) by 16 along k.
template <int EXTENT, int THREADS, Lie LIE, class T>
struct TensorTf32 {
    static constexpr int DEPTH = 16;
    static constexpr bool ALONG = LIE == ALONG_K || LIE == ALONG_K_4;
    static constexpr int WIDTH = LIE == ALONG_K_4 || LIE == ACROSS_K_4 ? 4 : 1;
    static constexpr int VECTORS = EXTENT * DEPTH / WIDTH, COUNT = VECTORS / THREADS;
    static_assert(VECTORS % THREADS == 0, "");
    // Of one stage.
    static constexpr int SIZE = ALONG ? EXTENT * DEPTH : (EXTENT + 8) * DEPTH;

    // Where an element lies in a tile.
    __device__ __forceinline__ static int lies(int row, int k) {
        return ALONG ? row * DEPTH + (k / 4 ^ row / 2 % 4) * 4 + k % 4 : k * (EXTENT + 8) + row;
    }

    template <class At>
    __device__ __forceinline__ static void fetch(float* tile, const T* from, At at, int row0, int rows, int k0, int k_end) {
        #pragma unroll
        for (int number = 0; number < COUNT; ++number) {
            const int vector = threadIdx.x + number * THREADS;
            const int row = ALONG ? vector / (DEPTH / WIDTH) : vector % (EXTENT / WIDTH) * WIDTH;
            const int k = ALONG ? vector % (DEPTH / WIDTH) * WIDTH : vector / (EXTENT / WIDTH);
            Place source = at(row0 + row, k0 + k);
            source.there = source.there && row0 + row < rows && k0 + k < k_end;
            float* to = &tile[lies(row, k)];
            if constexpr (!is_float<T>) {
                float values[WIDTH];
                load<WIDTH>(values, from, source.at, source.there);
                store<WIDTH>(to, values);
            } else if constexpr (WIDTH == 4) {
                copy_async(to, from + (source.there ? source.at : 0), source.there);
            } else {
                copy_async_one(to, from + (source.there ? source.at : 0), source.there);
            }
        }
    }

    // 16 rows by 8 along k, in the order in which the product takes them as A; as B they are two columns of 8, numbers 0 and 2, 1 and 3.
    __device__ __forceinline__ static void fragment(unsigned (&to)[4], const float* tile, int row, int k) {
        const int lane = threadIdx.x % 32;
        if constexpr (ALONG) {
            load_matrices(to, &tile[lies(row + lane % 16, k + lane / 16 * 4)]);
        } else {
            #pragma unroll
            for (int i = 0; i < 4; ++i) to[i] = __float_as_uint(tile[lies(row + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4)]);
        }
        #pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = round_to_tf32(to[i]);
    }
};

// The same in bf16. It is rounded on its way to shared memory, and so held in registers between.
template <int EXTENT, int THREADS, Lie LIE, class T>
struct TensorBf16 {
    static constexpr int DEPTH = 16;
    static constexpr bool ALONG = LIE == ALONG_K || LIE == ALONG_K_4;
    static constexpr int WIDTH = LIE == ALONG_K_4 || LIE == ACROSS_K_4 ? 4 : 1;
    static constexpr int VECTORS = EXTENT * DEPTH / WIDTH, COUNT = VECTORS / THREADS;
    static_assert(VECTORS % THREADS == 0, "");
    typedef unsigned short Tile[ALONG ? EXTENT * DEPTH : (EXTENT + 8) * DEPTH];

    // Vectors are held as pairs; single ones alone.
    unsigned held[COUNT][WIDTH == 4 ? 2 : 1];

    __device__ __forceinline__ static int lies(int row, int k) {
        return ALONG ? row * DEPTH + (k / 8 ^ row / 4 % 2) * 8 + k % 8 : k * (EXTENT + 8) + row;
    }
    __device__ __forceinline__ static int row(int number) {
        const int vector = threadIdx.x + number * THREADS;
        return ALONG ? vector / (DEPTH / WIDTH) : vector % (EXTENT / WIDTH) * WIDTH;
    }
    __device__ __forceinline__ static int along(int number) {
        const int vector = threadIdx.x + number * THREADS;
        return ALONG ? vector % (DEPTH / WIDTH) * WIDTH : vector / (EXTENT / WIDTH);
    }

    template <class At>
    __device__ __forceinline__ void fetch(const T* from, At at, int row0, int rows, int k0, int k_end) {
        #pragma unroll
        for (int number = 0; number < COUNT; ++number) {
            const Place source = at(row0 + row(number), k0 + along(number));
            float values[WIDTH];
            load<WIDTH>(values, from, source.at, source.there && row0 + row(number) < rows && k0 + along(number) < k_end);
            if constexpr (WIDTH == 4) {
                held[number][0] = round_to_bf16(values[0], values[1]);
                held[number][1] = round_to_bf16(values[2], values[3]);
            } else {
                held[number][0] = round_to_bf16(values[0], 0.0f);
            }
        }
    }

    __device__ __forceinline__ void put(Tile& tile) const {
        #pragma unroll
        for (int number = 0; number < COUNT; ++number) {
            unsigned short* to = &tile[lies(row(number), along(number))];
            if constexpr (WIDTH == 4) *(uint2*)to = make_uint2(held[number][0], held[number][1]);
            else *to = (unsigned short)held[number][0];
        }
    }

    // 16 rows by 16 along k, as above.
    __device__ __forceinline__ static void fragment(unsigned (&to)[4], const Tile& tile, int row, int k) {
        const int lane = threadIdx.x % 32;
        if constexpr (ALONG) {
            load_matrices(to, &tile[lies(row + lane % 16, k + lane / 16 * 8)]);
        } else {
            load_matrices_turned(to, &tile[lies(row + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8)]);
        }
    }
};

// A warp's part of a tile of C: 16 * HIGH rows by 16 * WIDE columns, in fragments of 16 by 8.
template <int HIGH, int WIDE>
struct WarpTile {
    float sum[HIGH][2 * WIDE][4] = {};

    // Calls put(m, n, values) for the elements of C that this thread has, for the warp's corner at (m0, n0).
    template <int WIDTH, class Put>
    __device__ __forceinline__ void store(int m0, int m_end, int n0, int n_end, Put put) const {
        const int lane = threadIdx.x % 32;
        #pragma unroll
        for (int i = 0; i < HIGH; ++i) {
            #pragma unroll
            for (int j = 0; j < 2 * WIDE; ++j) {
                const float (&c)[4] = sum[i][j];
                if constexpr (WIDTH == 4) {
                    // Two neighbours exchange halves: one has four columns of a row, the other those of the row 8 below.
                    const bool below = lane % 2;
                    const float x = __shfl_xor_sync(0xffffffff, below ? c[0] : c[2], 1), y = __shfl_xor_sync(0xffffffff, below ? c[1] : c[3], 1);
                    const float values[4] = {below ? x : c[0], below ? y : c[1], below ? c[2] : x, below ? c[3] : y};
                    const int m = m0 + 16 * i + lane / 4 + (below ? 8 : 0), n = n0 + 8 * j + lane % 4 / 2 * 4;
                    if (m < m_end && n < n_end) put(m, n, values);
                } else {
                    #pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const int m = m0 + 16 * i + lane / 4 + e / 2 * 8, n = n0 + 8 * j + lane % 4 * 2 + e % 2;
                        if (m < m_end && n < n_end) put(m, n, &c[e]);
                    }
                }
            }
        }
    }
};

// A tile of C: WARPS_M by WARPS_N warps, each with 16 * HIGH rows by 16 * WIDE columns.
template <int HIGH, int WIDE, int WARPS_M, int WARPS_N>
struct TileTf32 {
    static constexpr int M = 16 * HIGH * WARPS_M, N = 16 * WIDE * WARPS_N, K = 16, STAGES = 3;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;

    WarpTile<HIGH, WIDE> part;

    __device__ __forceinline__ static int row() { return threadIdx.x / 32 % WARPS_M * (16 * HIGH); }
    __device__ __forceinline__ static int column() { return threadIdx.x / 32 / WARPS_M * (16 * WIDE); }

    // While one stage is multiplied, the next ones are on their way.
    template <Lie LIE_A, Lie LIE_B, class A, class B, class AtA, class AtB>
    __device__ __forceinline__ void multiply(
        const A* a, AtA a_at, int m0, int m_end, const B* b, AtB b_at, int n0, int n_end, int k_begin, int k_end) {
        typedef TensorTf32<M, THREADS, LIE_A, A> TensorA;
        typedef TensorTf32<N, THREADS, LIE_B, B> TensorB;
        extern __shared__ __align__(128) char shared_memory[];
        float* a_tiles = (float*)shared_memory;
        float* b_tiles = a_tiles + STAGES * TensorA::SIZE;
        #pragma unroll
        for (int stage = 0; stage < STAGES - 1; ++stage) {
            TensorA::fetch(a_tiles + stage * TensorA::SIZE, a, a_at, m0, m_end, k_begin + stage * K, k_end);
            TensorB::fetch(b_tiles + stage * TensorB::SIZE, b, b_at, n0, n_end, k_begin + stage * K, k_end);
            copies_grouped();
        }
        int now = 0, next = STAGES - 1;
        for (int k0 = k_begin; k0 < k_end; k0 += K) {
            copies_done<STAGES - 2>();
            __syncthreads();
            if (k0 + (STAGES - 1) * K < k_end) {
                TensorA::fetch(a_tiles + next * TensorA::SIZE, a, a_at, m0, m_end, k0 + (STAGES - 1) * K, k_end);
                TensorB::fetch(b_tiles + next * TensorB::SIZE, b, b_at, n0, n_end, k0 + (STAGES - 1) * K, k_end);
            }
            copies_grouped();
            #pragma unroll
            for (int k = 0; k < K; k += 8) {
                unsigned x[HIGH][4], y[WIDE][4];
                #pragma unroll
                for (int i = 0; i < HIGH; ++i) TensorA::fragment(x[i], a_tiles + now * TensorA::SIZE, row() + 16 * i, k);
                #pragma unroll
                for (int j = 0; j < WIDE; ++j) TensorB::fragment(y[j], b_tiles + now * TensorB::SIZE, column() + 16 * j, k);
                #pragma unroll
                for (int i = 0; i < HIGH; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 2 * WIDE; ++j) {
                        const unsigned two[2] = {y[j / 2][j % 2], y[j / 2][j % 2 + 2]};
                        multiply_tf32(part.sum[i][j], x[i], two);
                    }
                }
            }
            now = now + 1 == STAGES ? 0 : now + 1;
            next = next + 1 == STAGES ? 0 : next + 1;
        }
    }

    template <int WIDTH, class Put>
    __device__ __forceinline__ void store(int m0, int m_end, int n0, int n_end, Put put) const {
        part.template store<WIDTH>(m0 + row(), m_end, n0 + column(), n_end, put);
    }
};

// The same in bf16.
template <int HIGH, int WIDE, int WARPS_M, int WARPS_N>
struct TileBf16 {
    static constexpr int M = 16 * HIGH * WARPS_M, N = 16 * WIDE * WARPS_N, K = 16;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;

    WarpTile<HIGH, WIDE> part;

    __device__ __forceinline__ static int row() { return threadIdx.x / 32 % WARPS_M * (16 * HIGH); }
    __device__ __forceinline__ static int column() { return threadIdx.x / 32 / WARPS_M * (16 * WIDE); }

    template <Lie LIE_A, Lie LIE_B, class A, class B, class AtA, class AtB>
    __device__ __forceinline__ void multiply(
        const A* a, AtA a_at, int m0, int m_end, const B* b, AtB b_at, int n0, int n_end, int k_begin, int k_end) {
        typedef TensorBf16<M, THREADS, LIE_A, A> TensorA;
        typedef TensorBf16<N, THREADS, LIE_B, B> TensorB;
        __shared__ __align__(128) typename TensorA::Tile a_tiles[2];
        __shared__ __align__(128) typename TensorB::Tile b_tiles[2];
        TensorA a_share;
        TensorB b_share;
        a_share.fetch(a, a_at, m0, m_end, k_begin, k_end);
        b_share.fetch(b, b_at, n0, n_end, k_begin, k_end);
        a_share.put(a_tiles[0]);
        b_share.put(b_tiles[0]);
        __syncthreads();
        int now = 0;
        for (int k0 = k_begin; k0 < k_end; k0 += K, now ^= 1) {
            const bool more = k0 + K < k_end;
            if (more) {
                a_share.fetch(a, a_at, m0, m_end, k0 + K, k_end);
                b_share.fetch(b, b_at, n0, n_end, k0 + K, k_end);
            }
            unsigned x[HIGH][4], y[WIDE][4];
            #pragma unroll
            for (int i = 0; i < HIGH; ++i) TensorA::fragment(x[i], a_tiles[now], row() + 16 * i, 0);
            #pragma unroll
            for (int j = 0; j < WIDE; ++j) TensorB::fragment(y[j], b_tiles[now], column() + 16 * j, 0);
            #pragma unroll
            for (int i = 0; i < HIGH; ++i) {
                #pragma unroll
                for (int j = 0; j < 2 * WIDE; ++j) {
                    const unsigned two[2] = {y[j / 2][j % 2], y[j / 2][j % 2 + 2]};
                    multiply_bf16(part.sum[i][j], x[i], two);
                }
            }
            if (more) {
                a_share.put(a_tiles[now ^ 1]);
                b_share.put(b_tiles[now ^ 1]);
            }
            __syncthreads();
        }
    }

    template <int WIDTH, class Put>
    __device__ __forceinline__ void store(int m0, int m_end, int n0, int n_end, Put put) const {
        part.template store<WIDTH>(m0 + row(), m_end, n0 + column(), n_end, put);
    }
};

// Products of matrices on tensor cores: the tiles of matrix.cuh with operands of 16 bits, or of f32 of which a tensor core takes the upper 19
// bits (tf32), and sums in f32.
//
// Most operands are in memory as they are multiplied, so that on the way to a tensor core nothing is done to them: they are copied to shared
// memory past the registers, some stages ahead, and their fragments are read by whole matrices. What is narrower, or a map of what lies elsewhere,
// is read to registers before a stage is multiplied, and put to shared memory behind that. Tiles lie in shared memory as their operand
// does, along k or across it. So that neither those who bring a tile nor those who read its fragments meet in a bank, pieces of 16 bytes are
// exchanged within a short line (swizzled), and long lines lie a piece further apart.

// Four matrices of 8 lines of 16 bytes: thread i names line i % 8 of matrix i / 8 (by its place in shared memory), and has 4 bytes of each: number
// i % 4 of line i / 4.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(line) : "memory");
}
// The same with each matrix of 8 by 8 numbers of 16 bits turned round.
__device__ __forceinline__ void load_matrices_turned(unsigned (&to)[4], unsigned line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(line) : "memory");
}

// c += a b, for 16 by 8 elements of c, and 32 bytes of each operand along k.
__device__ __forceinline__ void multiply_fragments(float, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_fragments(bfloat_t, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_fragments(half_t, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// One operand's tile: EXTENT rows (or columns) by 64 bytes along k. T is what is multiplied, of what is loaded from From.
template <class T, int EXTENT, int THREADS, Lie LIE, class From>
struct Tensor {
    typedef Source<From> Elements;
    static constexpr int DEPTH = 64 / sizeof(T), PIECE = 16 / sizeof(T);
    static constexpr bool ALONG = is_along(LIE);
    static constexpr int WIDTH = together(LIE);
    static constexpr int VECTORS = EXTENT * DEPTH / WIDTH, COUNT = VECTORS / THREADS;
    static_assert(VECTORS % THREADS == 0 && WIDTH <= PIECE, "");
    // Elements of one stage.
    static constexpr int SIZE = ALONG ? EXTENT * DEPTH : (EXTENT + 8) * DEPTH;
    // Whether they are copied; else they come through registers, where numbers are made of them.
    static constexpr bool COPIED = as_they_are<From, T>;

    // What has been read, and where a map read it: below 0 where nothing is there.
    typename Elements::template Held<WIDTH> held[COPIED ? 1 : COUNT];
    int places[Elements::MAPS ? COUNT : 1];

    // Where an element lies in a tile.
    __device__ __forceinline__ static int lies(int row, int k) {
        return ALONG ? row * DEPTH + (k / PIECE ^ row / 2 % 4) * PIECE + k % PIECE : k * (EXTENT + 8) + row;
    }

    // The place in the tile of this thread's vector of a number.
    __device__ __forceinline__ static void place(int number, int& row, int& k) {
        const int vector = threadIdx.x + number * THREADS;
        row = ALONG ? vector / (DEPTH / WIDTH) : vector % (EXTENT / WIDTH) * WIDTH;
        k = ALONG ? vector % (DEPTH / WIDTH) * WIDTH : vector / (EXTENT / WIDTH);
    }

    // Begins to bring a tile.
    template <class At>
    __device__ __forceinline__ void fetch(T* tile, const From& from, At at, int row0, int rows, int k0, int k_end) {
        // Copies are only begun here, but for single elements of 16 bits. The places of single elements take many registers, and come few at a time.
        #pragma unroll (WIDTH > 1 || !COPIED ? COUNT : 8)
        for (int number = 0; number < COUNT; ++number) {
            int row, k;
            place(number, row, k);
            Place source = at(row0 + row, k0 + k);
            source.there = source.there && row0 + row < rows && k0 + k < k_end;
            T* to = &tile[lies(row, k)];
            if constexpr (!COPIED) {
                if constexpr (Elements::MAPS) places[number] = source.there ? source.at : -1;
                else held[number] = {};
                if (source.there) held[number] = Elements::template read<WIDTH>(from, source.at);
            } else if constexpr (WIDTH * sizeof(T) >= 4) {
                copy_async<WIDTH * sizeof(T)>(to, from + (source.there ? source.at : 0), source.there);
            } else {
                *to = source.there ? from[source.at] : T{0};
            }
        }
    }

    // Ends it where it comes through registers.
    __device__ __forceinline__ void put(T* tile, const From& from) {
        if constexpr (!COPIED) {
            #pragma unroll
            for (int number = 0; number < COUNT; ++number) {
                int row, k;
                place(number, row, k);
                pack<T, WIDTH> made = {};
                // A map of nothing need not be 0.
                const int at = Elements::MAPS ? places[Elements::MAPS ? number : 0] : 0;
                if (at >= 0) Elements::template make<WIDTH>(from, held[number], at, made.at);
                store(&tile[lies(row, k)], made);
            }
        }
    }

    // A fragment is 16 rows by 32 bytes along k: four matrices, which in A are two of rows by two along k, and in B two along k by two of
    // columns. So a product takes neighbouring registers of each.
    __device__ __forceinline__ static int row_of(bool of_a, int number) { return (of_a ? number % 2 : number / 2) * 8; }
    __device__ __forceinline__ static int k_of(bool of_a, int number) { return (of_a ? number / 2 : number % 2) * (32 / sizeof(T) / 2); }

    // Where in a tile this thread begins to read fragments of rows from `row` on, in one half of the tile along k; in bytes.
    __device__ __forceinline__ static unsigned begins(bool of_a, int row, int half) {
        const int lane = threadIdx.x % 32, k = half * (DEPTH / 2);
        int at;
        if (ALONG) at = lies(row + row_of(of_a, lane / 8) + lane % 8, k + k_of(of_a, lane / 8));
        else if (sizeof(T) == 2) at = lies(row + row_of(of_a, lane / 8), k + k_of(of_a, lane / 8) + lane % 8);
        else at = lies(row + lane / 4, k + lane % 4);
        return at * sizeof(T);
    }

    // The fragment of a number, whose rows are 16 further on than those of the one before.
    __device__ __forceinline__ static void fragment(bool of_a, unsigned (&to)[4], unsigned from, int number) {
        from += number * 16 * (ALONG ? DEPTH : 1) * sizeof(T);
        if constexpr (ALONG) {
            load_matrices(to, from);
        } else if constexpr (sizeof(T) == 2) {
            load_matrices_turned(to, from);
        } else {
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                asm volatile("ld.shared.b32 %0, [%1];" : "=r"(to[i]) : "r"(from + (lies(row_of(of_a, i), k_of(of_a, i))) * 4) : "memory");
            }
        }
    }
};

// A tile of C: WARPS_M by WARPS_N warps, each with 16 * HIGH rows by 16 * WIDE columns, in fragments of 16 by 8.
template <class T, int HIGH, int WIDE, int WARPS_M, int WARPS_N>
struct TileMma {
    static constexpr int M = 16 * HIGH * WARPS_M, N = 16 * WIDE * WARPS_N, K = 64 / sizeof(T), STAGES = 3;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;

    float sum[HIGH][2 * WIDE][4] = {};

    // This thread's warp begins here within the tile.
    __device__ __forceinline__ static int row() { return threadIdx.x / 32 % WARPS_M * (16 * HIGH); }
    __device__ __forceinline__ static int column() { return threadIdx.x / 32 / WARPS_M * (16 * WIDE); }

    // Adds the products for k from k_begin to k_end. While one stage is multiplied, the next ones are on their way.
    template <Lie LIE_A, Lie LIE_B, class A, class B, class AtA, class AtB>
    __device__ __forceinline__ void multiply(
        A a, AtA a_at, int m0, int m_end, B b, AtB b_at, int n0, int n_end, int k_begin, int k_end) {
        typedef Tensor<T, M, THREADS, LIE_A, A> TensorA;
        typedef Tensor<T, N, THREADS, LIE_B, B> TensorB;
        extern __shared__ __align__(128) char shared_memory[];
        T* a_tiles = (T*)shared_memory;
        T* b_tiles = a_tiles + STAGES * TensorA::SIZE;
        TensorA a_share;
        TensorB b_share;
        #pragma unroll
        for (int stage = 0; stage < STAGES - 1; ++stage) {
            a_share.fetch(a_tiles + stage * TensorA::SIZE, a, a_at, m0, m_end, k_begin + stage * K, k_end);
            b_share.fetch(b_tiles + stage * TensorB::SIZE, b, b_at, n0, n_end, k_begin + stage * K, k_end);
            a_share.put(a_tiles + stage * TensorA::SIZE, a);
            b_share.put(b_tiles + stage * TensorB::SIZE, b);
            copies_grouped();
        }
        const unsigned shared = (unsigned)__cvta_generic_to_shared(shared_memory);
        const unsigned a_begins[2] = {shared + TensorA::begins(true, row(), 0), shared + TensorA::begins(true, row(), 1)};
        const unsigned b_shared = shared + STAGES * TensorA::SIZE * sizeof(T);
        const unsigned b_begins[2] = {b_shared + TensorB::begins(false, column(), 0), b_shared + TensorB::begins(false, column(), 1)};
        int now = 0, next = STAGES - 1;
        for (int k0 = k_begin; k0 < k_end; k0 += K) {
            copies_done<STAGES - 2>();
            __syncthreads();
            const bool more = k0 + (STAGES - 1) * K < k_end;
            if (more) {
                a_share.fetch(a_tiles + next * TensorA::SIZE, a, a_at, m0, m_end, k0 + (STAGES - 1) * K, k_end);
                b_share.fetch(b_tiles + next * TensorB::SIZE, b, b_at, n0, n_end, k0 + (STAGES - 1) * K, k_end);
            }
            copies_grouped();
            #pragma unroll
            for (int half = 0; half < 2; ++half) {
                const unsigned a_from = a_begins[half] + now * (TensorA::SIZE * sizeof(T)), b_from = b_begins[half] + now * (TensorB::SIZE * sizeof(T));
                unsigned x[HIGH][4], y[WIDE][4];
                #pragma unroll
                for (int i = 0; i < HIGH; ++i) TensorA::fragment(true, x[i], a_from, i);
                #pragma unroll
                for (int j = 0; j < WIDE; ++j) TensorB::fragment(false, y[j], b_from, j);
                #pragma unroll
                for (int i = 0; i < HIGH; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 2 * WIDE; ++j) multiply_fragments(T{}, sum[i][j], x[i], y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]);
                }
            }
            if (more) {
                a_share.put(a_tiles + next * TensorA::SIZE, a);
                b_share.put(b_tiles + next * TensorB::SIZE, b);
            }
            now = now + 1 == STAGES ? 0 : now + 1;
            next = next + 1 == STAGES ? 0 : next + 1;
        }
    }

    // Calls put(m, n, values) for the elements of C that this thread has: 4 neighbours of a row at once where they are there together.
    template <int WIDTH, class Put>
    __device__ __forceinline__ void store(int m0, int m_end, int n0, int n_end, Put put) const {
        const int lane = threadIdx.x % 32;
        #pragma unroll
        for (int i = 0; i < HIGH; ++i) {
            #pragma unroll
            for (int j = 0; j < 2 * WIDE; ++j) {
                const float (&c)[4] = sum[i][j];
                const int first = m0 + row() + 16 * i + lane / 4, left = n0 + column() + 8 * j;
                if constexpr (WIDTH == 4) {
                    // Two neighbours exchange halves: one has four columns of a row, the other those of the row 8 below.
                    const bool below = lane % 2;
                    const float x = __shfl_xor_sync(0xffffffff, below ? c[0] : c[2], 1), y = __shfl_xor_sync(0xffffffff, below ? c[1] : c[3], 1);
                    const float values[4] = {below ? x : c[0], below ? y : c[1], below ? c[2] : x, below ? c[3] : y};
                    const int m = first + (below ? 8 : 0), n = left + lane % 4 / 2 * 4;
                    if (m < m_end && n < n_end) put(m, n, values);
                } else {
                    #pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const int m = first + e / 2 * 8, n = left + lane % 4 * 2 + e % 2;
                        if (m < m_end && n < n_end) put(m, n, &c[e]);
                    }
                }
            }
        }
    }
};

// Products of matrices, tile by tile: C[m, n] = sum over k of A[m, k] * B[k, n].
//
// Functions of the kernel say where elements lie: a_at(m, k) and b_at(n, k). So the same loops do contractions and convolutions. What lies there is
// memory, or made on the way (see Source in memory.cuh).

// Whether neighbours along k are neighbours in memory, or those across k (along m in A, along n in B); with _4 or _8, so many of them from a
// multiple on are there together or not at all, and lie at a multiple of so many elements.
enum Lie { ALONG_K, ALONG_K_4, ALONG_K_8, ACROSS_K, ACROSS_K_4, ACROSS_K_8 };
__device__ constexpr bool is_along(Lie lie) { return lie < ACROSS_K; }
__device__ constexpr int together(Lie lie) { return lie % 3 == 0 ? 1 : lie % 3 == 1 ? 4 : 8; }

// What a thread brings of one operand's tile: EXTENT rows (or columns) by DEPTH along k. In shared memory tiles lie across k.
template <int EXTENT, int DEPTH, int THREADS, Lie LIE, class From>
struct Share {
    typedef Source<From> Elements;
    static constexpr bool ALONG = is_along(LIE);
    static constexpr int WIDTH = together(LIE);
    static constexpr int VECTORS = EXTENT * DEPTH / WIDTH;
    static constexpr int COUNT = (VECTORS + THREADS - 1) / THREADS;
    // Copied past the registers where nothing is to be made of it, and no four are to be turned round.
    static constexpr bool ASYNC = as_they_are<From, float> && (!ALONG || WIDTH == 1);
    typedef float Tile[DEPTH][EXTENT + 4];

    // What has been read, and where a map read it: below 0 where nothing is there.
    typename Elements::template Held<WIDTH> held[COUNT];
    int places[Elements::MAPS ? COUNT : 1];

    // The place in the tile of this thread's vector of a number.
    __device__ __forceinline__ static bool place(int number, int& row, int& k) {
        const int vector = threadIdx.x + number * THREADS;
        row = ALONG ? vector / (DEPTH / WIDTH) : vector % (EXTENT / WIDTH) * WIDTH;
        k = ALONG ? vector % (DEPTH / WIDTH) * WIDTH : vector / (EXTENT / WIDTH);
        return VECTORS % THREADS == 0 || vector < VECTORS;
    }

    // Begins to bring the tile whose first element is (row0, k0).
    template <class At>
    __device__ __forceinline__ void fetch(Tile& tile, const From& from, At at, int row0, int rows, int k0, int k_end) {
        #pragma unroll
        for (int number = 0; number < COUNT; ++number) {
            int row, k;
            if (!place(number, row, k)) continue;
            Place source = at(row0 + row, k0 + k);
            source.there = source.there && row0 + row < rows && k0 + k < k_end;
            if constexpr (ASYNC) {
                copy_async<4 * WIDTH>(&tile[k][row], from + (source.there ? source.at : 0), source.there);
            } else {
                if constexpr (Elements::MAPS) places[number] = source.there ? source.at : -1;
                else held[number] = {};
                if (source.there) held[number] = Elements::template read<WIDTH>(from, source.at);
            }
        }
    }

    // Ends it, but for copies, which the thread waits for by itself.
    __device__ __forceinline__ void put(Tile& tile, const From& from) {
        if constexpr (!ASYNC) {
            #pragma unroll
            for (int number = 0; number < COUNT; ++number) {
                int row, k;
                if (!place(number, row, k)) continue;
                pack<float, WIDTH> made = {};
                // A map of nothing need not be 0.
                const int at = Elements::MAPS ? places[Elements::MAPS ? number : 0] : 0;
                if (at >= 0) Elements::template make<WIDTH>(from, held[number], at, made.at);
                if constexpr (!ALONG && WIDTH == 4) {
                    store(&tile[k][row], made);
                } else {
                    #pragma unroll
                    for (int i = 0; i < WIDTH; ++i) tile[ALONG ? k + i : k][ALONG ? row : row + i] = made[i];
                }
            }
        }
    }
};

// A tile of C on the plain f32 units. A thread has 4 * QUADS_M by 4 * QUADS_N of it in registers; the 32 threads of a warp stand 4 by 8, and
// so do quads, so that a warp reads shared memory in runs of 16 bytes without conflicts. Operands come DEPTH along k at a time.
template <int QUADS_M, int QUADS_N, int WARPS_M, int WARPS_N, int DEPTH>
struct TileF32 {
    static constexpr int M = 16 * QUADS_M * WARPS_M, N = 32 * QUADS_N * WARPS_N, K = DEPTH;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;

    float sum[4 * QUADS_M][4 * QUADS_N] = {};

    // This thread's first row and column within the tile.
    __device__ __forceinline__ static int row() {
        return threadIdx.x / 32 % WARPS_M * (16 * QUADS_M) + threadIdx.x % 32 / 8 * 4;
    }
    __device__ __forceinline__ static int column() {
        return threadIdx.x / 32 / WARPS_M * (32 * QUADS_N) + threadIdx.x % 8 * 4;
    }

    // Adds the products for k from k_begin to k_end. While one tile of operands is multiplied, the next is on its way.
    template <Lie LIE_A, Lie LIE_B, class A, class B, class AtA, class AtB>
    __device__ __forceinline__ void multiply(
        A a, AtA a_at, int m0, int m_end, B b, AtB b_at, int n0, int n_end, int k_begin, int k_end) {
        typedef Share<M, K, THREADS, LIE_A, A> ShareA;
        typedef Share<N, K, THREADS, LIE_B, B> ShareB;
        __shared__ __align__(16) typename ShareA::Tile a_tiles[2];
        __shared__ __align__(16) typename ShareB::Tile b_tiles[2];
        ShareA a_share;
        ShareB b_share;
        a_share.fetch(a_tiles[0], a, a_at, m0, m_end, k_begin, k_end);
        b_share.fetch(b_tiles[0], b, b_at, n0, n_end, k_begin, k_end);
        a_share.put(a_tiles[0], a);
        b_share.put(b_tiles[0], b);
        copies_grouped();
        copies_done<0>();
        __syncthreads();
        int now = 0;
        for (int k0 = k_begin; k0 < k_end; k0 += K, now ^= 1) {
            const bool more = k0 + K < k_end;
            if (more) {
                a_share.fetch(a_tiles[now ^ 1], a, a_at, m0, m_end, k0 + K, k_end);
                b_share.fetch(b_tiles[now ^ 1], b, b_at, n0, n_end, k0 + K, k_end);
            }
            #pragma unroll
            for (int k = 0; k < K; ++k) {
                float x[4 * QUADS_M], y[4 * QUADS_N];
                #pragma unroll
                for (int q = 0; q < QUADS_M; ++q) *(float4*)&x[4 * q] = *(float4*)&a_tiles[now][k][row() + 16 * q];
                #pragma unroll
                for (int q = 0; q < QUADS_N; ++q) *(float4*)&y[4 * q] = *(float4*)&b_tiles[now][k][column() + 32 * q];
                #pragma unroll
                for (int i = 0; i < 4 * QUADS_M; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4 * QUADS_N; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
                }
            }
            if (more) {
                a_share.put(a_tiles[now ^ 1], a);
                b_share.put(b_tiles[now ^ 1], b);
                copies_grouped();
                copies_done<0>();
            }
            __syncthreads();
        }
    }

    // Calls put(m, n, values) for the elements of C that this thread has: 4 neighbours of a row at once where they are there together.
    template <int WIDTH, class Put>
    __device__ __forceinline__ void store(int m0, int m_end, int n0, int n_end, Put put) {
        #pragma unroll
        for (int i = 0; i < 4 * QUADS_M; ++i) {
            const int m = m0 + row() + i / 4 * 16 + i % 4;
            if (m >= m_end) continue;
            #pragma unroll
            for (int j = 0; j < 4 * QUADS_N; j += WIDTH) {
                const int n = n0 + column() + j / 4 * 32 + j % 4;
                if (n < n_end) put(m, n, &sum[i][j]);
            }
        }
    }
};

// Of a convolution's taps, the first that reaches a place from a whole step of its stride; `taps` where none does.
__device__ __forceinline__ int first_tap(int place, int stride, int dilation, int taps) {
    for (int tap = 0; tap < stride && tap < taps; ++tap) {
        if ((place - tap * dilation) % stride == 0) return tap;
    }
    return taps;
}

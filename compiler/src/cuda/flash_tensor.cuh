// Softmax attention and its gradients on tensor cores: as in flash.cuh, with tiles of numbers as these multiply them (T), f32 sums, and all of a
// softmax in f32. Its weights, and the adjoints of the scores, are rounded to T where they are multiplied.
//
// A block has ROWS rows of one side, 16 for each of its four warps, and goes through the other side COLS at a time; while one tile is
// multiplied, the next is on its way. Scores and weights stay in registers: as sums of one product they lie just as the next one takes
// them as A (in tf32 with the two halves of 8 along k mixed, and so its B is read).

enum { MMA_THREADS = 128 };

// Rows of one head: row r is at from + r * step, and has so many elements.
template <class T> struct HeadOf { const T* from; int step, rows, width; };

// Two sums as T, the first one below.
__device__ __forceinline__ unsigned rounded_pair(bfloat_t, float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
__device__ __forceinline__ unsigned rounded_pair(half_t, float low, float high) {
    unsigned pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Over the four threads that have a row of a fragment.
__device__ __forceinline__ float sum_of_quad(float x) {
    x += __shfl_xor_sync(0xffffffff, x, 2);
    return x + __shfl_xor_sync(0xffffffff, x, 1);
}
__device__ __forceinline__ float largest_of_quad(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
}

// So many rows in shared memory. They lie 16 bytes further apart, so that eight neighbours meet different banks.
template <class T, int ROWS, int WIDTH>
struct RowsOf {
    static constexpr int LINE = WIDTH + 16 / sizeof(T);
    __align__(16) T of[ROWS][LINE];

    // Begins to bring the rows from row0 on, TOGETHER elements at once; zeros stand for what is not there.
    template <int TOGETHER>
    __device__ __forceinline__ void fetch(const HeadOf<T>& head, int row0) {
        constexpr int PIECE = 16 / sizeof(T), EACH = PIECE / TOGETHER;
        #pragma unroll 4
        for (int at = threadIdx.x; at < ROWS * WIDTH / TOGETHER; at += MMA_THREADS) {
            const LinePiece piece = piece_of<WIDTH / PIECE>(at / EACH);
            const int row = piece.line, col = piece.at * PIECE + at % EACH * TOGETHER;
            const bool there = row0 + row < head.rows && col < head.width;
            const T* from = head.from + (there ? (row0 + row) * head.step + col : 0);
            if constexpr (TOGETHER * sizeof(T) >= 4) copy_async<TOGETHER * sizeof(T)>(&of[row][col], from, there);
            else of[row][col] = there ? *from : T{0};
        }
    }

    // 16 rows by 32 bytes along them, as A or as B (see Tensor in tensor.cuh).
    template <bool OF_A>
    __device__ __forceinline__ void along(unsigned (&to)[4], int row, int k) const {
        const int lane = threadIdx.x % 32, first = lane / 8 % 2, second = lane / 16;
        const T* line = &of[row + (OF_A ? first : second) * 8 + lane % 8][k + (OF_A ? second : first) * (16 / sizeof(T))];
        load_matrices(to, (unsigned)__cvta_generic_to_shared(line));
    }

    // 16 columns by 32 bytes' number of rows, as B, whose k are rows.
    __device__ __forceinline__ void across(unsigned (&to)[4], int k, int col) const {
        const int lane = threadIdx.x % 32;
        if constexpr (sizeof(T) == 2) {
            load_matrices_turned(to, (unsigned)__cvta_generic_to_shared(&of[k + lane / 8 % 2 * 8 + lane % 8][col + lane / 16 * 8]));
        } else {
            #pragma unroll
            for (int i = 0; i < 4; ++i) to[i] = __float_as_uint(of[k + lane % 4 * 2 + i % 2][col + lane / 4 + i / 2 * 8]);
        }
    }
};

// Sums of 16 rows by WIDTH columns: a thread has of each 8 columns two neighbours of two rows, which are 8 apart.
template <int WIDTH>
struct Sums {
    float of[WIDTH / 8][4] = {};

    // This thread's row (of a warp's 16) and column.
    __device__ __forceinline__ static int row(int e) { return threadIdx.x % 32 / 4 + e / 2 * 8; }
    __device__ __forceinline__ static int col(int j, int e) { return 8 * j + threadIdx.x % 4 * 2 + e % 2; }

    // of[r][c] += x[row + r] . y[c]
    template <class T, int X, int Y, int DEPTH>
    __device__ __forceinline__ void add_products(const RowsOf<T, X, DEPTH>& x, int row, const RowsOf<T, Y, DEPTH>& y) {
        static_assert(Y == WIDTH, "");
        #pragma unroll
        for (int k = 0; k < DEPTH; k += 32 / sizeof(T)) {
            unsigned a[4];
            x.template along<true>(a, row, k);
            #pragma unroll
            for (int j = 0; j < WIDTH / 16; ++j) {
                unsigned b[4];
                y.template along<false>(b, 16 * j, k);
                multiply_fragments(T{}, of[2 * j], a, b[0], b[1]);
                multiply_fragments(T{}, of[2 * j + 1], a, b[2], b[3]);
            }
        }
    }

    // of[r][c] += sum over i of weights[r][i] * values[i][c]
    template <class T, int COUNT>
    __device__ __forceinline__ void add_weighted(const Sums<COUNT>& weights, const RowsOf<T, COUNT, WIDTH>& values) {
        constexpr int STEP = 32 / sizeof(T);
        #pragma unroll
        for (int k = 0; k < COUNT; k += STEP) {
            const float (&c)[4] = weights.of[k / 8];
            unsigned a[4];
            if constexpr (sizeof(T) == 2) {
                const float (&d)[4] = weights.of[k / 8 + 1];
                a[0] = rounded_pair(T{}, c[0], c[1]);
                a[1] = rounded_pair(T{}, c[2], c[3]);
                a[2] = rounded_pair(T{}, d[0], d[1]);
                a[3] = rounded_pair(T{}, d[2], d[3]);
            } else {
                a[0] = __float_as_uint(c[0]);
                a[1] = __float_as_uint(c[2]);
                a[2] = __float_as_uint(c[1]);
                a[3] = __float_as_uint(c[3]);
            }
            #pragma unroll
            for (int j = 0; j < WIDTH / 16; ++j) {
                unsigned b[4];
                values.across(b, k, 16 * j);
                multiply_fragments(T{}, of[2 * j], a, b[0], b[1]);
                multiply_fragments(T{}, of[2 * j + 1], a, b[2], b[3]);
            }
        }
    }

    // Row r of the result goes to `to` + r * step, times a factor that follows from a row's half.
    template <class Factor>
    __device__ __forceinline__ void put(float* to, int step, int row0, int rows, int width, Factor factor) const {
        #pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int at = row0 + row(e);
            const float by = factor(e / 2);
            #pragma unroll
            for (int j = 0; j < WIDTH / 8; ++j) {
                if (at < rows && col(j, e) < width) to[at * step + col(j, e)] = of[j][e] * by;
            }
        }
    }
};

// Q, K, V and G: how many elements of queries, keys, values and the result's adjoints are moved at once.
template <class T, int WIDTH, int DEPTH, int Q, int K, int V, int G>
struct FlashMma {
    static constexpr int ROWS = 64, COLS = 32;

    struct Forward { RowsOf<T, ROWS, WIDTH> q; RowsOf<T, COLS, WIDTH> k[2]; RowsOf<T, COLS, DEPTH> v[2]; };
    struct OfQueries { RowsOf<T, ROWS, WIDTH> q; RowsOf<T, ROWS, DEPTH> g; RowsOf<T, COLS, WIDTH> k[2]; RowsOf<T, COLS, DEPTH> v[2]; };
    struct OfKeys {
        RowsOf<T, ROWS, WIDTH> k; RowsOf<T, ROWS, DEPTH> v; RowsOf<T, COLS, WIDTH> q[2]; RowsOf<T, COLS, DEPTH> g[2];
        float sums[2][COLS], means[2][COLS];
    };

    // This thread's warp has the 16 rows of a block's ROWS from here on.
    __device__ __forceinline__ static int part() { return threadIdx.x / 32 * 16; }

    // The result of the queries from row0 on, and the logarithms of the rows' sums. score(query, key, product) is what the softmax is of; keys
    // from key_end on are seen by none of these queries.
    template <class Score>
    __device__ __forceinline__ static void forward(
        void* shared, const HeadOf<T>& q, const HeadOf<T>& k, const HeadOf<T>& v, int row0, int key_end, float* out, int out_step, float* sums,
        Score score) {
        Forward& tiles = *(Forward*)shared;
        Sums<DEPTH> result;
        float highest[2] = {-INF, -INF}, total[2] = {0.0f, 0.0f};
        tiles.q.template fetch<Q>(q, row0);
        tiles.k[0].template fetch<K>(k, 0);
        tiles.v[0].template fetch<V>(v, 0);
        int now = 0;
        for (int key0 = 0; key0 < key_end; key0 += COLS, now ^= 1) {
            copies_grouped();
            copies_done<0>();
            __syncthreads();
            if (key0 + COLS < key_end) {
                tiles.k[now ^ 1].template fetch<K>(k, key0 + COLS);
                tiles.v[now ^ 1].template fetch<V>(v, key0 + COLS);
            }
            Sums<COLS> scores;
            scores.add_products(tiles.q, part(), tiles.k[now]);
            #pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int query = row0 + part() + scores.row(2 * half);
                float top = highest[half];
                #pragma unroll
                for (int at = 0; at < COLS / 4; ++at) {
                    float& x = scores.of[at / 2][2 * half + at % 2];
                    const int key = key0 + scores.col(at / 2, at % 2);
                    x = query < q.rows && key < k.rows ? score(query, key, x) : -INF;
                    top = fmaxf(top, x);
                }
                top = largest_of_quad(top);
                // A row that has seen nothing yet has weights of 0.
                const float base = top == -INF ? 0.0f : top;
                const float by = expf(highest[half] - base);
                highest[half] = top;
                total[half] *= by;
                #pragma unroll
                for (int j = 0; j < DEPTH / 8; ++j) {
                    result.of[j][2 * half] *= by;
                    result.of[j][2 * half + 1] *= by;
                }
                #pragma unroll
                for (int at = 0; at < COLS / 4; ++at) {
                    float& x = scores.of[at / 2][2 * half + at % 2];
                    x = expf(x - base);
                    total[half] += x;
                }
            }
            result.add_weighted(scores, tiles.v[now]);
        }
        copies_done<0>();
        #pragma unroll
        for (int half = 0; half < 2; ++half) {
            total[half] = sum_of_quad(total[half]);
            const int query = row0 + part() + result.row(2 * half);
            if (threadIdx.x % 4 == 0 && query < q.rows) sums[query] = total[half] == 0.0f ? INF : highest[half] + logf(total[half]);
        }
        result.put(out, out_step, row0 + part(), q.rows, v.width, [&](int half) { return total[half] == 0.0f ? 0.0f : 1.0f / total[half]; });
    }

    // A part of the mean of the adjoints of a query's weights, which is the product of its result with the result's adjoint: of every fourth
    // element.
    __device__ __forceinline__ static float mean_of(int query, const HeadOf<T>& g, const HeadOf<float>& result) {
        float dot = 0.0f;
        for (int d = threadIdx.x % 4; query < g.rows && d < g.width; d += 4) {
            dot = fmaf(widen(g.from[query * g.step + d]), result.from[query * result.step + d], dot);
        }
        return sum_of_quad(dot);
    }

    // The adjoint of the queries from row0 on. slope(query, key, x) is told the adjoint of each score.
    template <class Score, class Slope>
    __device__ __forceinline__ static void of_queries(
        void* shared, const HeadOf<T>& q, const HeadOf<T>& k, const HeadOf<T>& v, const HeadOf<T>& g, const HeadOf<float>& result, const float* sums,
        int row0, int key_end, float scale, float* out, int out_step, Score score, Slope slope) {
        OfQueries& tiles = *(OfQueries*)shared;
        Sums<WIDTH> adjoint;
        float sum[2], mean[2];
        #pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int query = row0 + part() + adjoint.row(2 * half);
            mean[half] = mean_of(query, g, result);
            sum[half] = query < q.rows ? sums[query] : INF;
        }
        tiles.q.template fetch<Q>(q, row0);
        tiles.g.template fetch<G>(g, row0);
        tiles.k[0].template fetch<K>(k, 0);
        tiles.v[0].template fetch<V>(v, 0);
        int now = 0;
        for (int key0 = 0; key0 < key_end; key0 += COLS, now ^= 1) {
            copies_grouped();
            copies_done<0>();
            __syncthreads();
            if (key0 + COLS < key_end) {
                tiles.k[now ^ 1].template fetch<K>(k, key0 + COLS);
                tiles.v[now ^ 1].template fetch<V>(v, key0 + COLS);
            }
            Sums<COLS> scores, slopes;
            scores.add_products(tiles.q, part(), tiles.k[now]);
            slopes.add_products(tiles.g, part(), tiles.v[now]);
            #pragma unroll
            for (int at = 0; at < COLS / 2; ++at) {
                const int e = at % 4, query = row0 + part() + scores.row(e), key = key0 + scores.col(at / 4, e);
                float x = 0.0f;
                if (query < q.rows && key < k.rows) {
                    x = expf(score(query, key, scores.of[at / 4][e]) - sum[e / 2]) * (slopes.of[at / 4][e] - mean[e / 2]);
                    slope(query, key, x);
                }
                slopes.of[at / 4][e] = x;
            }
            adjoint.add_weighted(slopes, tiles.k[now]);
        }
        copies_done<0>();
        adjoint.put(out, out_step, row0 + part(), q.rows, q.width, [&](int) { return scale; });
    }

    // Adds what the queries of one head give to the adjoints of the keys and values from row0 on.
    template <class Score>
    __device__ __forceinline__ static void of_keys(
        void* shared, const HeadOf<T>& q, const HeadOf<T>& k, const HeadOf<T>& v, const HeadOf<T>& g, const HeadOf<float>& result, const float* sums,
        int row0, int query_first, Sums<WIDTH>& of_k, Sums<DEPTH>& of_v, Score score) {
        OfKeys& tiles = *(OfKeys*)shared;
        int now = 0;
        query_first = query_first / COLS * COLS;
        tiles.k.template fetch<K>(k, row0);
        tiles.v.template fetch<V>(v, row0);
        tiles.q[0].template fetch<Q>(q, query_first);
        tiles.g[0].template fetch<G>(g, query_first);
        for (int query0 = query_first; query0 < q.rows; query0 += COLS, now ^= 1) {
            // Four threads a query.
            static_assert(MMA_THREADS == 4 * COLS, "");
            const int own = query0 + threadIdx.x / 4;
            const float dot = mean_of(own, g, result);
            if (threadIdx.x % 4 == 0) {
                tiles.means[now][threadIdx.x / 4] = dot;
                tiles.sums[now][threadIdx.x / 4] = own < q.rows ? sums[own] : INF;
            }
            copies_grouped();
            copies_done<0>();
            __syncthreads();
            if (query0 + COLS < q.rows) {
                tiles.q[now ^ 1].template fetch<Q>(q, query0 + COLS);
                tiles.g[now ^ 1].template fetch<G>(g, query0 + COLS);
            }
            Sums<COLS> weights, slopes;
            weights.add_products(tiles.k, part(), tiles.q[now]);
            slopes.add_products(tiles.v, part(), tiles.g[now]);
            #pragma unroll
            for (int at = 0; at < COLS / 2; ++at) {
                const int e = at % 4, key = row0 + part() + weights.row(e), col = weights.col(at / 4, e), query = query0 + col;
                float& weight = weights.of[at / 4][e];
                weight = query < q.rows && key < k.rows ? expf(score(query, key, weight) - tiles.sums[now][col]) : 0.0f;
                slopes.of[at / 4][e] = weight * (slopes.of[at / 4][e] - tiles.means[now][col]);
            }
            of_v.add_weighted(weights, tiles.g[now]);
            of_k.add_weighted(slopes, tiles.q[now]);
        }
        // The next head's tiles are brought to the same places.
        copies_grouped();
        copies_done<0>();
        __syncthreads();
    }
};

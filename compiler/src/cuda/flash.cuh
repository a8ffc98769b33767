// Softmax attention whose scores are never in memory as a whole (Dao et al. 2022), and its gradients.
//
// A block has ROWS rows of one side (queries, or keys) in shared memory and goes through the other side COLS at a time. Its 128 threads stand 8 by
// 16: a thread has every 8th row, and of the columns every 16th one of the scores, and neighbours of the results.

enum { FLASH_THREADS = 128 };
__device__ __forceinline__ float infinite() { return __int_as_float(0x7f800000); }

// Rows of one head: row r is at from + r * step, and has so many elements.
struct Head { const float* from; int step, rows, width; };

// So many rows in shared memory. They lie 4 elements further apart, so that threads with neighbouring rows meet different banks.
template <int ROWS, int WIDTH>
struct Rows {
    __align__(16) float of[ROWS][WIDTH + 4];

    // Begins to bring the rows from row0 on, and of each the elements from col0 on; zeros stand for what is not there. With FOURS, rows are
    // multiples of 4 elements, and lie at multiples of 16 bytes.
    template <bool FOURS>
    __device__ __forceinline__ void fetch(const Head& head, int row0, int col0) {
        constexpr int TOGETHER = FOURS ? 4 : 1, EACH = 4 / TOGETHER;
        for (int at = threadIdx.x; at < ROWS * WIDTH / TOGETHER; at += FLASH_THREADS) {
            const LinePiece piece = piece_of<WIDTH / 4>(at / EACH);
            const int row = piece.line, col = piece.at * 4 + at % EACH * TOGETHER;
            const bool there = row0 + row < head.rows && col0 + col < head.width;
            const float* from = head.from + (there ? (row0 + row) * head.step + col0 + col : 0);
            if constexpr (FOURS) copy_async<16>(&of[row][col], from, there);
            else of[row][col] = there ? *from : 0.0f;
        }
    }
};

// sum[i][j] += x[row i] . y[row j]
template <int ROWS, int COLS, int WIDTH>
__device__ __forceinline__ void add_products(float (&sum)[ROWS / 8][COLS / 16], const Rows<ROWS, WIDTH>& x, const Rows<COLS, WIDTH>& y) {
    const int row = threadIdx.x / 16, col = threadIdx.x % 16;
    // A loop that is unrolled as a whole takes more registers than there are.
    #pragma unroll (WIDTH > 16 ? 4 : 2)
    for (int d = 0; d < WIDTH; d += 4) {
        float4 right[COLS / 16];
        #pragma unroll
        for (int j = 0; j < COLS / 16; ++j) right[j] = *(const float4*)&y.of[col + 16 * j][d];
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) {
            const float4 left = *(const float4*)&x.of[row + 8 * i][d];
            #pragma unroll
            for (int j = 0; j < COLS / 16; ++j) {
                sum[i][j] = fmaf(left.x, right[j].x, sum[i][j]);
                sum[i][j] = fmaf(left.y, right[j].y, sum[i][j]);
                sum[i][j] = fmaf(left.z, right[j].z, sum[i][j]);
                sum[i][j] = fmaf(left.w, right[j].w, sum[i][j]);
            }
        }
    }
}

// A thread's part of ROWS by WIDTH results: runs of up to 4 neighbours.
template <int ROWS, int WIDTH>
struct Results {
    static constexpr int EACH = WIDTH / 16, RUN = EACH < 4 ? EACH : 4;
    float of[ROWS / 8][EACH] = {};

    __device__ __forceinline__ static int col(int j) { return threadIdx.x % 16 * RUN + j / RUN * (16 * RUN) + j % RUN; }

    // of[i][j] += sum over c of weights[i][c] * values[c][j]
    template <int COLS>
    __device__ __forceinline__ void add_weighted(const Rows<ROWS, COLS>& weights, const Rows<COLS, WIDTH>& values) {
        const int row = threadIdx.x / 16;
        #pragma unroll 2
        for (int c = 0; c < COLS; c += 4) {
            float right[4][EACH];
            #pragma unroll
            for (int k = 0; k < 4; ++k) {
                #pragma unroll
                for (int j = 0; j < EACH; j += RUN) {
                    const pack<float, RUN> run = load<RUN>(&values.of[c + k][col(j)]);
                    #pragma unroll
                    for (int r = 0; r < RUN; ++r) right[k][j + r] = run[r];
                }
            }
            #pragma unroll
            for (int i = 0; i < ROWS / 8; ++i) {
                const float4 left = *(const float4*)&weights.of[row + 8 * i][c];
                #pragma unroll
                for (int j = 0; j < EACH; ++j) {
                    of[i][j] = fmaf(left.x, right[0][j], of[i][j]);
                    of[i][j] = fmaf(left.y, right[1][j], of[i][j]);
                    of[i][j] = fmaf(left.z, right[2][j], of[i][j]);
                    of[i][j] = fmaf(left.w, right[3][j], of[i][j]);
                }
            }
        }
    }

    // Row r of the result goes to `to` + r * step, its elements from col0 on times a factor.
    template <class Factor>
    __device__ __forceinline__ void put(float* to, int step, int row0, int rows, int col0, int width, Factor factor) const {
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) {
            const int row = row0 + threadIdx.x / 16 + 8 * i;
            if (row >= rows) continue;
            const float by = factor(i);
            #pragma unroll
            for (int j = 0; j < EACH; ++j) {
                if (col0 + col(j) < width) to[row * step + col0 + col(j)] = of[i][j] * by;
            }
        }
    }
};

// Over the 16 threads of a row.
__device__ __forceinline__ float sum_of_row(float x) {
    #pragma unroll
    for (int apart = 8; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffff, x, apart);
    return x;
}
__device__ __forceinline__ float largest_of_row(float x) {
    #pragma unroll
    for (int apart = 8; apart > 0; apart /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, apart));
    return x;
}

// Products of ROWS rows of x with COLS rows of y. Where a row is wider than WIDTH, both come piece by piece; else x is there already.
template <bool WHOLE, bool FOURS_X, bool FOURS_Y, int ROWS, int COLS, int WIDTH>
__device__ __forceinline__ void products_of(
    float (&sum)[ROWS / 8][COLS / 16], Rows<ROWS, WIDTH>& x, const Head& of_x, int row0, Rows<COLS, WIDTH>& y, const Head& of_y, int col0) {
    for (int at = 0; at < (WHOLE ? 1 : of_x.width); at += WIDTH) {
        if (!WHOLE) x.template fetch<FOURS_X>(of_x, row0, at);
        y.template fetch<FOURS_Y>(of_y, col0, at);
        copies_grouped();
        copies_done<0>();
        __syncthreads();
        add_products(sum, x, y);
        if (!WHOLE) __syncthreads();
    }
}

// The form of a kernel: tiles, and how q, k, v (and the result's adjoint, like v) are read.
template <int ROWS_, int COLS_, int WIDTH_, int DEPTH_, bool WHOLE_, bool FOURS_Q, bool FOURS_K, bool FOURS_V, bool FOURS_G>
struct Flash {
    static constexpr int ROWS = ROWS_, COLS = COLS_, WIDTH = WIDTH_, DEPTH = DEPTH_;
    // Rows are no wider than a tile, and so are values.
    static constexpr bool WHOLE = WHOLE_;

    struct Forward { Rows<ROWS, WIDTH> q; Rows<COLS, WIDTH> k; Rows<COLS, DEPTH> v; Rows<ROWS, COLS> weights; };
    struct OfQueries {
        Rows<ROWS, WIDTH> q; Rows<ROWS, DEPTH> g; Rows<COLS, WIDTH> k; Rows<COLS, DEPTH> v; Rows<ROWS, COLS> slopes;
    };
    struct OfKeys {
        Rows<ROWS, WIDTH> k; Rows<ROWS, DEPTH> v; Rows<COLS, WIDTH> q; Rows<COLS, DEPTH> g; Rows<ROWS, COLS> weights, slopes;
        float sums[COLS], means[COLS];
    };

    // The result of the queries from row0 on, its elements from col0 on, and the logarithms of the rows' sums. score(query, key, product) is what
    // the softmax is of; keys from key_end on are seen by none of these queries.
    template <class Score>
    __device__ __forceinline__ static void forward(
        void* shared, const Head& q, const Head& k, const Head& v, int row0, int col0, int key_end, float* out, int out_step,
        float* sums, Score score) {
        Forward& tiles = *(Forward*)shared;
        Results<ROWS, DEPTH> result;
        float highest[ROWS / 8], total[ROWS / 8];
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) {
            highest[i] = -infinite();
            total[i] = 0.0f;
        }
        if (WHOLE) tiles.q.template fetch<FOURS_Q>(q, row0, 0);
        for (int key0 = 0; key0 < key_end; key0 += COLS) {
            float scores[ROWS / 8][COLS / 16] = {};
            tiles.v.template fetch<FOURS_V>(v, key0, col0);
            products_of<WHOLE, FOURS_Q, FOURS_K>(scores, tiles.q, q, row0, tiles.k, k, key0);
            #pragma unroll
            for (int i = 0; i < ROWS / 8; ++i) {
                const int query = row0 + threadIdx.x / 16 + 8 * i;
                float top = highest[i];
                #pragma unroll
                for (int j = 0; j < COLS / 16; ++j) {
                    const int key = key0 + threadIdx.x % 16 + 16 * j;
                    scores[i][j] = query < q.rows && key < k.rows ? score(query, key, scores[i][j]) : -infinite();
                    top = fmaxf(top, scores[i][j]);
                }
                top = largest_of_row(top);
                // A row that has seen nothing yet has weights of 0.
                const float base = top == -infinite() ? 0.0f : top;
                const float by = expf(highest[i] - base);
                highest[i] = top;
                total[i] *= by;
                #pragma unroll
                for (int j = 0; j < Results<ROWS, DEPTH>::EACH; ++j) result.of[i][j] *= by;
                #pragma unroll
                for (int j = 0; j < COLS / 16; ++j) {
                    const float weight = expf(scores[i][j] - base);
                    total[i] += weight;
                    tiles.weights.of[threadIdx.x / 16 + 8 * i][threadIdx.x % 16 + 16 * j] = weight;
                }
            }
            __syncthreads();
            result.add_weighted(tiles.weights, tiles.v);
            __syncthreads();
        }
        copies_done<0>();
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) total[i] = sum_of_row(total[i]);
        result.put(out, out_step, row0, q.rows, col0, v.width, [&](int i) { return total[i] == 0.0f ? 0.0f : 1.0f / total[i]; });
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) {
            const int query = row0 + threadIdx.x / 16 + 8 * i;
            if (col0 == 0 && threadIdx.x % 16 == 0 && query < q.rows) {
                sums[query] = total[i] == 0.0f ? infinite() : highest[i] + logf(total[i]);
            }
        }
    }

    // The adjoint of the queries from row0 on, its elements from col0 on. slope(query, key, x) is told the adjoint of each score.
    template <class Score, class Slope>
    __device__ __forceinline__ static void of_queries(
        void* shared, const Head& q, const Head& k, const Head& v, const Head& g, const Head& result, const float* sums, int row0,
        int col0, int key_end, float scale, float* out, int out_step, Score score, Slope slope) {
        OfQueries& tiles = *(OfQueries*)shared;
        Results<ROWS, WIDTH> adjoint;
        // A row's mean of the adjoints of its weights is the product of the result with its own adjoint.
        float sum[ROWS / 8], mean[ROWS / 8];
        #pragma unroll
        for (int i = 0; i < ROWS / 8; ++i) {
            const int query = row0 + threadIdx.x / 16 + 8 * i;
            float dot = 0.0f;
            for (int d = threadIdx.x % 16; query < q.rows && d < g.width; d += 16) {
                dot = fmaf(g.from[query * g.step + d], result.from[query * result.step + d], dot);
            }
            mean[i] = sum_of_row(dot);
            sum[i] = query < q.rows ? sums[query] : infinite();
        }
        if (WHOLE) {
            tiles.q.template fetch<FOURS_Q>(q, row0, 0);
            tiles.g.template fetch<FOURS_G>(g, row0, 0);
        }
        for (int key0 = 0; key0 < key_end; key0 += COLS) {
            float scores[ROWS / 8][COLS / 16] = {}, slopes[ROWS / 8][COLS / 16] = {};
            products_of<WHOLE, FOURS_Q, FOURS_K>(scores, tiles.q, q, row0, tiles.k, k, key0);
            products_of<WHOLE, FOURS_G, FOURS_V>(slopes, tiles.g, g, row0, tiles.v, v, key0);
            if (!WHOLE) tiles.k.template fetch<FOURS_K>(k, key0, col0);
            copies_grouped();
            #pragma unroll
            for (int i = 0; i < ROWS / 8; ++i) {
                const int query = row0 + threadIdx.x / 16 + 8 * i;
                #pragma unroll
                for (int j = 0; j < COLS / 16; ++j) {
                    const int key = key0 + threadIdx.x % 16 + 16 * j;
                    float x = 0.0f;
                    if (query < q.rows && key < k.rows) {
                        x = expf(score(query, key, scores[i][j]) - sum[i]) * (slopes[i][j] - mean[i]);
                        slope(query, key, x);
                    }
                    tiles.slopes.of[threadIdx.x / 16 + 8 * i][threadIdx.x % 16 + 16 * j] = x;
                }
            }
            copies_done<0>();
            __syncthreads();
            adjoint.add_weighted(tiles.slopes, tiles.k);
            __syncthreads();
        }
        copies_done<0>();
        adjoint.put(out, out_step, row0, q.rows, col0, q.width, [&](int) { return scale; });
    }

    // Adds what the queries of one head give to the adjoints of the keys and values from row0 on; their elements from col0 on.
    template <class Score>
    __device__ __forceinline__ static void of_keys(
        void* shared, const Head& q, const Head& k, const Head& v, const Head& g, const Head& result, const float* sums, int row0,
        int col0, int query_first, Results<ROWS, WIDTH>& of_k, Results<ROWS, DEPTH>& of_v, Score score) {
        OfKeys& tiles = *(OfKeys*)shared;
        if (WHOLE) {
            tiles.k.template fetch<FOURS_K>(k, row0, 0);
            tiles.v.template fetch<FOURS_V>(v, row0, 0);
        }
        for (int query0 = query_first / COLS * COLS; query0 < q.rows; query0 += COLS) {
            // Four threads a query.
            static_assert(FLASH_THREADS == 4 * COLS, "");
            const int own = query0 + threadIdx.x / 4;
            float dot = 0.0f;
            for (int d = threadIdx.x % 4; own < q.rows && d < g.width; d += 4) {
                dot = fmaf(g.from[own * g.step + d], result.from[own * result.step + d], dot);
            }
            dot += __shfl_xor_sync(0xffffffff, dot, 2);
            dot += __shfl_xor_sync(0xffffffff, dot, 1);
            if (threadIdx.x % 4 == 0) {
                tiles.means[threadIdx.x / 4] = dot;
                tiles.sums[threadIdx.x / 4] = own < q.rows ? sums[own] : infinite();
            }
            float scores[ROWS / 8][COLS / 16] = {}, slopes[ROWS / 8][COLS / 16] = {};
            products_of<WHOLE, FOURS_K, FOURS_Q>(scores, tiles.k, k, row0, tiles.q, q, query0);
            products_of<WHOLE, FOURS_V, FOURS_G>(slopes, tiles.v, v, row0, tiles.g, g, query0);
            if (!WHOLE) {
                tiles.q.template fetch<FOURS_Q>(q, query0, col0);
                tiles.g.template fetch<FOURS_G>(g, query0, col0);
            }
            copies_grouped();
            #pragma unroll
            for (int j = 0; j < COLS / 16; ++j) {
                const int at = threadIdx.x % 16 + 16 * j, query = query0 + at;
                const float sum = tiles.sums[at], mean = tiles.means[at];
                #pragma unroll
                for (int i = 0; i < ROWS / 8; ++i) {
                    const int row = threadIdx.x / 16 + 8 * i, key = row0 + row;
                    float weight = 0.0f;
                    if (query < q.rows && key < k.rows) weight = expf(score(query, key, scores[i][j]) - sum);
                    tiles.weights.of[row][at] = weight;
                    tiles.slopes.of[row][at] = weight * (slopes[i][j] - mean);
                }
            }
            copies_done<0>();
            __syncthreads();
            of_v.add_weighted(tiles.weights, tiles.g);
            of_k.add_weighted(tiles.slopes, tiles.q);
            __syncthreads();
        }
        copies_done<0>();
        __syncthreads();
    }
};

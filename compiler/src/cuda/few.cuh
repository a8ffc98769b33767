// Products of few rows: all that counts is that each element of B is read once, in long runs. ROWS rows of C are made at a time.

// The sum of a value over a warp, in each of its threads.
__device__ __forceinline__ float sum_of_warp(float x) {
    #pragma unroll
    for (int apart = 16; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffff, x, apart);
    return x;
}

// B's columns lie side by side: a warp has 32 * WIDTH of them and every WARPS-th k; the warps' sums are added up in order.
template <int ROWS, int WIDTH, int WARPS>
struct FewAcross {
    static constexpr int M = ROWS, N = 32 * WIDTH, THREADS = 32 * WARPS;

    template <class A, class B, class AtA, class AtB, class Put>
    __device__ __forceinline__ static void multiply(
        A a, AtA a_at, int m0, int m_end, B b, AtB b_at, int n0, int n_end, int k_begin, int k_end, Put put) {
        __shared__ float sums[WARPS][ROWS][N];
        const int warp = threadIdx.x / 32, column = threadIdx.x % 32 * WIDTH;
        float sum[ROWS][WIDTH] = {};
        #pragma unroll 4
        for (int k = k_begin + warp; k < k_end; k += WARPS) {
            float y[WIDTH];
            const Place source = b_at(n0 + column, k);
            take(y, b, source.at, source.there && n0 + column < n_end);
            #pragma unroll
            for (int row = 0; row < ROWS; ++row) {
                const Place from = a_at(m0 + row, k);
                float x[1];
                take(x, a, from.at, from.there && m0 + row < m_end);
                #pragma unroll
                for (int i = 0; i < WIDTH; ++i) sum[row][i] = fmaf(x[0], y[i], sum[row][i]);
            }
        }
        #pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            #pragma unroll
            for (int i = 0; i < WIDTH; ++i) sums[warp][row][column + i] = sum[row][i];
        }
        __syncthreads();
        for (int at = threadIdx.x; at < ROWS * N; at += THREADS) {
            const int row = at / N, n = at % N;
            float total = 0.0f;
            #pragma unroll
            for (int from = 0; from < WARPS; ++from) total += sums[from][row][n];
            if (m0 + row < m_end && n0 + n < n_end) put(m0 + row, n0 + n, &total);
        }
    }
};

// B's columns lie along k: a warp has one of them, and its threads every 32nd piece of WIDTH along k.
template <int ROWS, int WIDTH, int WARPS>
struct FewAlong {
    static constexpr int M = ROWS, N = WARPS, THREADS = 32 * WARPS;

    template <class A, class B, class AtA, class AtB, class Put>
    __device__ __forceinline__ static void multiply(
        A a, AtA a_at, int m0, int m_end, B b, AtB b_at, int n0, int n_end, int k_begin, int k_end, Put put) {
        const int lane = threadIdx.x % 32, n = n0 + threadIdx.x / 32;
        if (n >= n_end) return;
        float sum[ROWS] = {};
        #pragma unroll 2
        for (int k = k_begin + lane * WIDTH; k < k_end; k += 32 * WIDTH) {
            float y[WIDTH];
            const Place source = b_at(n, k);
            take(y, b, source.at, source.there);
            #pragma unroll
            for (int row = 0; row < ROWS; ++row) {
                float x[WIDTH];
                const Place from = a_at(m0 + row, k);
                take(x, a, from.at, from.there && m0 + row < m_end);
                #pragma unroll
                for (int i = 0; i < WIDTH; ++i) sum[row] = fmaf(x[i], y[i], sum[row]);
            }
        }
        #pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            const float total = sum_of_warp(sum[row]);
            if (lane == row && m0 + row < m_end) put(m0 + row, n, &total);
        }
    }
};

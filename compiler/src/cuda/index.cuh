// Moving and adding by index, sums along an axis.

// The row that an index names, clamped. The least place whose index is out of range is kept, with it.
__device__ __forceinline__ int row_of(int index, int rows, int place, unsigned long long* stray, bool notes) {
    if (0 <= index && index < rows) return index;
    if (notes) atomicMin(stray, (unsigned long long)place << 32 | (unsigned)index);
    return index < 0 ? 0 : rows - 1;
}

// Adds rows of updates to the rows that indices name, in the order of the indices: a block owns ROWS rows and COLS columns of the result. It looks
// for indices of its rows, a piece at a time, lists these in order, and each thread adds to its column in some of the rows.
template <int ROWS, int COLS>
struct ScatterAdd {
    static constexpr int THREADS = 128, TURNS = 4, PIECE = THREADS * TURNS, GROUPS = THREADS / COLS;

    __device__ __forceinline__ static void run(
        const float* updates, const int* indices, int count, float* out, int axis, int inner, int row0, int col0,
        unsigned long long* stray, bool notes) {
        __shared__ float sums[ROWS][COLS];
        __shared__ int rows[PIECE], places[PIECE], counts[PIECE / 32];
        const int col = threadIdx.x % COLS, group = threadIdx.x / COLS, warp = threadIdx.x / 32;
        for (int row = group; row < ROWS; row += GROUPS) sums[row][col] = 0.0f;
        for (int first = 0; first < count; first += PIECE) {
            int row[TURNS];
            unsigned found[TURNS];
            #pragma unroll
            for (int turn = 0; turn < TURNS; ++turn) {
                const int place = first + turn * THREADS + threadIdx.x;
                row[turn] = place < count ? row_of(indices[place], axis, place, stray, notes) - row0 : -1;
                found[turn] = __ballot_sync(0xffffffff, 0 <= row[turn] && row[turn] < ROWS);
                if (threadIdx.x % 32 == 0) counts[turn * (THREADS / 32) + warp] = __popc(found[turn]);
            }
            __syncthreads();
            int listed = 0;
            #pragma unroll
            for (int part = 0; part < PIECE / 32; ++part) {
                if (part % (THREADS / 32) == warp) {
                    const int turn = part / (THREADS / 32);
                    const unsigned before = (1u << threadIdx.x % 32) - 1;
                    if (found[turn] >> threadIdx.x % 32 & 1) {
                        const int at = listed + __popc(found[turn] & before);
                        rows[at] = row[turn];
                        places[at] = first + turn * THREADS + threadIdx.x;
                    }
                }
                listed += counts[part];
            }
            __syncthreads();
            if (col0 + col < inner) {
                #pragma unroll 4
                for (int at = 0; at < listed; ++at) {
                    if (GROUPS > 1 && rows[at] % GROUPS != group) continue;
                    sums[rows[at]][col] += updates[places[at] * inner + col0 + col];
                }
            }
            __syncthreads();
        }
        if (col0 + col < inner) {
            for (int row = group; row < ROWS && row0 + row < axis; row += GROUPS) {
                out[(row0 + row) * inner + col0 + col] = sums[row][col];
            }
        }
    }
};

// The sums of the elements up to each one of a row, by a block: each thread has four neighbours, each warp its sum of them.
__device__ __forceinline__ void sums_of_row(const float* x, float* out, int axis, int step, bool reverse, bool exclusive) {
    constexpr int THREADS = 256, PIECE = 4 * THREADS;
    __shared__ float totals[THREADS / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float before = 0.0f;
    for (int first = 0; first < axis; first += PIECE) {
        float own[4], sum = 0.0f;
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int place = first + 4 * threadIdx.x + i;
            own[i] = place < axis ? x[(reverse ? axis - 1 - place : place) * step] : 0.0f;
            sum += own[i];
        }
        float up_to = sum;
        #pragma unroll
        for (int apart = 1; apart < 32; apart *= 2) {
            const float other = __shfl_up_sync(0xffffffff, up_to, apart);
            if (lane >= apart) up_to += other;
        }
        if (lane == 31) totals[warp] = up_to;
        __syncthreads();
        float here = before + (up_to - sum);
        #pragma unroll
        for (int from = 0; from < THREADS / 32; ++from) {
            if (from < warp) here += totals[from];
            before += totals[from];
        }
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int place = first + 4 * threadIdx.x + i;
            const float with = here + own[i];
            if (place < axis) out[(reverse ? axis - 1 - place : place) * step] = exclusive ? here : with;
            here = with;
        }
        __syncthreads();
    }
}

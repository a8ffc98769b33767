// Sorting rows. An element and its place are one key, an unsigned number that sorts as the element does and then by place: so the sort is
// stable however it is done. Not-a-number is the largest.

__device__ __forceinline__ unsigned order_of(float x) {
    const unsigned bits = __float_as_uint(x + 0.0f);
    return x != x ? 0xffffffffu : bits >> 31 ? ~bits : bits | 1u << 31;
}
__device__ __forceinline__ unsigned order_of(int x) { return (unsigned)x ^ 1u << 31; }
__device__ __forceinline__ unsigned order_of(signed char x) { return order_of((int)x); }
__device__ __forceinline__ unsigned order_of(unsigned char x) { return x; }
__device__ __forceinline__ unsigned long long order_of(double x) {
    const unsigned long long bits = (unsigned long long)__double_as_longlong(x + 0.0);
    return x != x ? ~0ull : bits >> 63 ? ~bits : bits | 1ull << 63;
}
__device__ __forceinline__ unsigned long long order_of(long long x) { return (unsigned long long)x ^ 1ull << 63; }

// The key of an element of up to 32 bits, and of a wider one.
struct NarrowKey {
    unsigned long long word;
    __device__ __forceinline__ static NarrowKey of(unsigned order, unsigned place) { return {(unsigned long long)order << 32 | place}; }
    __device__ __forceinline__ static NarrowKey last() { return {~0ull}; }
    __device__ __forceinline__ bool before(const NarrowKey& other) const { return word < other.word; }
    __device__ __forceinline__ int place() const { return (int)(unsigned)word; }
};
struct WideKey {
    unsigned long long order;
    unsigned at;
    __device__ __forceinline__ static WideKey of(unsigned long long order, unsigned place) { return {order, place}; }
    __device__ __forceinline__ static WideKey last() { return {~0ull, ~0u}; }
    __device__ __forceinline__ bool before(const WideKey& other) const {
        return order < other.order || order == other.order && at < other.at;
    }
    __device__ __forceinline__ int place() const { return (int)at; }
};

// Sorts SIZE keys of shared memory, a power of two (Batcher's bitonic network).
template <int SIZE, int THREADS, class Key>
__device__ __forceinline__ void sort_keys(Key* keys) {
    for (int size = 2; size <= SIZE; size *= 2) {
        for (int apart = size / 2; apart > 0; apart /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < SIZE / 2; pair += THREADS) {
                const int low = pair / apart * (2 * apart) + pair % apart, high = low + apart;
                const Key x = keys[low], y = keys[high];
                if (y.before(x) == ((low & size) == 0)) {
                    keys[low] = y;
                    keys[high] = x;
                }
            }
        }
    }
    __syncthreads();
}

// The first `count` of a row in order. The block keeps the KEEP first keys that it has met; keys before the last of these are gathered behind
// them until there is no more room, and then all are sorted. What comes after the first KEEP is found by going through the row again.
template <class Key, int SIZE, int KEEP, bool FALLING, class T>
__device__ __forceinline__ void sort_row(const T* x, T* values, int* places, int axis, int count) {
    constexpr int THREADS = 256;
    __shared__ Key keys[SIZE];
    __shared__ int gathered;
    Key done = Key::last();
    for (int first = 0; first < count; first += KEEP) {
        for (int at = threadIdx.x; at < SIZE; at += THREADS) keys[at] = Key::last();
        if (threadIdx.x == 0) gathered = KEEP;
        __syncthreads();
        Key bound = Key::last();
        for (int from = 0; from < axis; from += THREADS) {
            const int place = from + threadIdx.x;
            if (place < axis) {
                const auto order = order_of(x[place]);
                const Key key = Key::of(FALLING ? ~order : order, place);
                if (key.before(bound) && (first == 0 || done.before(key))) keys[atomicAdd(&gathered, 1)] = key;
            }
            __syncthreads();
            const bool full = gathered > SIZE - THREADS;
            __syncthreads();
            if (full || from + THREADS >= axis) {
                sort_keys<SIZE, THREADS>(keys);
                bound = keys[KEEP - 1];
                for (int at = KEEP + threadIdx.x; at < SIZE; at += THREADS) keys[at] = Key::last();
                if (threadIdx.x == 0) gathered = KEEP;
                __syncthreads();
            }
        }
        for (int at = threadIdx.x; at < KEEP && first + at < count; at += THREADS) {
            const int place = keys[at].place();
            places[first + at] = place;
            values[first + at] = x[place];
        }
        done = keys[KEEP - 1];
        __syncthreads();
    }
}

// The same for short rows, several in a block: a thread has one element, and counts those that come before it.
template <class Key, int AXIS, bool FALLING, class T>
__device__ __forceinline__ void rank_rows(const T* x, T* values, int* places, int rows, int count) {
    constexpr int THREADS = 256, HELD = THREADS / AXIS;
    __shared__ Key keys[HELD * AXIS];
    const int own = threadIdx.x / AXIS, place = threadIdx.x % AXIS, row = blockIdx.x * HELD + own;
    const bool there = own < HELD && row < rows;
    Key key = Key::last();
    if (there) {
        const auto order = order_of(x[row * AXIS + place]);
        key = Key::of(FALLING ? ~order : order, place);
        keys[threadIdx.x] = key;
    }
    __syncthreads();
    if (!there) return;
    int rank = 0;
    for (int other = 0; other < AXIS; ++other) rank += keys[own * AXIS + other].before(key);
    if (rank < count) {
        places[row * count + rank] = place;
        values[row * count + rank] = x[row * AXIS + place];
    }
}

// Reading memory: several elements at once, narrow ones widened, and copies to shared memory behind a thread's back.

// An element of an operand: its place, and whether it is there at all. What is not there counts as 0.
struct Place { int at; bool there; };

template <class T> constexpr bool is_float = false;
template <> constexpr bool is_float<float> = true;

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(signed char x) { return (float)x; }

// WIDTH elements from a place on, which lies at a multiple of their size together; zeros where they are not there.
template <int WIDTH, class T>
__device__ __forceinline__ void load(float (&to)[WIDTH], const T* from, int at, bool there) {
    #pragma unroll
    for (int i = 0; i < WIDTH; ++i) to[i] = 0.0f;
    if (there) {
        const pack<T, WIDTH> values = load<WIDTH>(from + at);
        #pragma unroll
        for (int i = 0; i < WIDTH; ++i) to[i] = widen(values[i]);
    }
}

// WIDTH elements to such a place.
template <int WIDTH>
__device__ __forceinline__ void store(float* to, const float* values) {
    pack<float, WIDTH> all;
    #pragma unroll
    for (int i = 0; i < WIDTH; ++i) all[i] = values[i];
    store(to, all);
}

// Begins to copy 16, 8 or 4 bytes to shared memory, or zeros where they are not there.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there) {
    const unsigned place = (unsigned)__cvta_generic_to_shared(to);
    if constexpr (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(place), "l"(from), "r"(there ? 16 : 0) : "memory");
    else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" :: "r"(place), "l"(from), "n"(BYTES), "r"(there ? BYTES : 0) : "memory");
}

// What this thread began to copy since the last call is one group.
__device__ __forceinline__ void copies_grouped() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until no more than so many of this thread's groups, the last ones, are on their way.
template <int GROUPS>
__device__ __forceinline__ void copies_done() { asm volatile("cp.async.wait_group %0;" :: "n"(GROUPS) : "memory"); }

// Which piece of 16 bytes a thread brings of lines of PIECES of them, which lie one piece further apart: eight neighbours have pieces of one line,
// or, of short lines, two of every second one of eight lines, so that they meet different banks.
struct LinePiece { int line, at; };
template <int PIECES>
__device__ __forceinline__ LinePiece piece_of(int number) {
    if constexpr (PIECES >= 8) {
        return {number / PIECES, number % PIECES};
    } else {
        const int part = number / 8 % PIECES;
        return {number / (8 * PIECES) * 8 + number / 2 % 4 * 2 + part / (PIECES / 2), part % (PIECES / 2) * 2 + number % 2};
    }
}

// Reading memory: several elements at once, narrow ones widened, and copies to shared memory behind a thread's back.

// An element of an operand: its place, and whether it is there at all. What is not there counts as 0.
struct Place { int at; bool there; };

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(signed char x) { return (float)x; }

// Elements as numbers that are multiplied: as they are, or widened.
template <int WIDTH, class S>
__device__ __forceinline__ void numbers(float* to, const pack<S, WIDTH>& from) {
    #pragma unroll
    for (int i = 0; i < WIDTH; ++i) to[i] = widen(from[i]);
}

// Two differences at once.
__device__ __forceinline__ unsigned difference(half_t, unsigned a, unsigned b) {
    unsigned c; asm("sub.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b)); return c;
}
__device__ __forceinline__ unsigned difference(bfloat_t, unsigned a, unsigned b) {
    unsigned c; asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(c) : "r"(a), "r"(0x3f803f80), "r"(b ^ 0x80008000)); return c;
}

// Numbers of i8 as floats of 16 bits, which all of them are. There is no conversion of several, and one of each would take a good part of the time of
// their products. So the seven lower bits of a number stand behind a float's upper bits, where they add up to 2^7 (bf16) or 2^10 (f16) and
// themselves; that power, and 128 more where the number is negative, is subtracted from two at once. Nothing of it is rounded.
template <int WIDTH, unsigned UPPER, class T>
__device__ __forceinline__ void halves(T* to, const pack<signed char, WIDTH>& from) {
    if constexpr (WIDTH % 4 == 0) {
        #pragma unroll
        for (int four = 0; four < WIDTH / 4; ++four) {
            const unsigned all = ((const unsigned*)&from)[four], lower = all & 0x7f7f7f7f, sign = all & 0x80808080;
            ((unsigned*)to)[2 * four] = difference(T{}, __byte_perm(lower, UPPER, 0x4140), __byte_perm(sign, UPPER, 0x4140));
            ((unsigned*)to)[2 * four + 1] = difference(T{}, __byte_perm(lower, UPPER, 0x4342), __byte_perm(sign, UPPER, 0x4342));
        }
    } else {
        #pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            const unsigned one = (unsigned char)from[i], upper = UPPER & 0xff00;
            ((unsigned short*)to)[i] = (unsigned short)difference(T{}, upper | one & 0x7f, upper | one & 0x80);
        }
    }
}
template <int WIDTH>
__device__ __forceinline__ void numbers(half_t* to, const pack<signed char, WIDTH>& from) { halves<WIDTH, 0x64646464>(to, from); }
template <int WIDTH>
__device__ __forceinline__ void numbers(bfloat_t* to, const pack<signed char, WIDTH>& from) { halves<WIDTH, 0x43434343>(to, from); }

// What the elements of an operand are loaded from. First a thread reads what it needs of WIDTH neighbours from a place on, and has it in registers
// (`Held`); numbers are made of that when it has come. Memory is one such source, and its elements may be narrower than what is multiplied.
template <class From> struct Source;
template <class S> struct Source<const S*> {
    typedef S element;
    static constexpr bool MAPS = false;
    template <int WIDTH> using Held = pack<S, WIDTH>;
    template <int WIDTH>
    __device__ __forceinline__ static pack<S, WIDTH> read(const S* from, int at) { return load<WIDTH>(from + at); }
    template <int WIDTH, class T>
    __device__ __forceinline__ static void make(const S*, const pack<S, WIDTH>& held, int, T* to) { numbers<WIDTH>(to, held); }
};
template <class S> struct Source<S*> : Source<const S*> {};

// The other one is a map over what lies elsewhere: its elements are in memory nowhere. A kernel's own functions read (at) -> Held and
// make (held, at, to) numbers of a type T; both know how many neighbours they are of.
template <class T, class H, class Read, class Make> struct Mapped { Read read; Make make; };
template <class T, class H, class Read, class Make>
__device__ __forceinline__ Mapped<T, H, Read, Make> mapped(Read read, Make make) { return {read, make}; }
template <class T, class H, class Read, class Make> struct Source<Mapped<T, H, Read, Make>> {
    typedef T element;
    static constexpr bool MAPS = true;
    template <int WIDTH> using Held = H;
    template <int WIDTH>
    __device__ __forceinline__ static H read(const Mapped<T, H, Read, Make>& from, int at) { return from.read(at); }
    template <int WIDTH, class N>
    __device__ __forceinline__ static void make(const Mapped<T, H, Read, Make>& from, const H& held, int at, N* to) {
        if constexpr (sizeof(N) == sizeof(T)) {
            from.make(held, at, to);
        } else {
            T made[WIDTH];
            from.make(held, at, made);
            #pragma unroll
            for (int i = 0; i < WIDTH; ++i) to[i] = widen(made[i]);
        }
    }
};

// Whether elements are multiplied as they lie in memory.
template <class From, class T> constexpr bool as_they_are = !Source<From>::MAPS && sizeof(typename Source<From>::element) == sizeof(T);

// Numbers of WIDTH neighbours at once; zeros where they are not there, whatever a map makes of nothing.
template <int WIDTH, class From>
__device__ __forceinline__ void take(float (&to)[WIDTH], const From& from, int at, bool there) {
    #pragma unroll
    for (int i = 0; i < WIDTH; ++i) to[i] = 0.0f;
    if (there) Source<From>::template make<WIDTH>(from, Source<From>::template read<WIDTH>(from, at), at, to);
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

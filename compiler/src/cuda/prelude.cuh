// What every kernel of Weft may use. No header is included, so that NVRTC needs nothing but itself.

// For functions within a kernel.
#define inlined __attribute__((always_inline))

#define INF __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fc00000)

// Floats of 16 bits, as their bits. In registers they are floats.
struct half_t { unsigned short bits; };
struct bfloat_t { unsigned short bits; };

__device__ __forceinline__ float widen(half_t x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }
__device__ __forceinline__ float widen(bfloat_t x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ __forceinline__ half_t to_half(float x) { half_t y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); return y; }
__device__ __forceinline__ bfloat_t to_bfloat(float x) { bfloat_t y; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); return y; }

// Rounded down, for a divisor above 0.
__device__ __forceinline__ int floor_div(int a, int b) { int q = a / b; return a % b < 0 ? q - 1 : q; }
__device__ __forceinline__ int floor_rem(int a, int b) { int r = a % b; return r < 0 ? r + b : r; }

// What many numbers are divided by that is not known before: a quotient is a product with its reciprocal (Granlund and Montgomery 1994), for
// numbers from 0 on. Division by itself takes conversions to floats, which would share the pipes of the multiply-adds.
struct Divisor {
    int by;
    unsigned times, shift;
    // Of 0, nothing is a multiple; it only counts.
    __device__ __forceinline__ explicit Divisor(int by) : by(by) {
        const unsigned positive = max(by, 1);
        shift = positive == 1 ? 0 : 32 - __clz(positive - 1);
        times = (unsigned)((((1ull << shift) - positive) << 32) / positive) + 1;
    }
    __device__ __forceinline__ operator int() const { return by; }
};
__device__ __forceinline__ int operator/(int a, const Divisor& b) { return (int)((__umulhi((unsigned)a, b.times) + (unsigned)a) >> b.shift); }
__device__ __forceinline__ int operator%(int a, const Divisor& b) { return a - a / b * b.by; }

// 0 <= at < limit.
__device__ __forceinline__ bool within(int at, int limit) { return (unsigned)at < (unsigned)limit; }

// ---- elements side by side

// As many elements as are moved at once, by accesses of up to 16 bytes.
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) pack {
    T at[N];
    __device__ __forceinline__ T& operator[](int k) { return at[k]; }
    __device__ __forceinline__ const T& operator[](int k) const { return at[k]; }
};

template <int N, typename T> __device__ __forceinline__ pack<T, N> fill(T value) {
    pack<T, N> all;
    #pragma unroll
    for (int k = 0; k < N; ++k) all[k] = value;
    return all;
}

template <int N, typename T> __device__ __forceinline__ pack<T, N> load(const T* from) {
    return *reinterpret_cast<const pack<T, N>*>(from);
}

template <int N, typename T> __device__ __forceinline__ void store(T* to, const pack<T, N>& values) {
    *reinterpret_cast<pack<T, N>*>(to) = values;
}

// The same where no more than `left` elements are there.
template <int N, typename T> __device__ __forceinline__ pack<T, N> load(const T* from, int left) {
    if (left >= N) return load<N>(from);
    pack<T, N> values = {};
    #pragma unroll
    for (int k = 0; k < N; ++k) if (k < left) values[k] = from[k];
    return values;
}

template <int N, typename T> __device__ __forceinline__ void store(T* to, const pack<T, N>& values, int left) {
    if (left >= N) return store(to, values);
    #pragma unroll
    for (int k = 0; k < N; ++k) if (k < left) to[k] = values[k];
}

// How many elements lie before this one in the 32 bytes that memory moves at once.
template <typename T> __device__ __forceinline__ int before_in_sector(const T* at) { return (unsigned long long)at % 32 / sizeof(T); }

// ---- arithmetic

// The larger (smaller) of two; not-a-number if either is.
__device__ __forceinline__ float largest(float a, float b) { float c; asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b)); return c; }
__device__ __forceinline__ float smallest(float a, float b) { float c; asm("min.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b)); return c; }
__device__ __forceinline__ double largest(double a, double b) { return a != a || a > b ? a : b; }
__device__ __forceinline__ double smallest(double a, double b) { return a != a || a < b ? a : b; }
template <typename T> __device__ __forceinline__ T largest(T a, T b) { return a > b ? a : b; }
template <typename T> __device__ __forceinline__ T smallest(T a, T b) { return a < b ? a : b; }

// 1, -1, or x itself where it is 0 or not a number.
template <typename T> __device__ __forceinline__ T sign_of(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : x; }

__device__ __forceinline__ float float_rem(float a, float b) { return fmaf(-floorf(a / b), b, a); }
__device__ __forceinline__ double float_rem(double a, double b) { return fma(-floor(a / b), b, a); }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

// The sine of `quadrant` right angles more than r, for |r| <= pi/4.
__device__ __forceinline__ float sin_turned(int quadrant, float r) {
    const float t = r * r;
    const float sin = fmaf(r * t, fmaf(t, fmaf(t, -1.9510834e-4f, 8.332131e-3f), -1.6666654e-1f), r);
    const float cos = fmaf(t * t, fmaf(t, fmaf(t, 2.4431194e-5f, -1.3887306e-3f), 4.1666646e-2f), fmaf(t, -0.5f, 1.0f));
    const float value = quadrant & 1 ? cos : sin;
    return quadrant & 2 ? -value : value;
}

// The sine of x, or its cosine, which is `by` = 1 right angle ahead. The library's reduction of large arguments works in local memory. Here
// x / 2 pi, without its whole turns, is a product of x's digits with 128 of those of 1 / 2 pi, from where they count.
__device__ __forceinline__ float turned_sin(float x, int by) {
    const unsigned bits = __float_as_uint(fabsf(x));
    int quadrant = 0;
    float r = fabsf(x);
    if (r > 0.785398163f) {
        const unsigned long long digits = (bits & 0x7fffff) | 0x800000;
        const unsigned from = (bits >> 23) - 126, shift = from % 64, word = from / 64;
        const unsigned long long d0 = 0x00000028be60db93ull, d1 = 0x91054a7f09d5f47dull, d2 = 0x4d377036d8a5664full;
        const unsigned long long d3 = 0x10e4107f9458eaf7ull, d4 = 0xaef1586dc91b8e90ull;
        const unsigned long long a = word == 0 ? d0 : word == 1 ? d1 : d2;
        const unsigned long long b = word == 0 ? d1 : word == 1 ? d2 : d3;
        const unsigned long long c = word == 0 ? d2 : word == 1 ? d3 : d4;
        // A shift by 64 would be none.
        const unsigned long long high = a << shift | (b >> 1) >> (63 - shift);
        const unsigned long long low = b << shift | (c >> 1) >> (63 - shift);
        const unsigned long long turns = digits * high + __umul64hi(digits, low);
        const unsigned long long nearest = (turns + (1ull << 61)) >> 62;
        quadrant = (int)nearest;
        r = (float)(long long)(turns - (nearest << 62)) * 3.40612158e-19f;
    }
    float value = sin_turned(quadrant + by, r);
    if (by == 0 && __float_as_uint(x) >> 31) value = -value;
    return bits < 0x7f800000u ? value : NOT_A_NUMBER;
}
__device__ __forceinline__ float sin_of(float x) { return turned_sin(x, 0); }
__device__ __forceinline__ float cos_of(float x) { return turned_sin(x, 1); }

// A quotient as a product with a reciprocal in two parts.
__device__ __forceinline__ float divided(float x, float by, float rest) { return fmaf(x, by, x * rest); }

// Integers wrap around at their width.
template <typename T> __device__ __forceinline__ T int_add(T a, T b) { return (T)((unsigned long long)a + (unsigned long long)b); }
template <typename T> __device__ __forceinline__ T int_sub(T a, T b) { return (T)((unsigned long long)a - (unsigned long long)b); }
template <typename T> __device__ __forceinline__ T int_mul(T a, T b) { return (T)((unsigned long long)a * (unsigned long long)b); }
template <typename T> __device__ __forceinline__ T int_neg(T a) { return int_sub(T(0), a); }
template <typename T> __device__ __forceinline__ T int_abs(T a) { return a < T(0) ? int_neg(a) : a; }

// Towards zero; by 0 it is 0. The smallest number by -1 wraps around.
template <typename T> __device__ __forceinline__ T int_div(T a, T b) {
    if (b == T(0)) return T(0);
    if (T(-1) < T(0) && b == T(-1)) return int_neg(a);
    return (T)(a / b);
}

// Rounded down, and what that leaves, of the sign of the divisor.
template <typename T> __device__ __forceinline__ T int_floor_div(T a, T b) {
    const T q = int_div(a, b), rest = int_sub(a, int_mul(q, b));
    return b != T(0) && rest != T(0) && (rest < T(0)) != (b < T(0)) ? int_sub(q, T(1)) : q;
}
template <typename T> __device__ __forceinline__ T int_rem(T a, T b) {
    return b == T(0) ? T(0) : int_sub(a, int_mul(int_floor_div(a, b), b));
}

// By squaring. Powers below 0, and beyond 2^32, are 0 except of 1 and -1.
template <typename T> __device__ __forceinline__ T int_pow(T a, T b) {
    const long long y = b;
    if (y < 0 || y >= (1LL << 32)) return a == T(1) ? T(1) : T(-1) < T(0) && a == T(-1) ? (y & 1 ? T(-1) : T(1)) : T(0);
    T power = T(1);
    for (unsigned left = (unsigned)y; left; left >>= 1, a = int_mul(a, a)) if (left & 1) power = int_mul(power, a);
    return power;
}

// Casts to integers round towards zero and end at the last number; not-a-number is 0.
__device__ __forceinline__ int to_int(float x) { return x == x ? __float2int_rz(x) : 0; }
__device__ __forceinline__ int to_int(double x) { return x == x ? __double2int_rz(x) : 0; }
__device__ __forceinline__ long long to_long(float x) { return x == x ? __float2ll_rz(x) : 0; }
__device__ __forceinline__ long long to_long(double x) { return x == x ? __double2ll_rz(x) : 0; }
template <typename T> __device__ __forceinline__ signed char to_char(T x) { return (signed char)max(min(to_int(x), 127), -128); }
template <typename T> __device__ __forceinline__ unsigned char to_byte(T x) { return (unsigned char)max(min(to_int(x), 255), 0); }

// ---- reductions by many threads, always in the same order

struct Sum {
    __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
    __device__ __forceinline__ double operator()(double a, double b) const { return a + b; }
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const { return int_add(a, b); }
};
struct Product {
    __device__ __forceinline__ float operator()(float a, float b) const { return a * b; }
    __device__ __forceinline__ double operator()(double a, double b) const { return a * b; }
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const { return int_mul(a, b); }
};
struct Any { __device__ __forceinline__ bool operator()(bool a, bool b) const { return a || b; } };
struct All { __device__ __forceinline__ bool operator()(bool a, bool b) const { return a && b; } };
// `beats`: is the first one better than the best so far? A first not-a-number is.
struct Largest {
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const { return largest(a, b); }
    template <typename T> static __device__ __forceinline__ bool beats(T a, T best) { return best == best && !(a <= best); }
};
struct Smallest {
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const { return smallest(a, b); }
    template <typename T> static __device__ __forceinline__ bool beats(T a, T best) { return best == best && !(a >= best); }
};

// The value of the lane whose number differs in the bits `by`. Lanes in groups of N leave a kernel together.
template <int N, typename T> __device__ __forceinline__ T other_lane(T value, int by) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned group = N == 32 ? 0xffffffffu : ((1u << (N % 32)) - 1) << (lane & ~(N - 1u));
    return __shfl_xor_sync(group, value, by);
}
template <int N> __device__ __forceinline__ bool other_lane(bool value, int by) { return other_lane<N>((int)value, by); }
template <int N> __device__ __forceinline__ signed char other_lane(signed char value, int by) { return (signed char)other_lane<N>((int)value, by); }
template <int N> __device__ __forceinline__ unsigned char other_lane(unsigned char value, int by) { return (unsigned char)other_lane<N>((int)value, by); }

// The results of N neighbouring lanes together, in each of them.
template <typename How, int N, typename T> __device__ __forceinline__ T fold_lanes(T value) {
    #pragma unroll
    for (int by = N / 2; by > 0; by /= 2) value = How()(value, other_lane<N>(value, by));
    return value;
}

// The same for the threads of a block.
template <typename How, int THREADS, typename T> __device__ __forceinline__ T fold_block(T value) {
    __shared__ T parts[THREADS / 32];
    value = fold_lanes<How, 32>(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[0];
    #pragma unroll
    for (int warp = 1; warp < THREADS / 32; ++warp) value = How()(value, parts[warp]);
    return value;
}

// Groups whose results one thread reads one after another; more are halved first.
__device__ constexpr int few_groups(int groups) { return groups > 16 ? few_groups((groups + 1) / 2) : groups; }

// The same for threads whose numbers are WIDTH apart.
template <typename How, int WIDTH, int GROUPS, typename T> __device__ __forceinline__ T fold_columns(T value, int thread = threadIdx.x) {
    __shared__ T parts[WIDTH * GROUPS];
    __syncthreads();
    parts[thread] = value;
    __syncthreads();
    #pragma unroll
    for (int left = GROUPS; left > few_groups(GROUPS); left = (left + 1) / 2) {
        const int half = (left + 1) / 2, from = thread + WIDTH * half;
        if (from < WIDTH * left) parts[thread] = How()(parts[thread], parts[from]);
        __syncthreads();
    }
    value = parts[thread % WIDTH];
    #pragma unroll
    for (int group = 1; group < few_groups(GROUPS); ++group) value = How()(value, parts[WIDTH * group + thread % WIDTH]);
    return value;
}

// A step of a reduction that finds a place: of equals the first.
template <typename How, typename T> __device__ __forceinline__ void arg_step(T& best, int& place, T value, int at) {
    if (How::beats(value, best)) { best = value; place = at; }
}
template <typename How, typename T> __device__ __forceinline__ void arg_join(T& best, int& place, T value, int at) {
    const bool equal = !How::beats(best, value) && !How::beats(value, best);
    if (How::beats(value, best) || (equal && at < place)) { best = value; place = at; }
}
template <typename How, int N, typename T> __device__ __forceinline__ void arg_lanes(T& best, int& place) {
    #pragma unroll
    for (int by = N / 2; by > 0; by /= 2) {
        const T value = other_lane<N>(best, by);
        arg_join<How>(best, place, value, other_lane<N>(place, by));
    }
}
template <typename How, int THREADS, typename T> __device__ __forceinline__ void arg_block(T& best, int& place) {
    __shared__ T values[THREADS / 32];
    __shared__ int places[THREADS / 32];
    arg_lanes<How, 32>(best, place);
    __syncthreads();
    if (threadIdx.x % 32 == 0) { values[threadIdx.x / 32] = best; places[threadIdx.x / 32] = place; }
    __syncthreads();
    best = values[0]; place = places[0];
    #pragma unroll
    for (int warp = 1; warp < THREADS / 32; ++warp) arg_join<How>(best, place, values[warp], places[warp]);
}
template <typename How, int WIDTH, int GROUPS, typename T> __device__ __forceinline__ void arg_columns(T& best, int& place, int thread = threadIdx.x) {
    __shared__ T values[WIDTH * GROUPS];
    __shared__ int places[WIDTH * GROUPS];
    __syncthreads();
    values[thread] = best; places[thread] = place;
    __syncthreads();
    #pragma unroll
    for (int left = GROUPS; left > few_groups(GROUPS); left = (left + 1) / 2) {
        const int half = (left + 1) / 2, from = thread + WIDTH * half;
        if (from < WIDTH * left) arg_join<How>(values[thread], places[thread], values[from], places[from]);
        __syncthreads();
    }
    best = values[thread % WIDTH]; place = places[thread % WIDTH];
    #pragma unroll
    for (int group = 1; group < few_groups(GROUPS); ++group) {
        const int from = WIDTH * group + thread % WIDTH;
        arg_join<How>(best, place, values[from], places[from]);
    }
}

// ---- random numbers: Philox4x32-10 (Salmon et al., 2011), counted by element; the streams of the CPU, bit for bit

__device__ __forceinline__ pack<unsigned, 4> random_block(const long long* state, unsigned long long key, unsigned block) {
    const unsigned long long seed = (unsigned long long)state[0] ^ key, batch = (unsigned long long)state[1];
    unsigned c0 = block, c1 = 0, c2 = (unsigned)batch, c3 = (unsigned)(batch >> 32);
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0; c1 = low1; c2 = high0 ^ c3 ^ k1; c3 = low0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// In [0, 1), multiples of 2^-24.
__device__ __forceinline__ float random_unit(unsigned bits) { return (float)(int)(bits >> 8) * (1.0f / 16777216.0f); }

// Box and Muller's pair of two words: its even and its odd element.
__device__ __forceinline__ float random_pair(unsigned first, unsigned second, bool odd) {
    const float radius = sqrtf(-2.0f * logf((float)(int)((first >> 8) + 1) * (1.0f / 16777216.0f)));
    const float turns = 4.0f * random_unit(second), right = rintf(turns);
    return radius * sin_turned((int)right + (odd ? 0 : 1), (turns - right) * 1.57079632679489661923f);
}

// Elements from `first` on, a multiple of 4.
template <int N> __device__ __forceinline__ pack<float, N> random_uniform(const long long* state, unsigned long long key, unsigned first) {
    pack<float, N> values;
    #pragma unroll
    for (int k = 0; k < N; k += 4) {
        const auto bits = random_block(state, key, (first + k) / 4);
        #pragma unroll
        for (int lane = 0; lane < 4; ++lane) values[k + lane] = random_unit(bits[lane]);
    }
    return values;
}
template <int N> __device__ __forceinline__ pack<float, N> random_normal(const long long* state, unsigned long long key, unsigned first) {
    pack<float, N> values;
    #pragma unroll
    for (int k = 0; k < N; k += 4) {
        const auto bits = random_block(state, key, (first + k) / 4);
        #pragma unroll
        for (int lane = 0; lane < 4; ++lane) values[k + lane] = random_pair(bits[lane & 2], bits[lane | 1], lane & 1);
    }
    return values;
}

// One element.
__device__ __forceinline__ float random_uniform(const long long* state, unsigned long long key, unsigned at) {
    const auto bits = random_block(state, key, at / 4);
    const unsigned lane = at % 4;
    return random_unit(lane == 0 ? bits[0] : lane == 1 ? bits[1] : lane == 2 ? bits[2] : bits[3]);
}
__device__ __forceinline__ float random_normal(const long long* state, unsigned long long key, unsigned at) {
    const auto bits = random_block(state, key, at / 4);
    return at & 2 ? random_pair(bits[2], bits[3], at & 1) : random_pair(bits[0], bits[1], at & 1);
}

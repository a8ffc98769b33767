// What every kernel of Weft may use. No header is included, so that NVRTC needs nothing but itself.

// Floats of 16 bits, as their bits.
struct half_t { unsigned short bits; };
struct bfloat_t { unsigned short bits; };

// Rounded down, for a divisor above 0.
__device__ __forceinline__ int floor_div(int a, int b) { int q = a / b; return a % b < 0 ? q - 1 : q; }
__device__ __forceinline__ int floor_rem(int a, int b) { int r = a % b; return r < 0 ? r + b : r; }

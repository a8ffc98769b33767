// Sums by warps with many kinds of exchange.
extern "C" __global__ void layer_norm(const float* x, float* y, int columns) {
  __shared__ float part[2][32];
  const float* row = x + blockIdx.x * columns;
  float sum = 0.f, squares = 0.f;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) sum += row[c], squares += row[c] * row[c];
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o), squares += __shfl_xor_sync(~0u, squares, o);
  if (threadIdx.x % 32 == 0) part[0][threadIdx.x / 32] = sum, part[1][threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x < 32) {
    int warps = blockDim.x / 32;
    sum = threadIdx.x < warps ? part[0][threadIdx.x] : 0.f;
    squares = threadIdx.x < warps ? part[1][threadIdx.x] : 0.f;
    for (int o = 16; o; o >>= 1) sum += __shfl_down_sync(~0u, sum, o), squares += __shfl_down_sync(~0u, squares, o);
    __syncwarp();
    if (threadIdx.x == 0) part[0][0] = sum, part[1][0] = squares;
  }
  __syncthreads();
  float mean = part[0][0] / columns, scale = rsqrtf(part[1][0] / columns - mean * mean + 1e-5f);
  for (int c = threadIdx.x; c < columns; c += blockDim.x) y[blockIdx.x * columns + c] = (row[c] - mean) * scale;
}

// A histogram in shared memory, added to one in device memory; the largest value; how many warps saw an odd one.
extern "C" __global__ void histogram(const int* x, int n, int* counts, int* most, unsigned* warps, double* sum) {
  __shared__ int bins[16];
  if (threadIdx.x < 16) bins[threadIdx.x] = 0;
  __syncthreads();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int value = i < n ? x[i] : -1;
  if (value >= 0) {
    atomicAdd(&bins[value & 15], 1);
    atomicMax(most, value);
    atomicAdd(sum, (double)value);
  }
  unsigned odd = __ballot_sync(~0u, value >= 0 && value & 1);
  if (threadIdx.x % 32 == 0 && odd) atomicInc(warps, 0xffffffffu);
  __syncthreads();
  if (threadIdx.x < 16 && bins[threadIdx.x]) atomicAdd(&counts[threadIdx.x], bins[threadIdx.x]);
}

// A step of Adam over a struct of pointers, read by index from the parameters.
struct Tensors { float* p[3]; const float* g[3]; float* m[3]; float* v[3]; int n[3]; };
extern "C" __global__ void adam(const Tensors t, int* step, float rate) {
  int which = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= t.n[which]) return;
  int s = *step;
  float g = t.g[which][i];
  float m = t.m[which][i] = 0.9f * t.m[which][i] + 0.1f * g;
  float v = t.v[which][i] = 0.999f * t.v[which][i] + 0.001f * g * g;
  t.p[which][i] -= rate * (m / (1.f - powf(0.9f, s))) / (sqrtf(v / (1.f - powf(0.999f, s))) + 1e-8f);
}
extern "C" __global__ void count_up(int* step) { *step += 1; }

// Blocks that wait for each other.
extern "C" __global__ void all_blocks(unsigned* arrived, unsigned* out) {
  if (threadIdx.x == 0) {
    atomicAdd(arrived, 1u);
    while (*(volatile unsigned*)arrived < gridDim.x) {}
    out[blockIdx.x] = *(volatile unsigned*)arrived;
  }
}

// A lock that lanes of one warp take in turn: they must be independent of each other.
extern "C" __global__ void lock(int* taken, int* sum) {
  bool done = false;
  while (!done) {
    if (atomicCAS(taken, 0, 1) == 0) {
      *(volatile int*)sum = *(volatile int*)sum + (int)threadIdx.x;
      __threadfence();
      atomicExch(taken, 0);
      done = true;
    }
  }
}

__device__ __noinline__ int collatz(int n, int* steps) {
  *steps = 0;
  while (n != 1) n = n & 1 ? 3 * n + 1 : n / 2, *steps += 1;
  return n;
}
__device__ __noinline__ float choose(int which, float x) {
  switch (which) {
    case 0: return x + 1.f;
    case 1: return x * 2.f;
    case 2: return sinf(x);
    case 3: return expf(-x);
    case 4: return sqrtf(x);
    case 5: return x * x - 1.f;
    default: return 0.f;
  }
}
// Functions that are called by lanes that have parted, loops of different lengths, switches, local memory.
extern "C" __global__ void calls(const int* n, const float* x, float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, steps;
  float table[8];
  for (int j = 0; j < 8; j++) table[j] = x[i] * j;
  int one = n[i] % 3 ? collatz(n[i], &steps) : collatz(n[i] + 5, &steps) + 1;
  y[i] = choose(n[i] % 7, x[i]) + steps + one * 1000 + table[n[i] & 7];
}

__constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int counter;
extern "C" __global__ void chain(const float4* __restrict__ x, float4* y, int n, float s) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) { float4 v = x[i]; v.x = expf(v.x) * s; v.y = tanhf(v.y); v.z = v.z / (1.f + v.z*v.z); v.w = logf(fabsf(v.w)) + table[i & 3]; y[i] = v; }
}
__device__ __noinline__ float helper(float a, int n) { float s = 0; for (int i = 0; i < n; i++) s += a * i; return s; }
extern "C" __global__ void softmax(const float* x, float* y, int cols) {
  __shared__ float part[32];
  extern __shared__ float dyn[];
  int row = blockIdx.x; float m = -__int_as_float(0x7f800000);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) { dyn[c] = x[row*cols+c]; m = fmaxf(m, dyn[c]); }
  for (int o = 16; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = m;
  __syncthreads();
  m = part[0]; for (int i = 1; i < (blockDim.x >> 5); i++) m = fmaxf(m, part[i]);
  float s = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) { float e = __expf(dyn[c] - m); dyn[c] = e; s += e; }
  for (int o = 16; o; o >>= 1) s += __shfl_down_sync(~0u, s, o);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
  __syncthreads();
  s = 0; for (int i = 0; i < (blockDim.x >> 5); i++) s += part[i];
  for (int c = threadIdx.x; c < cols; c += blockDim.x) y[row*cols+c] = dyn[c] / s + helper(0.f, cols);
  if (threadIdx.x == 0) atomicAdd(&counter, 1);
}

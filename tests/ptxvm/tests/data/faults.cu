// Kernels that are wrong, each in one way.
extern "C" __global__ void no_barrier(const float* x, float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void no_warp_barrier(const float* x, float* y) {
  __shared__ float s[32];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[31 - threadIdx.x];
}
extern "C" __global__ void one_too_far(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = x[i];
}
extern "C" __global__ void never_written(float* y) {
  __shared__ float s[64];
  if (threadIdx.x < 63) s[threadIdx.x] = 1.f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void no_wait(const float4* x, float4* y) {
  __shared__ float4 s[32];
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(&s[threadIdx.x])), "l"(x + threadIdx.x));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 1;");
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void parted_barrier(const float* x, float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x % 2) {
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x ^ 1];
  } else {
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x ^ 1] + 1.f;
  }
}
extern "C" __global__ void missing_warp(const float* x, float* y) {
  if (threadIdx.x >= 32) asm volatile("bar.sync 1, 64;");
  else y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void misaligned(const float* x, float4* y) {
  y[threadIdx.x] = *(const float4*)(x + 1 + threadIdx.x * 4);
}
extern "C" __global__ void null_pointer(const long long* x, float* y) { y[threadIdx.x] = ((const float*)(x[0] >> 63))[threadIdx.x]; }
extern "C" __global__ void for_ever(volatile int* x) { while (*x == 0) {} }
extern "C" __global__ void beyond_shared(float* y) {
  extern __shared__ float s[];
  s[threadIdx.x] = 1.f;
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void missing_lane(const float* x, float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
  else y[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 1) + 1.f;
}
extern "C" __global__ void traps(int* x) { if (*x == 7) __trap(); }
extern "C" __global__ void overwritten_too_early(const float* x, float* y) {
  __shared__ float s[64];
  for (int i = 0; i < 2; i++) {
    s[threadIdx.x] = x[threadIdx.x + 64 * i];
    __syncthreads();
    y[threadIdx.x + 64 * i] = s[63 - threadIdx.x];
  }
}

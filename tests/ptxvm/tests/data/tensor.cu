#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// c = a · b for row-major a (m × k) and b (k × n) of bf16: a tile of 64 × 64 by four warps, two stages of cp.async,
// ldmatrix and mma.m16n8k16. n and k are multiples of 8; rows past the end are filled with zeros.
extern "C" __global__ void bf16_gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int m, int n, int k) {
  __shared__ __align__(16) __nv_bfloat16 as[2][64][40];
  __shared__ __align__(16) __nv_bfloat16 bs[2][32][72];
  int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  int row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
  float sum[2][4][4] = {};
  int wm = (warp / 2) * 32, wn = (warp % 2) * 32;
  auto fetch = [&](int stage, int t) {
    for (int i = thread; i < 256; i += 128) {
      int r = i / 4, x = i % 4 * 8;
      int given = row0 + r < m && t + x < k ? 16 : 0;
      const void* from = given ? (const void*)(a + (row0 + r) * k + t + x) : (const void*)a;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(&as[stage][r][x])), "l"(from), "r"(given));
      r = i / 8, x = i % 8 * 8;
      given = t + r < k && column0 + x < n ? 16 : 0;
      from = given ? (const void*)(b + (t + r) * n + column0 + x) : (const void*)b;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(&bs[stage][r][x])), "l"(from), "r"(given));
    }
    asm volatile("cp.async.commit_group;");
  };
  fetch(0, 0);
  int stage = 0;
  for (int t = 0; t < k; t += 32, stage ^= 1) {
    if (t + 32 < k) {
      fetch(stage ^ 1, t + 32);
      asm volatile("cp.async.wait_group 1;");
    } else {
      asm volatile("cp.async.wait_group 0;");
    }
    __syncthreads();
    for (int kk = 0; kk < 32; kk += 16) {
      unsigned fa[2][4], fb[4][2];
      for (int i = 0; i < 2; i++) {
        unsigned at = shared_address(&as[stage][wm + i * 16 + lane % 16][kk + lane / 16 * 8]);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(fa[i][0]), "=r"(fa[i][1]), "=r"(fa[i][2]), "=r"(fa[i][3]) : "r"(at));
      }
      for (int j = 0; j < 4; j++) {
        unsigned at = shared_address(&bs[stage][kk + lane % 16][wn + j * 8]);
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(fb[j][0]), "=r"(fb[j][1]) : "r"(at));
      }
      for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
          asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                       : "+f"(sum[i][j][0]), "+f"(sum[i][j][1]), "+f"(sum[i][j][2]), "+f"(sum[i][j][3])
                       : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(fb[j][0]), "r"(fb[j][1]));
    }
    __syncthreads();
  }
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 4; j++)
      for (int e = 0; e < 4; e++) {
        int r = row0 + wm + i * 16 + lane / 4 + e / 2 * 8, x = column0 + wn + j * 8 + lane % 4 * 2 + e % 2;
        if (r < m && x < n) c[r * n + x] = sum[i][j][e];
      }
}

// One warp: d = a · b + c by mma.m16n8k8 of tf32, a 16 × 8, b 8 × 8, all row-major f32.
extern "C" __global__ void tf32_tile(const float* a, const float* b, const float* c, float* d) {
  int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned fa[4], fb[2];
  float fc[4];
  const float va[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
  const float vb[2] = {b[t * 8 + g], b[(t + 4) * 8 + g]};
  for (int i = 0; i < 4; i++) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(fa[i]) : "f"(va[i]));
  for (int i = 0; i < 2; i++) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(fb[i]) : "f"(vb[i]));
  for (int i = 0; i < 4; i++) fc[i] = c[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(fc[0]), "+f"(fc[1]), "+f"(fc[2]), "+f"(fc[3])
               : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = fc[i];
}

// One warp: d = a · b + c of s8 by mma.m16n8k32, a 16 × 32 row-major, b 32 × 8 column-major, c and d 16 × 8.
extern "C" __global__ void s8_tile(const int* a, const int* b, const int* c, int* d) {
  int g = threadIdx.x / 4, t = threadIdx.x % 4;
  int fc[4];
  for (int i = 0; i < 4; i++) fc[i] = c[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(fc[0]), "+r"(fc[1]), "+r"(fc[2]), "+r"(fc[3])
               : "r"(a[g * 8 + t]), "r"(a[(g + 8) * 8 + t]), "r"(a[g * 8 + t + 4]), "r"(a[(g + 8) * 8 + t + 4]),
                 "r"(b[g * 8 + t]), "r"(b[g * 8 + t + 4]));
  for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = fc[i];
}

// One warp: d = a · b of f16 with sums of f16, by mma.m16n8k8; a 16 × 8 row-major, b column-major, d 16 × 8.
extern "C" __global__ void f16_tile(const unsigned* a, const unsigned* b, unsigned* d) {
  int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned fd[2] = {0, 0};
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%0,%1};"
               : "+r"(fd[0]), "+r"(fd[1]) : "r"(a[g * 4 + t]), "r"(a[(g + 8) * 4 + t]), "r"(b[g * 4 + t]));
  d[g * 4 + t] = fd[0];
  d[(g + 8) * 4 + t] = fd[1];
}

// y = x · s + 1 of pairs, with what the headers make of it.
extern "C" __global__ void halves(const __nv_bfloat162* x, __nv_bfloat162* y, const __half2* u, __half2* v, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[i] = __hfma2(x[i], __float2bfloat162_rn(0.75f), __float2bfloat162_rn(1.0f));
  v[i] = __hadd2(__hmul2(u[i], __float2half2_rn(0.75f)), __float2half2_rn(1.0f));
}

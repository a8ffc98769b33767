// c = a · b, f32, tiles of 32 × 32 through shared memory.
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float as[32][33];
  __shared__ float bs[32][33];
  int row = blockIdx.y * 32 + threadIdx.y, column = blockIdx.x * 32 + threadIdx.x;
  float sum[4] = {0.f, 0.f, 0.f, 0.f};
  for (int t = 0; t < k; t += 32) {
    for (int i = 0; i < 4; i++) {
      int r = row + 8 * i, ka = t + threadIdx.x, kb = t + threadIdx.y + 8 * i;
      as[threadIdx.y + 8 * i][threadIdx.x] = r < m && ka < k ? a[r * k + ka] : 0.f;
      bs[threadIdx.y + 8 * i][threadIdx.x] = kb < k && column < n ? b[kb * n + column] : 0.f;
    }
    __syncthreads();
    for (int x = 0; x < 32; x++) {
      float bx = bs[x][threadIdx.x];
      for (int i = 0; i < 4; i++) sum[i] += as[threadIdx.y + 8 * i][x] * bx;
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    if (row + 8 * i < m && column < n) c[(row + 8 * i) * n + column] = sum[i];
}

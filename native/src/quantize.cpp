#include "quantize.h"

#include <math.h>
#include <stdlib.h>

#include "model.h"

namespace iqe {
namespace {

constexpr int FOUR = 4;

// The most that the positive codes of four inputs that share a lane may add up to, and the negative ones, so that with any
// row they fit 16 bits. Both ends of a row may be rounded up: its bytes reach levels + 1, but for 255, which ends there.
int lane_limit(int levels) { return 32767 / (levels < 255 ? levels + 1 : 255); }

// The inputs that share a 16-bit lane in isa/avx2.cpp: of eight, 0, 1, 4, 5 and 2, 3, 6, 7.
constexpr int LANE[2][FOUR] = {{0, 1, 4, 5}, {2, 3, 6, 7}};

// The least scale that an output's weights have room with: 127 steps for the largest one, `limit` for four together.
float least_scale(const float* weights, int64_t inputs, int limit) {
  float most = 0, most_sum = 0;
  for (int64_t k = 0; k < inputs; k += 8) {
    for (const auto& lane : LANE) {
      float up = 0, down = 0;
      for (const int at : lane) {
        const float w = weights[k + at];
        most = fmaxf(most, fabsf(w));
        up += fmaxf(w, 0.0f);
        down += fmaxf(-w, 0.0f);
      }
      most_sum = fmaxf(most_sum, fmaxf(up, down));
    }
  }
  return fmaxf(most / 127.0f, most_sum / (float)limit);
}

// Rounds four weights; where rounding up made them too many, takes back what was rounded up furthest.
void round_four(const float* weights, const int (&lane)[FOUR], float inverse, int limit, int8_t* codes) {
  float left[FOUR];  // how far each lies below its code
  int sum[2] = {0, 0};
  for (int i = 0; i < FOUR; i++) {
    const float exact = weights[lane[i]] * inverse;
    const int code = (int)rintf(fminf(fmaxf(exact, -127.0f), 127.0f));
    codes[lane[i]] = (int8_t)code;
    left[i] = fabsf((float)code) - fabsf(exact);
    sum[code < 0] += abs(code);
  }
  for (int negative = 0; negative < 2; negative++) {
    while (sum[negative] > limit) {
      int worst = -1;
      for (int i = 0; i < FOUR; i++) {
        const int8_t code = codes[lane[i]];
        if (code != 0 && (code < 0) == (negative == 1) && (worst < 0 || left[i] > left[worst])) worst = i;
      }
      codes[lane[worst]] = (int8_t)(codes[lane[worst]] + (negative ? 1 : -1));
      left[worst] -= 1.0f;
      sum[negative]--;
    }
  }
}

// Where a code lies in the panels of isa/: four inputs of sixteen outputs together.
int64_t place(int64_t output, int64_t input, int64_t inputs) {
  return output / LANES * LANES * inputs + input / FOUR * LANES * FOUR + output % LANES * FOUR + input % FOUR;
}

}  // namespace

bool quantize(const float* weights, const float* factors, int64_t outputs, int64_t inputs, int levels, int8_t* codes, float* scales,
              int32_t* sums) {
  const int limit = lane_limit(levels);
  float* row = (float*)malloc((size_t)inputs * sizeof(float));
  int8_t* quantized = (int8_t*)malloc((size_t)inputs);
  const bool enough = row != nullptr && quantized != nullptr;
  for (int64_t n = 0; n < outputs && enough; n++) {
    for (int64_t k = 0; k < inputs; k++) row[k] = weights[n * inputs + k] * (factors ? 1.0f / factors[k] : 1.0f);
    const float scale = least_scale(row, inputs, limit);
    const float inverse = scale > 1e-30f ? 1.0f / scale : 0.0f;
    int32_t sum = 0;
    for (int64_t k = 0; k < inputs; k += 8) {
      for (const auto& lane : LANE) round_four(row + k, lane, inverse, limit, quantized + k);
    }
    for (int64_t k = 0; k < inputs; k++) {
      sum += quantized[k];
      codes[place(n, k, inputs)] = quantized[k];
    }
    scales[n] = scale;
    sums[n] = sum;
  }
  free(row);
  free(quantized);
  return enough;
}

bool codes_fit(const int8_t* codes, const int32_t* sums, int64_t outputs, int64_t inputs, int levels) {
  const int limit = lane_limit(levels);
  for (int64_t panel = 0; panel < outputs; panel += LANES) {
    int32_t sum[LANES] = {};
    for (int64_t k = 0; k < inputs; k += 8, codes += 8 * LANES) {
      int16_t up[2][LANES] = {}, down[2][LANES] = {};
      for (int half = 0; half < 2; half++) {
        for (int n = 0; n < LANES; n++) {
          for (int i = 0; i < FOUR; i++) {
            const int16_t code = codes[half * LANES * FOUR + n * FOUR + i];
            up[i / 2][n] += code > 0 ? code : 0;
            down[i / 2][n] += code < 0 ? code : 0;
            sum[n] += code;
          }
        }
      }
      for (int lane = 0; lane < 2; lane++) {
        for (int n = 0; n < LANES; n++) {
          if (up[lane][n] > limit || down[lane][n] < -limit) return false;
        }
      }
    }
    for (int n = 0; n < LANES; n++) {
      if (sum[n] != sums[panel + n]) return false;
    }
  }
  return true;
}

}  // namespace iqe

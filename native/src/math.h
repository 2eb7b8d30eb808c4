// Functions of sixteen lanes, by polynomials of our own, so that they give the same bits everywhere.
#pragma once

namespace iqe {
namespace IQE_ISA {

constexpr float LOG2_E = 1.44269504f;

// 2^x for x <= 0, relative error below 1.5e-7; 2^-126 below that. Minimax on [-1/2, 1/2] with p(0) = 1.
IQE_INLINE Floats exp2_of(Floats x) {
  x = greatest(x, all(-126.0f));
  // Numbers of this size have no digits behind the point: adding rounds to the nearest whole number, to the even one of two.
  const Floats big = all(12582912.0f), with_whole = add(x, big), part = subtract(x, subtract(with_whole, big));
  Floats p = all(0.00132647269f);
  p = fma(p, part, all(0.00967151266f));
  p = fma(p, part, all(0.0555073374f));
  p = fma(p, part, all(0.240222421f));
  p = fma(p, part, all(0.693146978f));
  p = fma(p, part, all(1.0f));
  return scaled(p, with_whole);
}

// x Phi(x), by Phi(x) - 1/2 = x P(2 (x/c)^2 - 1) for |x| <= c. Minimax of x times the error: 1.4e-6 with twelve degrees; in
// front of eight bits eight degrees do, 2.5e-5, a thousandth of a step.
template <bool COARSE>
IQE_INLINE Floats gelu(Floats x) {
  constexpr float c = COARSE ? 4.4f : 5.2f;
  const Floats near = greatest(least(x, all(c)), all(-c));
  const Floats u = fma(multiply(near, near), all(2.0f / (c * c)), all(-1.0f));
  constexpr float coarse[] = {0.0027541758f,  -0.00788418204f, 0.0109878266f,  -0.0159769878f, 0.0268021952f,
                              -0.0400892347f, 0.0552505217f,   -0.0786123127f, 0.160404414f};
  constexpr float fine[] = {0.000858780462f, -0.0025037236f, 0.00285357586f, -0.00350570143f, 0.00755786384f,
                            -0.0131033529f,  0.01838715f,    -0.0245934036f, 0.0319072641f,   -0.0399412997f,
                            0.0500301681f,   -0.0677434057f, 0.135949939f};
  constexpr int degree = COARSE ? 8 : 12;
  Floats p = all(COARSE ? coarse[0] : fine[0]);
#pragma GCC unroll 12
  for (int i = 1; i <= degree; i++) p = fma(p, u, all(COARSE ? coarse[i] : fine[i]));
  return multiply(x, fma(near, p, all(0.5f)));
}

// 1 / (1 + e^-x)
IQE_INLINE Floats logistic(Floats x) {
  // By e^-|x|, which cannot overflow: e / (1 + e) where x is negative.
  const Floats size = greatest(x, subtract(all(0.0f), x));
  const Floats e = exp2_of(multiply(size, all(-LOG2_E)));
  const Floats upper = divide(all(1.0f), add(all(1.0f), e));
  // What is no number stays none: exp2_of would make one of it.
  return add(where_negative(x, subtract(all(1.0f), upper), upper), subtract(x, x));
}

// gelu_new of transformers: x/2 (1 + tanh y) = x logistic(2 y), y = sqrt(2/pi) (x + 0.044715 x^3).
IQE_INLINE Floats gelu_tanh(Floats x) {
  const Floats cube = multiply(multiply(x, x), x);
  return multiply(x, logistic(multiply(fma(cube, all(0.044715f), x), all(1.59576912f))));
}

IQE_INLINE Floats tanh_of(Floats x) { return fma(logistic(add(x, x)), all(2.0f), all(-1.0f)); }

template <bool COARSE>
IQE_INLINE Floats activated(int activation, Floats x) {
  switch (activation) {
    case IQE_GELU: return gelu<COARSE>(x);
    case IQE_GELU_TANH: return gelu_tanh(x);
    case IQE_TANH: return tanh_of(x);
    case IQE_SILU: return multiply(x, logistic(x));
    default: return greatest(x, all(0.0f));
  }
}

}  // namespace IQE_ISA
}  // namespace iqe

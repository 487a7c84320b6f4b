// The exponential function of vectors. Included into the namespace that has them: Floats, Words, every, multiply_add
// and AOTBUILD_INLINE.

// e^x to half a unit more than exact rounding, for -87 <= x <= 89: x = n log(2) + r, and a polynomial of r whose error
// is 5e-11.
AOTBUILD_INLINE Floats exponential_within(Floats x) {
  const Floats magic = every(12582912.0F);  // 1.5 * 2^23: the sum's last bits are a whole number
  const Floats shifted = multiply_add(x, every(1.442695F), magic);
  const Floats n = shifted - magic;
  Floats r = multiply_add(n, every(-0.69140625F), x);
  r = multiply_add(n, every(-0.0017409306F), r);
  Floats p = every(0.0001991797F);
  p = multiply_add(p, r, every(0.001394619F));
  p = multiply_add(p, r, every(0.008333265F));
  p = multiply_add(p, r, every(0.04166627F));
  p = multiply_add(p, r, every(0.16666667F));
  p = multiply_add(p, r, every(0.5F));
  p = multiply_add(p * r, r, r) + 1.0F;
  Words power;
  __builtin_memcpy(&power, &shifted, sizeof power);
  power = (power << 23) + 0x3f800000U;
  Floats scale;
  __builtin_memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

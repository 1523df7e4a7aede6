"use strict";

// Latents and labels as functions of (seed, index), as BigInts: those of ganlet/device/latents.py, where they are
// described. Numbers are rounded to float32 at the end, so that browsers and numpy, whose logarithms and cosines may
// differ in the last of 53 bits, give the same 24.

const WORD = (1n << 64n) - 1n;

/** Block `counter` of Philox4x64-10 (Salmon et al. 2011) with the key (seed, stream): four 64-bit words. */
function philox(counter, seed, stream) {
  let [c0, c1, c2, c3] = [0n, 64n, 128n, 192n].map((bits) => (counter >> bits) & WORD);
  let [k0, k1] = [seed, stream];
  for (let round = 0; round < 10; round++) {
    const product0 = 0xd2e7470ee14c6c93n * c0;
    const product1 = 0xca5a826395121157n * c2;
    [c0, c1, c2, c3] = [(product1 >> 64n) ^ c1 ^ k0, product1 & WORD, (product0 >> 64n) ^ c3 ^ k1, product0 & WORD];
    k0 = (k0 + 0x9e3779b97f4a7c15n) & WORD;
    k1 = (k1 + 0xbb67ae8584caa73bn) & WORD;
  }
  return [c0, c1, c2, c3];
}

/** Standard normal latent `index` of a seed: Float32Array(size), by Box and Muller (1958). */
function latent(seed, index, size) {
  const blocks = Math.ceil(size / 4);
  const values = new Float32Array(4 * blocks);
  for (let block = 0; block < blocks; block++) {
    const words = philox(index * BigInt(blocks) + BigInt(block), seed, 0n).map((word) => Number(word >> 11n));
    for (const pair of [0, 2]) {
      const radius = Math.sqrt(-2 * Math.log((words[pair] + 1) * 2 ** -53));
      const angle = 2 * Math.PI * (words[pair + 1] * 2 ** -53);
      values[4 * block + pair] = radius * Math.cos(angle);
      values[4 * block + pair + 1] = radius * Math.sin(angle);
    }
  }
  return values.slice(0, size);
}

/** Uniform label `index` of a seed, a whole number below `classes`. */
function label(seed, index, classes) {
  const word = philox(index / 4n, seed, 1n)[Number(index % 4n)];
  return Number(((word >> 32n) * BigInt(classes)) >> 32n);
}

/**
 * The latent at `t` in [0, 1] of the way from `a` to `b`. A straight line leads through latents that are shorter than
 * any the generator was trained on; the arc (Shoemake 1985, slerp) keeps their length.
 */
function between(a, b, t, straight) {
  let [wa, wb] = [1 - t, t];
  if (!straight) {
    const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
    const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    const sine = Math.sin(angle);
    if (sine > 1e-6) [wa, wb] = [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  }
  return a.map((value, i) => wa * value + wb * b[i]);
}

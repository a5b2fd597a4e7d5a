/** Filling slices between drawn ones, by the distance of each pixel from the outline of the slices below and above. */

import type { Triple } from "./viewer";

/** Fill, in place, the empty axial slices between slices that hold anything; says how many were filled.
 *
 * A pixel's distance to the outline, inside positive, is interpolated linearly between the two slices, and what lies at 0
 * or more is inside: shapes grow into one another, wherever the cross is. */
export function betweenSlices(mask: Uint8Array, shape: Triple): number {
  const [nx, ny, nz] = shape;
  const size = nx * ny;
  const held: number[] = [];
  for (let z = 0; z < nz; z++) {
    if (mask.subarray(z * size, (z + 1) * size).includes(1)) held.push(z);
  }
  let filled = 0;
  for (let at = 1; at < held.length; at++) {
    const low = held[at - 1] as number;
    const high = held[at] as number;
    if (high - low < 2) continue;
    const below = signedDistance(mask.subarray(low * size, (low + 1) * size), nx, ny);
    const above = signedDistance(mask.subarray(high * size, (high + 1) * size), nx, ny);
    for (let z = low + 1; z < high; z++) {
      const share = (z - low) / (high - low);
      const slice = mask.subarray(z * size, (z + 1) * size);
      for (let i = 0; i < size; i++) {
        slice[i] = (below[i] as number) * (1 - share) + (above[i] as number) * share >= 0 ? 1 : 0;
      }
      filled++;
    }
  }
  return filled;
}

/** In pixels; above 0 inside, below 0 outside, never 0. */
function signedDistance(slice: Uint8Array, nx: number, ny: number): Float64Array {
  const outside = squaredDistance(slice, nx, ny, 1);
  const inside = squaredDistance(slice, nx, ny, 0);
  return Float64Array.from(slice, (value, i) =>
    value ? Math.sqrt(inside[i] as number) - 0.5 : 0.5 - Math.sqrt(outside[i] as number),
  );
}

/** Of each pixel the squared distance to the nearest of a value: exact, one axis after the other. */
function squaredDistance(slice: Uint8Array, nx: number, ny: number, value: number): Float64Array {
  const far = (nx + ny) ** 2;
  const out = Float64Array.from(slice, (other) => (other === value ? 0 : far));
  for (let y = 0; y < ny; y++) along(out, y * nx, 1, nx);
  for (let x = 0; x < nx; x++) along(out, x, nx, ny);
  return out;
}

/** The lower envelope of parabolas along a line (Felzenszwalb and Huttenlocher, 2012). */
function along(values: Float64Array, start: number, step: number, n: number): void {
  const line = Float64Array.from({ length: n }, (_, i) => values[start + i * step] as number);
  const places = new Int32Array(n);
  const from = new Float64Array(n + 1);
  let last = 0;
  from[0] = -Infinity;
  from[1] = Infinity;
  for (let q = 1; q < n; q++) {
    let meet = 0;
    for (;;) {
      const p = places[last] as number;
      meet = ((line[q] as number) + q * q - ((line[p] as number) + p * p)) / (2 * q - 2 * p);
      if (meet > (from[last] as number)) break;
      last--;
    }
    last++;
    places[last] = q;
    from[last] = meet;
    from[last + 1] = Infinity;
  }
  last = 0;
  for (let q = 0; q < n; q++) {
    while ((from[last + 1] as number) < q) last++;
    const p = places[last] as number;
    values[start + q * step] = (q - p) ** 2 + (line[p] as number);
  }
}

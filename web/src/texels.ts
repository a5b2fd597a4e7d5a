/** Texels of the layer of masks, as NiiVue's own shader makes them of a label map, for that part of it that has changed: the
 * shader makes all of them anew, which takes a tenth of a second where a processor draws. */

import type { Colour, Triple } from "./viewer";

export type Cells = Uint8Array | Uint16Array;

/** Voxels from the first to before the second. */
export type Box = readonly [Triple, Triple];

const PER_BOX = 6;

/** Where each cell is: the first x, y and z, and those after the last. */
export function boxesOf(cells: Cells, shape: Triple, count: number): Int32Array {
  const [nx, ny, nz] = shape;
  const boxes = new Int32Array(PER_BOX * count);
  for (let cell = 0; cell < count; cell++) boxes.set([nx, ny, nz, 0, 0, 0], PER_BOX * cell);
  let at = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; ) {
        const cell = cells[at]!;
        const from = x;
        do x++, at++;
        while (x < nx && cells[at] === cell);
        if (cell === 0) continue;
        const box = PER_BOX * cell;
        if (from < boxes[box]!) boxes[box] = from;
        if (y < boxes[box + 1]!) boxes[box + 1] = y;
        if (z < boxes[box + 2]!) boxes[box + 2] = z;
        if (x > boxes[box + 3]!) boxes[box + 3] = x;
        if (y >= boxes[box + 4]!) boxes[box + 4] = y + 1;
        boxes[box + 5] = z + 1;
      }
    }
  }
  return boxes;
}

/** Around the cells whose colours differ, with a voxel more on each side, whose texels depend on them; null if none do. */
export function changed(boxes: Int32Array, shape: Triple, former: readonly Colour[], colours: readonly Colour[]): Box | null {
  const from: Triple = [...shape];
  const to: Triple = [0, 0, 0];
  colours.forEach((colour, cell) => {
    const was = former[cell];
    if (was !== undefined && colour.every((value, n) => value === was[n])) return;
    for (let axis = 0; axis < 3; axis++) {
      from[axis] = Math.min(from[axis]!, boxes[PER_BOX * cell + axis]!);
      to[axis] = Math.max(to[axis]!, boxes[PER_BOX * cell + 3 + axis]!);
    }
  });
  if (to[0] <= from[0]) return null;
  const wide = (n: number, axis: number): number => Math.min(shape[axis]!, Math.max(0, n));
  return [from.map((n, axis) => wide(n - 1, axis)) as Triple, to.map((n, axis) => wide(n + 1, axis)) as Triple];
}

/** Cells of one colour as one cell, and what is hidden as none: outlines are drawn between different ones. */
export function merged(cells: Cells, colours: readonly Colour[]): Cells {
  const first = new Map<string, number>();
  const becomes = colours.map(([r, g, b, shown], cell) => {
    if (!shown) return 0;
    const key = `${r},${g},${b}`;
    if (!first.has(key)) first.set(key, cell);
    return first.get(key) ?? cell;
  });
  return cells.map((cell) => becomes[cell] ?? 0);
}

/** Red, green, blue and alpha of each voxel of a box, x fastest. Alpha is the mean of a voxel's own and its six neighbours'. */
export function texels(cells: Cells, shape: Triple, box: Box, colours: readonly Colour[], opacity: number): Uint8Array {
  const [nx, ny, nz] = shape;
  const [from, to] = box;
  const made = new Uint8Array(4 * to.reduce((product, end, axis) => product * (end - from[axis]!), 1));
  const colour = Uint32Array.from(colours, ([r, g, b]) => r | (g << 8) | (b << 16));
  const isShown = Uint8Array.from(colours, ([, , , shown]) => (shown ? 1 : 0));
  const alphas = Uint32Array.from({ length: 8 }, (_, of7) => (Math.round((255 * opacity * of7) / 7) << 24) >>> 0);
  const words = new Uint32Array(made.buffer);
  const slice = nx * ny;
  let out = 0;
  for (let z = from[2]; z < to[2]; z++) {
    const below = z > 0 ? -slice : 0;
    const above = z < nz - 1 ? slice : 0;
    for (let y = from[1]; y < to[1]; y++) {
      const before = y > 0 ? -nx : 0;
      const behind = y < ny - 1 ? nx : 0;
      let at = from[0] + nx * y + slice * z;
      for (let x = from[0]; x < to[0]; x++, at++, out++) {
        const cell = cells[at]!;
        if (cell === 0) continue;
        const around =
          isShown[cell]! +
          isShown[cells[x > 0 ? at - 1 : at]!]! +
          isShown[cells[x < nx - 1 ? at + 1 : at]!]! +
          isShown[cells[at + before]!]! +
          isShown[cells[at + behind]!]! +
          isShown[cells[at + below]!]! +
          isShown[cells[at + above]!]!;
        words[out] = colour[cell]! | alphas[around]!;
      }
    }
  }
  return made;
}

/** What the page asks of whatever draws a scan. `niivue.ts` does it with WebGL2, `flat.ts` without. */

export type Triple = [number, number, number];

/** A colour of a cell: red, green, blue, and whether it is shown. */
export type Colour = readonly [number, number, number, boolean];

/** Voxels in RAS+ order, x fastest: `x` to the right, `y` to the front, `z` to the head. */
export interface Grid {
  shape: Triple;
  spacing: Triple;
}

export interface ScanData extends Grid {
  hu: Int16Array;
  /** Of each voxel its cell: the set of structures that it belongs to. 0 is none. */
  cells: Uint8Array | Uint16Array;
}

export type Layout = "all" | "axial" | "coronal" | "sagittal" | "render";

export interface Viewer {
  /** Whether it draws in 3D, outlines, and lets masks be corrected. */
  readonly isWhole: boolean;
  /** Draw a scan, and its cells in colours. */
  open(scan: ScanData, colours: readonly Colour[]): Promise<void>;
  /** Draw nothing until `release`, which draws what has changed at once. */
  hold(): void;
  release(): void;
  /** Other cells on the same scan, such as a difference. */
  setCells(cells: Uint8Array | Uint16Array): void;
  /** A colour for each cell, from cell 0 up. */
  setColours(colours: readonly Colour[]): void;
  setWindow(low: number, high: number): void;
  /** Of the masks, 0 to 1. */
  setOpacity(opacity: number): void;
  setOutline(on: boolean): void;
  setLayout(layout: Layout): void;
  /** Put the cross onto a voxel. */
  goTo(voxel: Triple): void;
  where(): Triple;
  /** Told of each voxel that the cross is put on. */
  onMove: (voxel: Triple) => void;
  /** The same without telling of it: another viewer was moved there. */
  follow(voxel: Triple): void;
  /** Let another viewer be turned in 3D with this one. */
  link(other: Viewer): void;
  readonly pen: Pen | null;
  close(): void;
}

/** Corrections of one structure, on the scan's own voxels. */
export interface Pen {
  begin(mask: Uint8Array, colour: readonly [number, number, number]): void;
  /** A brush of so many voxels across; `adds` or erases; `fills` what it draws round. */
  use(size: number, adds: boolean, fills: boolean): void;
  undo(): void;
  /** Fill the axial slices between drawn ones; says how many it filled. */
  interpolate(): number;
  mask(): Uint8Array;
  end(): void;
  onChange: () => void;
}

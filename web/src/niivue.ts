/** The one module that knows NiiVue. Everything is given to it in RAS+ order on a grid without rotation, so that none of
 * its reorientation is used: where voxels lie in the patient is the server's business. */

import { MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { betweenSlices } from "./between";
import type { Colour, Grid, Layout, Pen, ScanData, Triple, Viewer } from "./viewer";

const SLICES: Record<Layout, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};

/** Grey, and thin in 3D, where the body would else hide what is in it. */
const CT_COLOURS = "ct";

const INT16 = 4;
const UINT8 = 2;
const UINT16 = 512;
const LABELS = 1002; // the intent for which NiiVue looks colours up voxel by voxel; others blend neighbouring rows

/** Whether this browser can draw with it. */
export function hasWebGL2(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

export class NiivueViewer implements Viewer {
  readonly isWhole = true;
  readonly pen: Pen;
  onMove: (voxel: Triple) => void = () => {};
  private readonly nv: Niivue;
  private shape: Triple = [1, 1, 1];
  private grid: Grid | null = null;
  private opacity = 0.5;
  private colours: readonly Colour[] = [];
  private window: readonly [number, number] = [-160, 240];

  private constructor(nv: Niivue) {
    this.nv = nv;
    this.pen = new NiivuePen(nv, () => this.shape);
    nv.onLocationChange = () => this.onMove(this.where());
  }

  static async in(canvas: HTMLCanvasElement): Promise<NiivueViewer> {
    const nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.95, 0.75, 0.2, 0.9],
      crosshairWidth: 0.4,
      crosshairGap: 5,
      show3Dcrosshair: true,
      dragAndDropEnabled: false,
      isNearestInterpolation: true,
      isForceMouseClickToVoxelCenters: true,
      isRadiologicalConvention: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      loadingText: "",
      logLevel: "error",
    });
    await nv.attachToCanvas(canvas);
    nv.addColormap(CT_COLOURS, { R: [0, 255], G: [0, 255], B: [0, 255], A: [0, 24], I: [0, 255] });
    return new NiivueViewer(nv);
  }

  async open(scan: ScanData): Promise<void> {
    this.shape = scan.shape;
    this.grid = scan;
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    this.colours = [];
    const [low, high] = this.window;
    const url = nifti(scan, scan.hu, INT16, 0);
    this.nv.addVolume(
      await NVImage.loadFromUrl({ url, name: "scan.nii", colormap: CT_COLOURS, cal_min: low, cal_max: high }),
    );
    const masks = await NVImage.loadFromUrl({
      url: nifti(scan, scan.cells, typeOf(scan.cells), LABELS),
      name: "masks.nii",
      opacity: this.opacity,
    });
    masks.setColormapLabel(table([[0, 0, 0, false], [0, 0, 0, false]]));
    this.nv.addVolume(masks);
  }

  /** What NiiVue itself asks before it draws. */
  hold(): void {
    this.nv.isBusy = true;
  }

  release(): void {
    this.nv.isBusy = false;
    this.nv.drawScene();
  }

  setCells(cells: Uint8Array | Uint16Array): void {
    const old = this.nv.volumes[1];
    if (old === undefined || this.grid === null) return;
    const header = old.hdr;
    if (header === null) return;
    header.datatypeCode = typeOf(cells);
    header.numBitsPerVoxel = cells.BYTES_PER_ELEMENT * 8;
    old.img = cells;
    this.setColours(this.colours);
  }

  setColours(colours: readonly Colour[]): void {
    const masks = this.nv.volumes[1];
    this.colours = colours;
    if (masks === undefined || colours.length < 2) return;
    masks.setColormapLabel(table(colours));
    this.redrawMasks();
  }

  setWindow(low: number, high: number): void {
    this.window = [low, high];
    const ct = this.nv.volumes[0];
    if (ct === undefined || (ct.cal_min === low && ct.cal_max === high)) return;
    ct.cal_min = low;
    ct.cal_max = high;
    this.nv.refreshLayers(ct, 0);
    this.redrawMasks();
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    const masks = this.nv.volumes[1];
    if (masks !== undefined) masks.opacity = opacity;
    this.redrawMasks();
  }

  setOutline(on: boolean): void {
    this.nv.opts.atlasOutline = on ? 1 : 0;
    this.redrawMasks();
  }

  setLayout(layout: Layout): void {
    this.nv.setSliceType(SLICES[layout]);
  }

  goTo(voxel: Triple): void {
    this.follow(voxel);
    this.nv.createOnLocationChange();
  }

  follow(voxel: Triple): void {
    this.nv.scene.crosshairPos = this.nv.vox2frac(voxel);
    this.nv.drawScene();
  }

  where(): Triple {
    const [x = 0, y = 0, z = 0] = this.nv.frac2vox(this.nv.scene.crosshairPos);
    return [x, y, z];
  }

  /** NiiVue's own link for slices waits for the mouse, and misses what the page itself does. */
  link(other: Viewer): void {
    if (other instanceof NiivueViewer) this.nv.broadcastTo(other.nv, { "2d": false, "3d": true });
  }

  close(): void {
    this.nv.cleanup();
  }

  /** Only the layer of the masks: the scan's is left as it is, which is most of the work. */
  private redrawMasks(): void {
    const masks = this.nv.volumes[1];
    if (masks !== undefined) this.nv.refreshLayers(masks, 1);
    this.nv.drawScene();
  }
}

class NiivuePen implements Pen {
  onChange: () => void = () => {};

  constructor(
    private readonly nv: Niivue,
    private readonly shape: () => Triple,
  ) {}

  begin(mask: Uint8Array, colour: readonly [number, number, number]): void {
    this.nv.setDrawColormap(table([[0, 0, 0, false], [...colour, true]]) as never);
    this.nv.createEmptyDrawing();
    this.replace(mask);
    this.nv.onDrawingChanged = () => this.onChange();
    this.nv.setDrawingEnabled(true);
    this.nv.setDrawOpacity(0.6);
  }

  use(size: number, adds: boolean, fills: boolean): void {
    this.nv.opts.penSize = size;
    this.nv.setPenValue(adds ? 1 : 0, fills);
  }

  undo(): void {
    this.nv.drawUndo();
  }

  interpolate(): number {
    const mask = this.mask();
    const filled = betweenSlices(mask, this.shape());
    if (filled > 0) {
      this.replace(mask);
      this.onChange();
    }
    return filled;
  }

  mask(): Uint8Array {
    const bitmap = this.nv.drawBitmap;
    if (bitmap === null) throw new Error("nothing is being corrected");
    return Uint8Array.from(bitmap, (value) => (value === 0 ? 0 : 1));
  }

  end(): void {
    this.nv.setDrawingEnabled(false);
    this.nv.closeDrawing();
  }

  /** Put a mask in place of the drawing, as a step that can be undone. */
  private replace(mask: Uint8Array): void {
    this.nv.drawBitmap?.set(mask);
    this.nv.drawAddUndoBitmap();
    this.nv.refreshDrawing(true);
  }
}

function table(colours: readonly Colour[]): { R: number[]; G: number[]; B: number[]; A: number[]; I: number[] } {
  return {
    R: colours.map((colour) => colour[0]),
    G: colours.map((colour) => colour[1]),
    B: colours.map((colour) => colour[2]),
    A: colours.map((colour) => (colour[3] ? 255 : 0)),
    I: colours.map((_, cell) => cell),
  };
}

function typeOf(values: Int16Array | Uint8Array | Uint16Array): number {
  return values instanceof Int16Array ? INT16 : values instanceof Uint8Array ? UINT8 : UINT16;
}

/** A NIfTI-1 file in memory; the only way in which NiiVue takes a volume that it keeps in its own memory. */
function nifti(grid: Grid, values: Int16Array | Uint8Array | Uint16Array, type: number, intent: number): ArrayBuffer {
  const start = 352;
  const file = new ArrayBuffer(start + values.byteLength);
  const header = new DataView(file);
  const [dx, dy, dz] = grid.spacing;
  header.setInt32(0, 348, true);
  [3, ...grid.shape, 1, 1, 1, 1].forEach((n, at) => header.setInt16(40 + 2 * at, n, true));
  header.setInt16(68, intent, true);
  header.setInt16(70, type, true);
  header.setInt16(72, values.BYTES_PER_ELEMENT * 8, true);
  [1, dx, dy, dz, 1, 1, 1, 1].forEach((n, at) => header.setFloat32(76 + 4 * at, n, true));
  header.setFloat32(108, start, true);
  header.setFloat32(112, 1, true); // slope
  header.setUint8(123, 2); // mm
  header.setInt16(254, 1, true); // the affine is given by rows
  [dx, 0, 0, 0, 0, dy, 0, 0, 0, 0, dz, 0].forEach((n, at) => header.setFloat32(280 + 4 * at, n, true));
  [0x6e, 0x2b, 0x31, 0].forEach((byte, at) => header.setUint8(344 + at, byte));
  new Uint8Array(file, start).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return file;
}

/** The one module that knows NiiVue. Everything is given to it in RAS+ order on a grid without rotation, so that none of
 * its reorientation is used: where voxels lie in the patient is the server's business. */

import { MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { betweenSlices } from "./between";
import { boxesOf, changed, merged, texels, type Box, type Cells } from "./texels";
import type { Colour, Grid, Layout, Pen, ScanData, Triple, Viewer } from "./viewer";
import { say } from "./words";

const SLICES: Record<Layout, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};

const UNDO_STEPS = 8;
const LEAST_OPACITY = 0.02; // NiiVue draws no outline of a drawing that is not there

/** Grey, and thin in 3D, where the body would else hide what is in it. */
const CT_COLOURS = "ct";

const INT16 = 4;
const UINT8 = 2;
const UINT16 = 512;
const MOST_TEXELS = 1 << 23; // of a change that is made voxel by voxel; a larger one takes a graphics card less time
const SLAB_TEXELS = 1 << 21;
const LABELS = 1002; // the intent for which NiiVue looks colours up voxel by voxel; others blend neighbouring rows

const NO_COLOURS: readonly Colour[] = [
  [0, 0, 0, false],
  [0, 0, 0, false],
];

/** Whether this browser can draw with it on a canvas, which has the very context then that NiiVue asks for. */
export function hasWebGL2(canvas: HTMLCanvasElement): boolean {
  return canvas.getContext("webgl2", { alpha: true, antialias: navigator.hardwareConcurrency > 6 }) !== null;
}

export class NiivueViewer implements Viewer {
  readonly isWhole = true;
  readonly pen: Pen;
  onMove: (voxel: Triple) => void = () => {};
  private readonly nv: Niivue;
  private shape: Triple = [1, 1, 1];
  private grid: Grid | null = null;
  private cells: Cells = new Uint8Array(0);
  private opacity = 0.5;
  private colours: readonly Colour[] = [];
  /** The colours that the layer of masks is drawn in; null where it is drawn otherwise. */
  private drawn: readonly Colour[] | null = null;
  private boxes: Int32Array | null = null;
  private window: readonly [number, number] = [-160, 240];

  private constructor(nv: Niivue) {
    this.nv = nv;
    this.pen = new NiivuePen(nv, () => this.shape);
    nv.onLocationChange = () => this.onMove(this.where());
    nv.drawOpacity = this.opacity;
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
      sagittalNoseLeft: true,
      showAllOrientationMarkers: true,
      fontColor: [1, 1, 1, 1],
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarPadPixels: 16, // between the letters of one plane and those of the next
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      loadingText: "",
      maxDrawUndoBitmaps: UNDO_STEPS + 1, // with what is drawn now
      logLevel: "error",
    });
    nv.isBusy = true; // nothing is there to be drawn yet
    await nv.attachToCanvas(canvas);
    nv.isBusy = false;
    // The scan's gradient is made with every change of its window, and takes longer than all the rest. Nothing here is lit
    // by it, so that it is copied instead, and no slice of it waits for the one before.
    nv.blurShader = nv.sobelFirstOrderShader = nv.passThroughShader ?? null;
    nv.gl.checkFramebufferStatus = () => nv.gl.FRAMEBUFFER_COMPLETE;
    nv.addColormap(CT_COLOURS, { R: [0, 255], G: [0, 255], B: [0, 255], A: [0, 24], I: [0, 255] });
    translateSides(nv);
    nv.setRenderAzimuthElevation(200, 10); // from the front, the patient's right on the left
    return new NiivueViewer(nv);
  }

  async open(scan: ScanData, colours: readonly Colour[]): Promise<void> {
    this.shape = scan.shape;
    this.grid = scan;
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    this.colours = colours;
    this.boxes = null;
    const [low, high] = this.window;
    const url = nifti(scan, scan.hu, INT16, 0);
    const ct = await NVImage.loadFromUrl({ url, name: "scan.nii", colormap: CT_COLOURS, cal_min: low, cal_max: high });
    const masks = await NVImage.loadFromUrl({
      url: nifti(scan, scan.cells, typeOf(scan.cells), LABELS),
      name: "masks.nii",
      opacity: this.opacity,
    });
    masks.setColormapLabel(table(colours.length < 2 ? NO_COLOURS : colours));
    this.cells = scan.cells;
    masks.img = this.cellsDrawn(); // one copy less
    this.nv.volumes = [ct]; // which is made a layer with the masks, once
    this.nv.addVolume(masks);
    this.drawn = this.nv.opts.atlasOutline === 0 ? colours : null;
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
    if (old === undefined || this.grid === null || this.cells === cells) return;
    const header = old.hdr;
    if (header === null) return;
    header.datatypeCode = typeOf(cells);
    header.numBitsPerVoxel = cells.BYTES_PER_ELEMENT * 8;
    this.cells = cells;
    this.drawn = this.boxes = null;
    this.setColours(this.colours);
  }

  setColours(colours: readonly Colour[]): void {
    const masks = this.nv.volumes[1];
    this.colours = colours;
    if (masks === undefined || colours.length < 2) return;
    masks.setColormapLabel(table(colours));
    const box = this.changedBox(colours);
    if (box === "all") return this.redrawMasks();
    this.drawn = colours;
    if (box !== null) this.redrawBox(box);
    this.nv.drawScene();
  }

  setWindow(low: number, high: number): void {
    this.window = [low, high];
    const ct = this.nv.volumes[0];
    if (ct === undefined || (ct.cal_min === low && ct.cal_max === high)) return;
    ct.cal_min = low;
    ct.cal_max = high;
    this.nv.refreshLayers(ct, 0);
    this.nv.drawScene();
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
    this.nv.drawOpacity = Math.max(this.opacity, LEAST_OPACITY); // what is being corrected looks as the masks do
    this.nv.drawRimOpacity = this.nv.opts.atlasOutline === 0 ? -1 : 1;
    if (masks !== undefined) {
      masks.img = this.cellsDrawn();
      this.nv.gl.deleteTexture(this.nv.overlayTexture); // NiiVue makes another, and forgets this one
      this.nv.refreshLayers(masks, 1);
    }
    this.drawn = this.nv.opts.atlasOutline === 0 ? this.colours : null;
    this.nv.drawScene();
  }

  private cellsDrawn(): Cells {
    return this.nv.opts.atlasOutline === 0 ? this.cells : merged(this.cells, this.colours);
  }

  /** Where masks are drawn in other colours than before; null for nowhere. */
  private changedBox(colours: readonly Colour[]): Box | null | "all" {
    if (this.drawn === null || this.drawn.length !== colours.length) return "all";
    this.boxes ??= boxesOf(this.cells, this.shape, colours.length);
    const box = changed(this.boxes, this.shape, this.drawn, colours);
    return box !== null && area(box) * (box[1][2] - box[0][2]) > MOST_TEXELS ? "all" : box;
  }

  /** Only the texels of a part of the layer, some slices at a time. */
  private redrawBox([from, to]: Box): void {
    const { gl, overlayTexture } = this.nv;
    const height = Math.max(1, Math.floor(SLAB_TEXELS / area([from, to])));
    gl.activeTexture(gl.TEXTURE2); // where NiiVue has this layer
    gl.bindTexture(gl.TEXTURE_3D, overlayTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    for (let z = from[2]; z < to[2]; z += height) {
      const slab: Box = [[from[0], from[1], z], [to[0], to[1], Math.min(to[2], z + height)]];
      const [w, h, d] = slab[1].map((end, axis) => end - slab[0][axis]!) as Triple;
      const made = texels(this.cells, this.shape, slab, this.colours, this.opacity);
      gl.texSubImage3D(gl.TEXTURE_3D, 0, from[0], from[1], z, w, h, d, gl.RGBA, gl.UNSIGNED_BYTE, made);
    }
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1); // as NiiVue leaves it
  }
}

class NiivuePen implements Pen {
  onChange: () => void = () => {};
  /** How many of NiiVue's former drawings are of this correction: beyond them it would go round to the newest again. */
  private steps = 0;

  constructor(
    private readonly nv: Niivue,
    private readonly shape: () => Triple,
  ) {}

  begin(mask: Uint8Array, colour: readonly [number, number, number]): void {
    this.nv.setDrawColormap(table([[0, 0, 0, false], [...colour, true]]) as never);
    this.nv.createEmptyDrawing();
    this.replace(mask);
    this.steps = 0; // before it there is an empty drawing
    this.nv.onDrawingChanged = (action) => action === "draw" && this.drawn();
    this.nv.setDrawingEnabled(true);
  }

  use(size: number, adds: boolean, fills: boolean): void {
    this.nv.opts.penSize = size;
    this.nv.setPenValue(adds ? 1 : 0, fills);
  }

  undo(): void {
    if (this.steps === 0) return;
    this.steps--;
    this.nv.drawUndo();
  }

  interpolate(): number {
    const mask = this.mask();
    const filled = betweenSlices(mask, this.shape());
    if (filled > 0) {
      this.replace(mask);
      this.drawn();
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

  private drawn(): void {
    this.steps = Math.min(this.steps + 1, UNDO_STEPS);
    this.onChange();
  }

  /** Put a mask in place of the drawing, as a step that can be undone. */
  private replace(mask: Uint8Array): void {
    this.nv.drawBitmap?.set(mask);
    this.nv.drawAddUndoBitmap();
    this.nv.refreshDrawing(true);
  }
}

/** NiiVue writes the sides of the patient in English: let it write them in the language of the page. */
function translateSides(nv: Niivue): void {
  for (const draw of ["drawTextLeft", "drawTextRight", "drawTextAbove", "drawTextBelow"] as const) {
    const own = nv[draw].bind(nv);
    nv[draw] = (at, text, ...rest) => own(at, say(text), ...rest);
  }
}

/** How many voxels a slice of a box has. */
function area([from, to]: Box): number {
  return (to[0] - from[0]) * (to[1] - from[1]);
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

/** Three planes on a plain canvas, for browsers without WebGL2: no 3D, no outline, no correcting. */

import type { Colour, Layout, Pen, ScanData, Triple, Viewer } from "./viewer";
import { say, type Side } from "./words";

type Axis = 0 | 1 | 2;
type Plane = "axial" | "coronal" | "sagittal";
const PLANES: readonly Plane[] = ["axial", "coronal", "sagittal"];
/** Of each plane the axes that run to the left and up, and the one that it stands on: the patient's right and front are on
 * the left. */
const AXES: Record<Plane, readonly [Axis, Axis, Axis]> = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] };
/** Of each axis the letters of its two ends. */
const ENDS: readonly (readonly [Side, Side])[] = [
  ["L", "R"],
  ["P", "A"],
  ["I", "S"],
];

interface Box {
  plane: Plane;
  left: number;
  top: number;
  width: number;
  height: number;
}

export class FlatViewer implements Viewer {
  readonly isWhole = false;
  readonly pen: Pen | null = null;
  onMove: (voxel: Triple) => void = () => {};
  private scan: ScanData | null = null;
  private cross: Triple = [0, 0, 0];
  private window: [number, number] = [-160, 240];
  private colours: readonly Colour[] = [];
  private opacity = 0.5;
  private layout: Layout = "all";
  private boxes: Box[] = [];
  private held = false;
  private readonly resized = new ResizeObserver(() => this.draw());

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.resized.observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.click(event));
    canvas.addEventListener("wheel", (event) => this.turn(event), { passive: false });
  }

  async open(scan: ScanData, colours: readonly Colour[]): Promise<void> {
    this.scan = scan;
    this.colours = colours;
    this.goTo(scan.shape.map((n) => n >> 1) as Triple);
  }

  setCells(cells: Uint8Array | Uint16Array): void {
    if (this.scan !== null) this.scan = { ...this.scan, cells };
    this.draw();
  }

  setColours(colours: readonly Colour[]): void {
    this.colours = colours;
    this.draw();
  }

  setWindow(low: number, high: number): void {
    this.window = [low, high];
    this.draw();
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    this.draw();
  }

  setOutline(): void {}

  setLayout(layout: Layout): void {
    this.layout = layout;
    this.draw();
  }

  goTo(voxel: Triple): void {
    this.follow(voxel);
    this.onMove(this.cross);
  }

  where(): Triple {
    return this.cross;
  }

  link(): void {}

  close(): void {
    this.resized.disconnect();
  }

  follow(voxel: Triple): void {
    this.cross = voxel;
    this.draw();
  }

  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    this.draw();
  }

  private draw(): void {
    const scan = this.scan;
    const context = this.canvas.getContext("2d");
    if (scan === null || context === null || this.held) return;
    this.canvas.width = this.canvas.clientWidth;
    this.canvas.height = this.canvas.clientHeight;
    context.imageSmoothingEnabled = false;
    this.boxes = this.places(scan);
    for (const box of this.boxes) this.drawPlane(context, scan, box);
  }

  private places(scan: ScanData): Box[] {
    const shown = PLANES.filter((plane) => this.layout === plane || this.layout === "all" || this.layout === "render");
    const columns = shown.length > 1 ? 2 : 1;
    const width = this.canvas.width / columns;
    const height = this.canvas.height / columns;
    return shown.map((plane, at) => {
      const [u, v] = AXES[plane];
      const wide = scan.shape[u] * scan.spacing[u];
      const high = scan.shape[v] * scan.spacing[v];
      const scale = Math.min(width / wide, height / high);
      const left = (at % columns) * width + (width - wide * scale) / 2;
      const top = Math.floor(at / columns) * height + (height - high * scale) / 2;
      return { plane, left, top, width: wide * scale, height: high * scale };
    });
  }

  private drawPlane(context: CanvasRenderingContext2D, scan: ScanData, box: Box): void {
    const [u, v, w] = AXES[box.plane];
    const steps = [1, scan.shape[0], scan.shape[0] * scan.shape[1]] as const;
    const [low, high] = this.window;
    const image = new ImageData(scan.shape[u], scan.shape[v]);
    let at = 0;
    for (let row = scan.shape[v] - 1; row >= 0; row--) {
      for (let column = 0; column < scan.shape[u]; column++) {
        const voxel = (scan.shape[u] - 1 - column) * steps[u] + row * steps[v] + this.cross[w] * steps[w];
        const grey = (255 * ((scan.hu[voxel] as number) - low)) / (high - low);
        const colour = this.colours[scan.cells[voxel] as number];
        const share = colour?.[3] ? this.opacity : 0;
        for (const channel of [0, 1, 2] as const) {
          image.data[at++] = Math.min(255, Math.max(0, grey)) * (1 - share) + (colour?.[channel] ?? 0) * share;
        }
        image.data[at++] = 255;
      }
    }
    const plane = new OffscreenCanvas(image.width, image.height);
    plane.getContext("2d")?.putImageData(image, 0, 0);
    context.drawImage(plane, box.left, box.top, box.width, box.height);
    const [x, y] = [scan.shape[u] - this.cross[u] - 0.5, scan.shape[v] - this.cross[v] - 0.5];
    context.fillStyle = "rgb(242 191 51 / 60%)";
    context.fillRect(box.left + (x / scan.shape[u]) * box.width, box.top, 1, box.height);
    context.fillRect(box.left, box.top + (y / scan.shape[v]) * box.height, box.width, 1);
    this.drawSides(context, box);
  }

  private drawSides(context: CanvasRenderingContext2D, { plane, left, top, width, height }: Box): void {
    const [u, v] = AXES[plane];
    context.fillStyle = "white";
    context.font = "16px sans-serif";
    const write = (side: Side, x: number, y: number, align: CanvasTextAlign, baseline: CanvasTextBaseline): void => {
      context.textAlign = align;
      context.textBaseline = baseline;
      context.fillText(say(side), left + x, top + y);
    };
    write(ENDS[u]![1], 4, height / 2, "left", "middle");
    write(ENDS[u]![0], width - 4, height / 2, "right", "middle");
    write(ENDS[v]![1], width / 2, 4, "center", "top");
    write(ENDS[v]![0], width / 2, height - 4, "center", "bottom");
  }

  private under(event: MouseEvent): Box | undefined {
    const { offsetX: x, offsetY: y } = event;
    return this.boxes.find((b) => x >= b.left && x < b.left + b.width && y >= b.top && y < b.top + b.height);
  }

  private click(event: PointerEvent): void {
    const box = this.under(event);
    if (box === undefined || this.scan === null) return;
    const [u, v] = AXES[box.plane];
    const [nu, nv] = [this.scan.shape[u], this.scan.shape[v]];
    const column = Math.floor(((event.offsetX - box.left) / box.width) * nu);
    const row = Math.floor(((event.offsetY - box.top) / box.height) * nv);
    const voxel: Triple = [...this.cross];
    voxel[u] = nu - 1 - column;
    voxel[v] = nv - 1 - row;
    this.goTo(voxel);
  }

  private turn(event: WheelEvent): void {
    const box = this.under(event);
    if (box === undefined || this.scan === null) return;
    event.preventDefault();
    const w = AXES[box.plane][2];
    const voxel: Triple = [...this.cross];
    voxel[w] = Math.min(this.scan.shape[w] - 1, Math.max(0, voxel[w] + Math.sign(event.deltaY)));
    this.goTo(voxel);
  }
}

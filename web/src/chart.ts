/** Curves over the epochs, drawn as SVG: axes with round numbers, and below them each line's value at the epoch that is
 * pointed at, else at its last. */

import { element } from "./dom";
import { number, say } from "./words";

export interface Line {
  name: string;
  title: string;
  colour: string;
  /** Epoch and value, in the order of the epochs; what was not measured is left out. */
  points: readonly (readonly [number, number])[];
}

export interface Scale {
  /** Each power of ten as high as the one before. */
  logarithmic?: boolean;
  /** The lowest and the highest value of the axis, whatever the lines' are. */
  span?: readonly [number, number];
}

const HEIGHT = 220;
const LEFT = 58;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 24;
const FEW_POINTS = 40;
const RAISED: Record<string, string> = Object.fromEntries([..."-0123456789"].map((sign, n) => [sign, "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[n]!]));
const SVG = "http://www.w3.org/2000/svg";

type Numbers = readonly [number, number];

export class Chart {
  readonly element = element("figure", { class: "chart" });
  private readonly caption = element("figcaption");
  private readonly legend = element("div", { class: "legend" });
  private readonly svg = svg("svg", { height: HEIGHT, role: "img" });
  private width = 560;
  private title = "";
  private lines: readonly Line[] = [];
  private epochs: Numbers = [1, 1];
  private readonly cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });

  constructor(
    name: string,
    private readonly scale: Scale = {},
  ) {
    this.element.dataset.chart = name;
    this.element.append(this.caption, this.svg, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    new ResizeObserver(() => this.resize()).observe(this.svg); // so that its letters keep their size
  }

  private resize(): void {
    if (this.svg.clientWidth === 0 || this.svg.clientWidth === this.width) return;
    this.width = this.svg.clientWidth;
    if (this.title !== "") this.draw(this.title, this.lines, this.epochs);
  }

  /** Draw the lines, over all epochs that there are. */
  draw(title: string, lines: readonly Line[], epochs: Numbers): void {
    this.title = title;
    this.lines = lines;
    this.epochs = epochs[0] < epochs[1] ? epochs : [epochs[0] - 0.5, epochs[0] + 0.5];
    this.caption.replaceChildren(title);
    this.svg.setAttribute("aria-label", title);
    const values = lines.flatMap((line) => line.points.map(([, value]) => value)).filter((value) => this.shows(value));
    const span = this.span(values);
    const up = (value: number): number => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share(value, span, this.scale.logarithmic));
    const rungs = (this.scale.logarithmic ? decades(span) : rounds(span, 5)).map((value) => [value, up(value)] as const);
    this.svg.replaceChildren(
      ...rungs.flatMap(([value, y]) => [
        svg("line", { class: "rung", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }),
        label(short(value), { x: LEFT - 6, y: y + 4, "text-anchor": "end" }),
      ]),
      ...rounds(this.epochs, 8)
        .filter(Number.isInteger)
        .map((epoch) => label(number(epoch, 0), { x: this.across(epoch), y: HEIGHT - 6, "text-anchor": "middle" })),
      ...lines.map((line) => this.curve(line, up)),
      this.cursor,
    );
    this.read(null);
  }

  private curve(line: Line, up: (value: number) => number): SVGElement {
    const points = line.points.filter(([, value]) => this.shows(value));
    const path = points.map(([epoch, value]) => `${this.across(epoch).toFixed(1)},${up(value).toFixed(1)}`);
    const drawn = svg("g", { "data-line": line.name, "data-points": line.points.length, stroke: line.colour, fill: line.colour });
    drawn.append(svg("polyline", { points: path.join(" "), fill: "none", "stroke-width": 1.8 }));
    if (points.length <= FEW_POINTS) {
      for (const [epoch, value] of points) drawn.append(svg("circle", { cx: this.across(epoch), cy: up(value), r: 2.4 }));
    }
    return drawn;
  }

  /** Tell the values at an epoch, or the last ones. */
  private read(epoch: number | null): void {
    const place = epoch === null ? [] : [element("span", {}, `${say("Epoch")} ${epoch}`)];
    const said = this.lines.map((line) => {
      const point = epoch === null ? line.points.at(-1) : line.points.find(([at]) => at === epoch);
      const patch = element("i", { class: "patch" });
      patch.style.backgroundColor = line.colour;
      return element("span", { "data-of": line.name }, patch, `${line.title} ${point === undefined ? "–" : short(point[1])}`);
    });
    this.legend.replaceChildren(...place, ...said);
    this.cursor.setAttribute("visibility", epoch === null ? "hidden" : "visible");
    if (epoch !== null) for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, String(this.across(epoch)));
  }

  private point(event: PointerEvent): void {
    const box = this.svg.getBoundingClientRect();
    const x = event.clientX - box.left;
    const known = [...new Set(this.lines.flatMap((line) => line.points.map(([epoch]) => epoch)))];
    if (known.length === 0) return;
    const far = (epoch: number): number => Math.abs(this.across(epoch) - x);
    this.read(known.reduce((nearest, epoch) => (far(epoch) < far(nearest) ? epoch : nearest)));
  }

  private across(epoch: number): number {
    return LEFT + 6 + (this.width - LEFT - RIGHT - 12) * share(epoch, this.epochs, false);
  }

  private shows(value: number): boolean {
    return !this.scale.logarithmic || value > 0;
  }

  private span(values: readonly number[]): Numbers {
    if (values.length === 0) return this.scale.logarithmic ? [0.1, 1] : (this.scale.span ?? [0, 1]);
    const [low, high] = [least(values), most(values)];
    // a cosine ends at zero, which no power of ten reaches
    if (this.scale.logarithmic) return [Math.max(low, high / 1e4) / 1.3, high * 1.3];
    if (this.scale.span !== undefined) return this.scale.span;
    return [0, high > 0 ? high * 1.05 : 1];
  }
}

function share(value: number, [low, high]: Numbers, logarithmic: boolean | undefined): number {
  const found = logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.min(1, Math.max(0, found));
}

/** Round numbers in a span, about so many: 1, 2 or 5 times a power of ten apart. */
export function rounds([low, high]: Numbers, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((n) => n * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

/** Powers of ten in a span, with 2 and 5 times them where they are few. */
function decades([low, high]: Numbers): number[] {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const times = high / low > 200 ? [1] : [1, 2, 5];
  return Array.from({ length: last - first + 1 }, (_, n) => times.map((one) => Number((one * 10 ** (first + n)).toPrecision(12))))
    .flat()
    .filter((value) => value >= low && value <= high);
}

/** A number in a few signs. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-3 || size >= 1e5) {
    const [mantissa, power] = value.toExponential(2).split("e") as [string, string];
    const raised = [...String(Number(power))].map((sign) => RAISED[sign]).join("");
    const factor = short(Number(mantissa));
    return factor === "1" ? `10${raised}` : `${factor}·10${raised}`;
  }
  const digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
  return number(value, digits).replace(/([.,]\d*?)0+$/, "$1").replace(/[.,]$/, "");
}

function least(values: readonly number[]): number {
  return values.reduce((one, other) => Math.min(one, other), Infinity);
}

function most(values: readonly number[]): number {
  return values.reduce((one, other) => Math.max(one, other), -Infinity);
}

function label(text: string, attributes: Record<string, string | number>): SVGElement {
  const made = svg("text", attributes);
  made.textContent = text;
  return made;
}

function svg(tag: string, attributes: Record<string, string | number> = {}): SVGElement {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

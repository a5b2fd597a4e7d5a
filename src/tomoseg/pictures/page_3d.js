// Surfaces on a page that asks nobody for anything: WebGL2, the list of structures, and what the mouse does.
"use strict";

const about = JSON.parse(document.getElementById("about").textContent);
const place = (id) => document.getElementById(id);
const canvas = place("view");
const state = { lang: about.lang, side: 0, shown: new Set(), chosen: null, pointed: null, cut: 0, search: "" };
const camera = { turn: 0.45, tilt: 0.15, zoom: 1, target: [...about.middle] };
const VIEWS = { Front: [0, 0], Back: [Math.PI, 0], "From the left": [Math.PI / 2, 0], "From the right": [-Math.PI / 2, 0], "From above": [0, Math.PI / 2], "From below": [0, -Math.PI / 2] };
const LETTERS = [["R", [-1, 0, 0]], ["L", [1, 0, 0]], ["A", [0, -1, 0]], ["P", [0, 1, 0]], ["S", [0, 0, 1]], ["I", [0, 0, -1]]];
const HIGHLIGHT = 0.4;

function say(text) {
  return about.words[text][state.lang];
}

function number(value, digits) {
  return value.toLocaleString(state.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function element(tag, attributes, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

function button(text, onClick) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", onClick);
  return made;
}

// What is in the page

async function unpacked() {
  const text = atob(place("geometry").textContent.trim());
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Numbers are differences from the one before, their bytes apart: all lowest ones, then all next ones.
function summed(bytes, start, count, width) {
  const out = new Uint32Array(count);
  let sum = 0;
  for (let n = 0; n < count; n++) {
    let value = 0;
    for (let byte = width - 1; byte >= 0; byte--) value = value * 256 + bytes[start + byte * count + n];
    sum = (sum + value) % 256 ** width;
    out[n] = sum;
  }
  return out;
}

function decoded(bytes) {
  const points = new Uint16Array(4 * about.points);
  let at = 0;
  for (let axis = 0; axis < 3; axis++, at += 2 * about.points) {
    summed(bytes, at, about.points, 2).forEach((value, n) => (points[4 * n + axis] = value));
  }
  const corners = summed(bytes, at, 3 * about.triangles, 4);
  return { points, corners, normals: normals(points, corners) };
}

// Of each point the mean over its triangles, by their area.
function normals(points, corners) {
  const sums = new Float32Array((3 * points.length) / 4);
  const edge = (p, q, axis) => (points[4 * q + axis] - points[4 * p + axis]) * about.scale[axis];
  for (let n = 0; n < corners.length; n += 3) {
    const [p, q, r] = [corners[n], corners[n + 1], corners[n + 2]];
    const [ax, ay, az, bx, by, bz] = [edge(p, q, 0), edge(p, q, 1), edge(p, q, 2), edge(p, r, 0), edge(p, r, 1), edge(p, r, 2)];
    const normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
    for (const point of [p, q, r]) for (let axis = 0; axis < 3; axis++) sums[3 * point + axis] += normal[axis];
  }
  const out = new Int8Array(points.length);
  for (let n = 0; 3 * n < sums.length; n++) {
    const length = Math.hypot(sums[3 * n], sums[3 * n + 1], sums[3 * n + 2]) || 1;
    for (let axis = 0; axis < 3; axis++) out[4 * n + axis] = Math.round((127 * sums[3 * n + axis]) / length);
  }
  return out;
}

// What is drawn

const VERTEX = `#version 300 es
layout(location = 0) in vec3 point;
layout(location = 1) in vec3 normal;
uniform vec3 origin, scale, target, right, up, towards;
uniform vec3 extent;
out vec3 slope;
out float nearness;
void main() {
  vec3 place = origin + scale * point - target;
  nearness = dot(place, towards);
  slope = vec3(dot(normal, right), dot(normal, up), dot(normal, towards));
  gl_Position = vec4(dot(place, right) / extent.x, dot(place, up) / extent.y, -nearness / extent.z, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 slope;
in float nearness;
uniform vec3 colour;
uniform float cut, lit;
out vec4 drawn;
void main() {
  if (nearness > cut) discard;
  float light = min(1.0, 0.28 + 0.85 * max(0.0, dot(normalize(slope), normalize(vec3(-0.25, 0.35, 1.0)))));
  // The inside, seen where something is cut, has one shade, as if it were full.
  drawn = vec4(colour * mix(1.0, gl_FrontFacing ? light : 0.6, lit), 1.0);
}`;

class Drawing {
  constructor(gl, geometry) {
    this.gl = gl;
    this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program));
    gl.useProgram(this.program);
    this.attribute(0, geometry.points, gl.UNSIGNED_SHORT, false);
    this.attribute(1, geometry.normals, gl.BYTE, true);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, geometry.corners, gl.STATIC_DRAW);
    gl.enable(gl.DEPTH_TEST);
    this.pixel = this.onePixel();
  }

  attribute(number, values, kind, isNormalised) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(number);
    gl.vertexAttribPointer(number, 3, kind, isNormalised, 4 * values.BYTES_PER_ELEMENT, 0);
  }

  // What lies under the mouse is drawn here, each structure in its number.
  onePixel() {
    const gl = this.gl;
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    for (const [where, kind] of [[gl.COLOR_ATTACHMENT0, gl.RGBA8], [gl.DEPTH_ATTACHMENT, gl.DEPTH_COMPONENT16]]) {
      const store = gl.createRenderbuffer();
      gl.bindRenderbuffer(gl.RENDERBUFFER, store);
      gl.renderbufferStorage(gl.RENDERBUFFER, kind, 1, 1);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, where, gl.RENDERBUFFER, store);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    return frame;
  }

  set(name, ...values) {
    this.gl[`uniform${values.length}f`](this.gl.getUniformLocation(this.program, name), ...values);
  }

  draw(offset, size, colourOf, lit) {
    const gl = this.gl;
    const { right, up, towards } = axes();
    const half = halfExtent();
    gl.viewport(-offset[0], -offset[1], size[0], size[1]);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.set("origin", ...about.origin);
    this.set("scale", ...about.scale);
    this.set("target", ...camera.target);
    this.set("right", ...right);
    this.set("up", ...up);
    this.set("towards", ...towards);
    this.set("extent", (half * size[0]) / Math.min(...size), (half * size[1]) / Math.min(...size), 4 * about.radius);
    const middle = about.middle.reduce((sum, value, axis) => sum + (value - camera.target[axis]) * towards[axis], 0);
    this.set("cut", middle + about.radius * (1.02 - 2.04 * state.cut));
    this.set("lit", lit);
    for (const n of state.shown) {
      const [first, count] = about.structures[n].surfaces[state.side] ?? [0, 0];
      if (count === 0) continue;
      this.set("colour", ...colourOf(n).map((value) => value / 255));
      gl.drawElements(gl.TRIANGLES, 3 * count, gl.UNSIGNED_INT, 12 * first);
    }
  }

  show() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const size = [Math.max(1, Math.round(canvas.clientWidth * ratio)), Math.max(1, Math.round(canvas.clientHeight * ratio))];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    this.gl.clearColor(0.047, 0.055, 0.063, 1);
    this.draw([0, 0], size, (n) => {
      const own = about.structures[n].colour;
      return n === state.pointed ? own.map((value) => value + (255 - value) * HIGHLIGHT) : own;
    }, 1);
  }

  // The number of the structure at a place of the canvas, or null.
  at(x, y) {
    const gl = this.gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.pixel);
    gl.clearColor(0, 0, 0, 1);
    const size = [canvas.clientWidth, canvas.clientHeight];
    this.draw([x, size[1] - 1 - y], size, (n) => [(n + 1) & 255, (n + 1) >> 8, 0], 0);
    const read = new Uint8Array(4);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, read);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    const found = read[0] + 256 * read[1];
    return found === 0 ? null : found - 1;
  }
}

// Where one looks from: points are in mm to the left, to the back and up.
function axes() {
  const [sin, cos, high, flat] = [Math.sin(camera.turn), Math.cos(camera.turn), Math.sin(camera.tilt), Math.cos(camera.tilt)];
  return { right: [cos, sin, 0], up: [-high * sin, high * cos, flat], towards: [sin * flat, -cos * flat, high] };
}

function halfExtent() {
  return (1.05 * about.radius) / camera.zoom;
}

function shift(x, y) {
  const { right, up } = axes();
  const mm = (2 * halfExtent()) / Math.min(canvas.clientWidth, canvas.clientHeight);
  for (let axis = 0; axis < 3; axis++) camera.target[axis] += mm * (y * up[axis] - x * right[axis]);
}

function turn(x, y) {
  camera.turn -= x;
  camera.tilt = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, camera.tilt + y));
}

function zoom(times) {
  camera.zoom = Math.max(0.3, Math.min(60, camera.zoom * times));
}

let drawing = null;
let isAsked = false;
function redraw() {
  if (isAsked || drawing === null) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    drawing.show();
    drawAxes();
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
  });
}

function drawAxes() {
  const { right, up } = axes();
  const dot = (a, b) => a.reduce((sum, value, n) => sum + value * b[n], 0);
  const ends = LETTERS.map(([letter, way]) => [letter, dot(way, right), -dot(way, up)]);
  const lines = ends.map(([, x, y]) => `<line x2="${(26 * x).toFixed(1)}" y2="${(26 * y).toFixed(1)}"/>`);
  const texts = ends
    .filter(([, x, y]) => Math.hypot(x, y) > 0.25)
    .map(([letter, x, y]) => `<text x="${(38 * x).toFixed(1)}" y="${(38 * y).toFixed(1)}">${say(letter)}</text>`);
  place("axes").innerHTML = lines.join("") + texts.join("");
}

// The list

const rows = new Map();
let groups = [];

function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

function told(structure) {
  const ml = structure.volumes_ml[state.side];
  if (ml === null) return say("not annotated");
  const parts = structure.dice === null ? [] : [`Dice ${number(structure.dice, 3)}`];
  return [...parts, ml ? volume(ml) : say("not found")].join(" · ");
}

function volume(ml) {
  const digits = ml < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 };
  return `${ml.toLocaleString(state.lang, { ...digits, roundingMode: "halfEven" })} ml`;
}

function drawList() {
  rows.clear();
  groups = [];
  const found = new Map();
  about.structures.forEach((structure, n) => {
    const group = structure.group[state.lang];
    found.set(group, [...(found.get(group) ?? []), n]);
  });
  place("groups").replaceChildren(...[...found].map(([group, numbers]) => drawGroup(group, numbers)));
  mark();
}

function tick(label, onChange) {
  const made = element("input", { type: "checkbox", "aria-label": label });
  made.addEventListener("change", () => {
    onChange(made.checked);
    mark();
    redraw();
  });
  return made;
}

function drawGroup(name, numbers) {
  const box = tick(name, (on) => numbers.forEach((n) => (on ? state.shown.add(n) : state.shown.delete(n))));
  groups.push({ box, numbers });
  const title = element("summary", {}, box, element("span", {}, name), element("small", {}, String(numbers.length)));
  return element("details", { open: "" }, title, ...numbers.map(drawRow));
}

function drawRow(n) {
  const structure = about.structures[n];
  const title = structure.title[state.lang];
  const box = tick(title, (on) => (on ? state.shown.add(n) : state.shown.delete(n)));
  const patch = element("i", {});
  patch.style.background = `rgb(${structure.colour.join(" ")})`;
  const row = element("div", { class: "row", "data-name": structure.name }, box, patch, button(title, () => choose(n, true)), element("small", {}));
  row.addEventListener("pointerenter", () => point(n));
  row.addEventListener("pointerleave", () => point(null));
  rows.set(n, { row, box });
  return row;
}

function mark() {
  const wanted = plain(state.search);
  for (const [n, { row, box }] of rows) {
    const structure = about.structures[n];
    const texts = [structure.name, structure.title.en, structure.title.fr, structure.group[state.lang]];
    row.hidden = !texts.some((text) => plain(text).includes(wanted));
    box.checked = state.shown.has(n);
    row.classList.toggle("chosen", n === state.chosen);
    row.classList.toggle("absent", !structure.volumes_ml[state.side]);
    row.querySelector("small").textContent = told(structure);
  }
  for (const { box, numbers } of groups) {
    const shown = numbers.filter((n) => state.shown.has(n)).length;
    box.checked = shown === numbers.length;
    box.indeterminate = shown > 0 && shown < numbers.length;
    box.closest("details").hidden = numbers.every((n) => rows.get(n).row.hidden);
  }
  place("alone").disabled = state.chosen === null;
  place("unmatched").hidden = [...rows.values()].some(({ row }) => !row.hidden);
  place("unmatched").textContent = say("No structure matches the search.");
  const empty = emptiness();
  place("empty").hidden = empty === null;
  place("empty").textContent = empty ?? "";
  place("sides").querySelectorAll("button").forEach((one, n) => one.setAttribute("aria-pressed", String(n === state.side)));
}

// Why there is nothing to see, or null.
function emptiness() {
  const isDrawn = (n) => (about.structures[n].surfaces[state.side]?.[1] ?? 0) > 0;
  const isAny = about.structures.some((_, n) => isDrawn(n));
  if (!isAny) return state.side === 0 ? say("3D empty") : say("3D empty reference");
  return [...state.shown].some(isDrawn) ? null : say("3D unselected");
}

function point(n) {
  if (n === state.pointed) return;
  rows.get(state.pointed)?.row.classList.remove("pointed");
  state.pointed = n;
  rows.get(n)?.row.classList.add("pointed");
  redraw();
}

function choose(n, isGoneTo) {
  state.chosen = n;
  if (isGoneTo) {
    state.shown.add(n);
    const middle = about.structures[n].middle;
    if (middle !== null) camera.target = [...middle];
  } else {
    rows.get(n).row.scrollIntoView({ block: "nearest" });
  }
  mark();
  redraw();
}

function showAll() {
  about.structures.forEach((_, n) => state.shown.add(n));
}

function alone() {
  if (state.chosen === null) return;
  const was = state.shown.size === 1 && state.shown.has(state.chosen);
  state.shown.clear();
  was ? showAll() : state.shown.add(state.chosen);
}

function speak() {
  document.documentElement.lang = state.lang;
  document.querySelectorAll("[data-say]").forEach((one) => (one.textContent = say(one.dataset.say)));
  const search = place("search");
  search.placeholder = say(search.dataset.hint);
  search.setAttribute("aria-label", say(search.dataset.hint));
  canvas.setAttribute("aria-label", say("3D how"));
  place("language").textContent = state.lang === "fr" ? "English" : "Français";
  const views = Object.entries(VIEWS).map(([name, [to, tilt]]) =>
    button(say(name), () => {
      Object.assign(camera, { turn: to, tilt, zoom: 1, target: [...about.middle] });
      redraw();
    }),
  );
  place("views").replaceChildren(...views);
  const sides = about.sides.map((name, n) =>
    button(say(name), () => {
      state.side = n;
      mark();
      redraw();
    }),
  );
  place("sides").replaceChildren(...(sides.length > 1 ? sides : []));
  drawList();
}

// What people do

function listen() {
  const touches = new Map();
  let moved = 0;
  const hide = () => {
    place("told").hidden = true;
    point(null);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = [event.offsetX, event.offsetY];
    const before = touches.get(event.pointerId);
    if (before === undefined) return look(now);
    const [x, y] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.abs(x) + Math.abs(y);
    if (touches.size === 2) {
      const other = [...touches].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      zoom(apart(now) / apart(before));
      shift(x / 2, y / 2);
    } else if (event.shiftKey || (event.buttons & 6) !== 0) {
      shift(x, y);
    } else {
      turn(x / 150, y / 150);
    }
    touches.set(event.pointerId, now);
    place("told").hidden = true;
    redraw();
  });
  const end = (event) => {
    if (touches.delete(event.pointerId) && event.type === "pointerup" && moved < 4) {
      look([event.offsetX, event.offsetY]);
      const found = drawing.at(event.offsetX, event.offsetY);
      if (found !== null) choose(found, false);
    }
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", hide);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) / 500));
    redraw();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (steps !== undefined) turn(...steps);
    else if (event.key === "+") zoom(1.2);
    else if (event.key === "-") zoom(1 / 1.2);
    else return;
    event.preventDefault();
    redraw();
  });
  place("cut").addEventListener("input", (event) => {
    state.cut = Number(event.target.value);
    redraw();
  });
  place("search").addEventListener("input", (event) => {
    state.search = event.target.value;
    mark();
  });
  const buttons = { all: showAll, none: () => state.shown.clear(), alone };
  for (const [id, does] of Object.entries(buttons)) {
    place(id).addEventListener("click", () => {
      does();
      mark();
      redraw();
    });
  }
  place("language").addEventListener("click", () => {
    state.lang = state.lang === "fr" ? "en" : "fr";
    speak();
    redraw();
  });
  new ResizeObserver(redraw).observe(canvas);
}

let lookedAt = null;
// What lies under the mouse, once a frame.
function look(where) {
  const isWaiting = lookedAt !== null;
  lookedAt = where;
  if (isWaiting) return;
  requestAnimationFrame(() => {
    const [x, y] = lookedAt;
    lookedAt = null;
    const found = drawing.at(Math.round(x), Math.round(y));
    const box = place("told");
    box.hidden = found === null;
    if (found !== null) {
      const structure = about.structures[found];
      box.querySelector("i").style.background = `rgb(${structure.colour.join(" ")})`;
      box.querySelector("span").textContent = `${structure.title[state.lang]} · ${told(structure)}`;
      box.style.left = `${Math.min(x + 14, canvas.clientWidth - box.offsetWidth - 4)}px`;
      box.style.top = `${Math.min(y + 14, canvas.clientHeight - box.offsetHeight - 4)}px`;
    }
    point(found);
    redraw();
  });
}

async function start() {
  showAll();
  speak();
  const gl = canvas.getContext("webgl2", { antialias: true });
  if (gl === null || typeof DecompressionStream === "undefined") {
    place("refused").textContent = say("no 3D");
    place("refused").hidden = false;
    place("empty").hidden = true;
    return;
  }
  drawing = new Drawing(gl, decoded(await unpacked()));
  listen();
  redraw();
}

start();

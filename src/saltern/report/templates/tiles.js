"use strict";
/* Tiles of images: where their bytes come from, what they decode to, masks and scores at a level, and their drawing.
   A map holds how many levels the probability of each pixel exceeds, so at level k a pixel is foreground where it is
   above k. Nothing here knows of the page around it. */

class TileStore {
  constructor(page) {
    this.page = page;
    this.chunks = new Map();   // number -> promise of [picture, map] for each of its images
    this.maps = new Map();     // image -> promise of its decoded tile, the most recent last
    this.waiting = new Map();  // number -> functions that answer for a side file that is being loaded
    window.salternTiles = (key, number, tiles) => {
      const [resolve, reject] = this.waiting.get(number) || [];
      if (!resolve) return;
      if (key === page.key) resolve(tiles);
      else reject(new Error(`${page.side}/${number}.js belongs to another page; take both from one run`));
    };
  }

  chunk(number) {
    if (!this.chunks.has(number)) this.chunks.set(number, this.page.side ? this.load(number) : this.parse(number));
    return this.chunks.get(number);
  }

  async parse(number) { return JSON.parse(document.getElementById(`tiles-${number}`).textContent); }

  load(number) {  // by a script element, since a page from a file may fetch nothing
    const file = `${this.page.side}/${number}.js`;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, [resolve, reject]);
      const script = document.createElement("script");
      script.src = file;
      script.onload = () => { script.remove(); reject(new Error(`${file} holds no tiles`)); };  // too late if it did
      script.onerror = () => reject(new Error(`${file} is missing; it belongs beside this page`));
      document.head.append(script);
    });
  }

  tile(image) {
    const known = this.maps.get(image) || this.decode(image);
    this.maps.delete(image);
    this.maps.set(image, known);
    if (this.maps.size > 400) this.maps.delete(this.maps.keys().next().value);
    return known;
  }

  async decode(image) {
    const [picture, packed] = (await this.chunk(Math.floor(image / this.page.chunk)))[image % this.page.chunk];
    const shown = new Image();
    shown.src = `data:image/webp;base64,${picture}`;
    const [bytes] = await Promise.all([inflated(packed), shown.decode()]);
    const { width, height } = this.page.columns;
    const size = width[image] * height[image];
    return { image, width: width[image], height: height[image], shown,
             levels: bytes.subarray(0, size), truth: bytes.subarray(size, 2 * size) };
  }
}

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* [tp, fp, fn] of valid pixels at level k, after minimum area and gates. */
function countsAt(page, tile, k) {
  const { levels, truth } = tile;
  let tp = 0, fp = 0, area = 0, positives = 0;
  for (let pixel = 0; pixel < truth.length; pixel++) {
    const above = levels[pixel] > k;
    area += above;
    if (truth[pixel] === 1) { positives++; tp += above; } else if (truth[pixel] === 0) fp += above;
  }
  return emptied(page, tile.image, area) ? [0, 0, positives] : [tp, fp, positives - tp];
}

/* Whether the decision's minimum area or a gate empties a mask of `area` pixels of the map; void counts as area. */
function emptied(page, image, area) {
  const { decision, columns } = page;
  const step = columns.step[image];
  if (area * step * step < decision.min_area) return true;
  if (Math.fround(columns.peak[image]) < Math.fround(decision.empty_gate || 0)) return true;
  return Boolean(decision.presence_gate)
    && Math.fround(columns.presence[image]) < Math.fround(decision.presence_gate);
}

const SCORES = {
  iou: ([tp, fp, fn]) => tp + fp + fn ? tp / (tp + fp + fn) : 1,
  dice: ([tp, fp, fn]) => tp + fp + fn ? 2 * tp / (2 * tp + fp + fn) : 1,
  precision_tgs: ([tp, fp, fn]) => {
    const union = tp + fp + fn;
    if (!union) return 1;
    let hits = 0;
    for (let step = 10; step < 20; step++) hits += 20 * tp > step * union;
    return hits / 10;
  },
};

/* The mask at level k as {0, 1}; empty where the decision empties it. */
function maskAt(page, tile, k) {
  const mask = new Uint8Array(tile.levels.length);
  let area = 0;
  for (let pixel = 0; pixel < mask.length; pixel++) area += mask[pixel] = tile.levels[pixel] > k ? 1 : 0;
  return emptied(page, tile.image, area) ? mask.fill(0) : mask;
}

/* The border of `inside` (a function of a pixel's index) along pixel edges, scaled; edges of the image count. */
function border(inside, width, height, scale) {
  const path = new Path2D();
  const line = (across, fixed, from, to) => {
    const [a, b, c, d] = across ? [from, fixed, to, fixed] : [fixed, from, fixed, to];
    path.moveTo(a * scale, b * scale);
    path.lineTo(c * scale, d * scale);
  };
  const at = (row, column) => row >= 0 && row < height && column >= 0 && column < width && inside(row * width + column);
  const trace = (across, lines, length, sides) => {
    for (let fixed = 0; fixed <= lines; fixed++) {
      let from = -1, kind = 0;
      for (let place = 0; place <= length; place++) {
        const now = place < length ? sides(fixed, place) : 0;
        if (now === kind) continue;
        if (kind) line(across, fixed, from, place);
        from = place;
        kind = now;
      }
    }
  };
  trace(true, height, width, (row, column) => Number(at(row, column)) - Number(at(row - 1, column)));
  trace(false, width, height, (column, row) => Number(at(row, column)) - Number(at(row, column - 1)));
  return path;
}

const VIRIDIS = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];

function shade(probability) {
  const place = Math.min(0.9999, Math.max(0, probability)) * (VIRIDIS.length - 1);
  const [low, high, part] = [VIRIDIS[Math.floor(place)], VIRIDIS[Math.floor(place) + 1], place % 1];
  return low.map((value, index) => value + part * (high[index] - value));
}

/* Pixels of `tile` coloured by `colour(index)` -> [r, g, b, a], laid over the canvas. */
function overlay(context, tile, scale, colour) {
  const small = document.createElement("canvas");
  small.width = tile.width;
  small.height = tile.height;
  const pixels = new ImageData(tile.width, tile.height);
  for (let index = 0; index < tile.truth.length; index++) pixels.data.set(colour(index), 4 * index);
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(small, 0, 0, tile.width * scale, tile.height * scale);
}

/* Draw a tile at level k into `canvas`, whose place on the page is `wide` CSS pixels wide. */
function drawTile(page, canvas, tile, k, wide, { outlines, heat }) {
  const { width, height, truth, levels } = tile;
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const scale = Math.max(1, Math.ceil(wide * ratio / width));
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    canvas.width = width * scale;
    canvas.height = height * scale;
  }
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  if (heat) {
    const shades = [0, ...page.levels].map((level, index) => [...shade(index === 0 ? 0 : level), 255]);
    overlay(context, tile, scale, index => shades[levels[index]]);
  } else context.drawImage(tile.shown, 0, 0, canvas.width, canvas.height);
  if (!outlines) return;
  if (truth.includes(2)) overlay(context, tile, scale, index => truth[index] === 2 ? [143, 143, 143, 140] : [0, 0, 0, 0]);
  const style = getComputedStyle(document.documentElement);
  const thick = canvas.width / wide;
  const stroke = (path, colour, size) => {
    context.strokeStyle = colour;
    context.lineWidth = size * thick;
    context.stroke(path);
  };
  context.lineCap = "square";
  const outline = border(pixel => truth[pixel] === 1, width, height, scale);
  stroke(outline, "rgb(0 0 0 / 0.5)", 4.4);
  stroke(outline, style.getPropertyValue("--truth"), 3);
  const mask = maskAt(page, tile, k);
  stroke(border(pixel => mask[pixel] === 1, width, height, scale), style.getPropertyValue("--mask"), 1.6);
}

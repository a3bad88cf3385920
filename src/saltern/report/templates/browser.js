/* The browser of images: filters, order, pages, the slider, and one image at a time. Its markup is in browser.html. */

const page = JSON.parse(document.getElementById("page-data").textContent);
const store = new TileStore(page);
const { columns } = page;
const place = document.getElementById("browser");
const find = name => place.querySelector(`[data-part="${name}"]`);
const number = (value, digits = 3) => value.toFixed(digits);
const percent = value => `${(100 * value).toFixed(1)} %`;
const PAGE = 24;

const state = { kind: "", page: 0, level: page.start, chosen: [], open: -1, turn: 0 };
const look = () => ({ outlines: find("outlines").checked, heat: find("heat").checked });
const atStart = () => page.exact && state.level === page.start;

/* ------------------------------------------------------------------------------------------ which, in which order */
function value(image, name) {
  if (name === "kind") return page.kinds[columns.kind[image]];
  return columns[name][image];
}

function passes(image, but = "") {
  const words = find("search").value.trim().toLowerCase();
  const [low, high] = [find("low").valueAsNumber, find("high").valueAsNumber];
  const score = columns[page.score][image];
  const wanted = (part, found) => !find(part) || find(part).value === "" || find(part).value === String(found);
  return (but === "kind" || !state.kind || value(image, "kind") === state.kind)
    && wanted("fold", columns.fold[image])
    && wanted("coverage", columns.bin[image])
    && wanted("group", columns.group ? columns.group[image] : "")
    && !(score < low || score > high)
    && (!words || columns.id[image].toLowerCase().includes(words));
}

function choose() {
  const name = find("sort").value, down = find("down").getAttribute("aria-pressed") === "true" ? -1 : 1;
  const all = columns.id.map((_, image) => image);
  const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const tied = (a, b) => compare(columns.iou[a], columns.iou[b]) || compare(columns.id[a], columns.id[b]);
  state.chosen = all.filter(image => passes(image))
    .sort((a, b) => down * (compare(value(a, name), value(b, name)) || tied(a, b)));
  state.page = 0;
  const counts = new Map();
  for (const image of all) if (passes(image, "kind")) counts.set(value(image, "kind"), (counts.get(value(image, "kind")) || 0) + 1);
  for (const chip of place.querySelectorAll("[data-kind]")) {
    const count = chip.dataset.kind ? counts.get(chip.dataset.kind) || 0 : [...counts.values()].reduce((a, b) => a + b, 0);
    chip.querySelector("b").textContent = count.toLocaleString("en");
    chip.setAttribute("aria-pressed", String(chip.dataset.kind === state.kind));
  }
  list();
}

/* ------------------------------------------------------------------------------------------------------ the tiles */
const watcher = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    target.seen = isIntersecting;
    if (isIntersecting) draw(target);
  }
}, { rootMargin: "300px" });

function list() {
  const grid = find("tiles"), pages = Math.max(1, Math.ceil(state.chosen.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const shown = state.chosen.slice(state.page * PAGE, (state.page + 1) * PAGE);
  watcher.disconnect();
  grid.replaceChildren(...shown.map(made));
  for (const button of grid.children) watcher.observe(button);
  find("none").hidden = shown.length > 0;
  find("page").textContent = `page ${state.page + 1} of ${pages}`;
  find("previous").disabled = state.page === 0;
  find("next").disabled = state.page === pages - 1;
  find("pager").hidden = pages === 1;
  tell();
}

function made(image) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.image = image;
  button.dataset.id = columns.id[image];
  button.innerHTML = '<canvas></canvas><code></code><span class="score"><b></b> <i></i></span><span class="muted"></span>';
  const canvas = button.firstChild;
  canvas.width = columns.width[image];
  canvas.height = columns.height[image];
  canvas.style.aspectRatio = `${columns.width[image]} / ${columns.height[image]}`;
  button.querySelector("code").textContent = columns.id[image];
  button.querySelector("code").title = columns.id[image];
  caption(button, null);
  button.addEventListener("click", () => show(image));
  return button;
}

async function draw(button) {
  try {
    const tile = await store.tile(button.image);
    if (!button.isConnected) return;
    drawTile(page, button.firstChild, tile, state.level, button.clientWidth || 160, look());
    caption(button, tile);
  } catch (error) {
    fail(button, error);
  }
}

function fail(button, error) {
  button.classList.add("gone");
  button.lastChild.textContent = error.message;
  find("trouble").hidden = false;
  find("trouble").textContent = `Some pictures cannot be shown: ${error.message}.`;
}

/* Scores of an image at the slider: those of oof_scores.csv at the decision, else from its map. */
function scoreOf(image, tile, name = page.score) {
  if (atStart() || !tile) return columns[name][image];
  return SCORES[name](countsAt(page, tile, state.level));
}

function caption(button, tile) {
  const image = button.image, score = scoreOf(image, tile), before = columns[page.score][image];
  const [strong, rest] = button.querySelectorAll(".score b, .score i");
  button.score = score;
  strong.textContent = number(score, 2);
  const about = tile && columns.step[image] > 1 && !atStart() ? "≈ " : "";
  const moved = score - before;
  if (tile && !atStart() && Math.abs(moved) > 1e-9) {
    rest.textContent = `${about}${moved > 0 ? "+" : "−"}${number(Math.abs(moved), 2)}`;
    rest.className = moved > 0 ? "up" : "down";
  } else {
    rest.textContent = page.score === "iou" ? value(image, "kind") : `IoU ${number(scoreOf(image, tile, "iou"))}`;
    rest.className = "";
  }
  const kind = page.score === "iou" ? "" : `${value(image, "kind")} · `;
  button.lastChild.textContent = `${kind}truth ${percent(columns.coverage[image])}`;
  button.setAttribute("aria-label", `${columns.id[image]}: ${page.score} ${number(score, 2)}, ${value(image, "kind")}`);
}

function redraw() {
  for (const button of find("tiles").children) if (button.seen) draw(button);
  if (state.open >= 0) paint();
}

/* ----------------------------------------------------------------------------------------------------- the slider */
function slide(level) {
  state.level = level;
  const turn = ++state.turn;
  find("slider").value = level;
  tell();
  requestAnimationFrame(() => { if (turn === state.turn) redraw(); });
}

function tell() {
  const threshold = page.levels[state.level];
  find("threshold").textContent = String(threshold);
  find("where").textContent = state.level === page.start ? (page.exact ? "the tuned decision" : "the decision in force")
    : state.level === page.tuned ? "the tuned decision" : "";
  find("pooled").textContent = number(page.curve[state.level], 4);
  find("slider").setAttribute("aria-valuetext", `threshold ${threshold}, ${page.tuned_for} ${number(page.curve[state.level], 4)}`);
  const count = state.chosen.length, mean = state.chosen.reduce((sum, image) => sum + columns[page.score][image], 0) / count;
  find("summary").textContent = count ? `${count.toLocaleString("en")} of ${columns.id.length.toLocaleString("en")} images, `
    + `mean ${page.score} ${number(mean, 4)} at the tuned decision` : "";
  put(find("dot"), curvePoint(state.level));
  find("reset").style.visibility = state.level === page.start ? "hidden" : "visible";
}

function curvePoint(level) {
  const low = Math.min(...page.curve), high = Math.max(...page.curve);
  const [from, to] = [page.levels[0], page.levels.at(-1)];
  return [1000 * (page.levels[level] - from) / (to - from), 92 - 84 * (page.curve[level] - low) / (high - low || 1)];
}

function put(dot, [x, y]) {
  dot.style.left = `${x / 10}%`;
  dot.style.top = `${y}%`;
}

function drawCurve() {
  find("line").setAttribute("d", page.levels.map((_, level) => `${level ? "L" : "M"}${curvePoint(level).join(" ")}`).join(""));
  find("mark").setAttribute("d", `M${curvePoint(page.start)[0]} 0V100`);
}

/* ----------------------------------------------------------------------------------------------- one image at a time */
const dialog = document.getElementById("one");
const inside = name => dialog.querySelector(`[data-part="${name}"]`);

function show(image) {
  state.open = image;
  if (!dialog.open) dialog.showModal();
  paint();
}

async function paint() {
  const image = state.open, order = state.chosen.indexOf(image);
  inside("id").textContent = columns.id[image];
  inside("order").textContent = order < 0 ? "" : `${order + 1} of ${state.chosen.length}`;
  try {
    const tile = await store.tile(image);
    if (image !== state.open) return;
    const canvas = inside("canvas");
    drawTile(page, canvas, tile, state.level, Math.min(560, canvas.parentNode.clientWidth), look());
    facts(image, tile);
    ownCurve(tile);
    inside("trouble").textContent = "";
  } catch (error) {
    inside("trouble").textContent = error.message;
    facts(image, null);
  }
}

function facts(image, tile) {
  const lines = Object.keys(SCORES).map(name => [name, `${number(scoreOf(image, tile, name), 4)}`
    + (atStart() || !tile ? "" : ` (tuned: ${number(columns[name][image], 4)})`)]);
  lines.push(["kind of error", `${value(image, "kind")} at the decision`], ["truth", percent(columns.coverage[image])],
             ["mask", `${percent(columns.share[image])} at the decision`], ["fold", columns.fold[image]]);
  if (columns.group && columns.group[image]) lines.push(["group", columns.group[image]]);
  lines.push(["doubtful pixels", percent(columns.doubt[image])], ["highest probability", number(columns.peak[image])]);
  if (columns.presence) lines.push(["presence", number(columns.presence[image])]);
  if (columns.disagreement) lines.push(["disagreement", number(columns.disagreement[image])]);
  if (columns.step[image] > 1) lines.push(["map", `every ${columns.step[image]}th pixel: scores at other thresholds are approximate`]);
  inside("facts").replaceChildren(...lines.map(([label, text]) => {
    const row = document.createElement("tr");
    row.append(document.createElement("td"), document.createElement("td"));
    row.firstChild.textContent = label;
    row.lastChild.textContent = text;
    return row;
  }));
}

function ownCurve(tile) {  // counts of all levels from one histogram of the map
  const bins = page.levels.length + 1, kinds = [new Float64Array(bins), new Float64Array(bins), new Float64Array(bins)];
  tile.truth.forEach((kind, pixel) => { kinds[kind][tile.levels[pixel]]++; });
  const positives = kinds[1].reduce((a, b) => a + b, 0);
  let tp = 0, fp = 0, area = 0;
  const points = [];
  for (let level = page.levels.length - 1; level >= 0; level--) {
    tp += kinds[1][level + 1];
    fp += kinds[0][level + 1];
    area = area + kinds[0][level + 1] + kinds[1][level + 1] + kinds[2][level + 1];
    const score = SCORES.iou(emptied(page, tile.image, area) ? [0, 0, positives] : [tp, fp, positives - tp]);
    points.unshift([curvePoint(level)[0], 95 - 90 * score]);
  }
  inside("line").setAttribute("d", points.map((point, level) => `${level ? "L" : "M"}${point.join(" ")}`).join(""));
  put(inside("dot"), points[state.level]);
}

function step(by) {
  const order = state.chosen.indexOf(state.open) + by;
  if (order < 0 || order >= state.chosen.length) return;
  state.open = state.chosen[order];
  paint();
}

/* ------------------------------------------------------------------------------------------------------- listening */
function turnTo(number) {
  state.page = number;
  list();
  find("bar").scrollIntoView({ block: "start" });
}

function move(event) {
  const tiles = [...find("tiles").children], at = tiles.indexOf(document.activeElement);
  if (at < 0) return;
  const wide = tiles.filter(tile => tile.offsetTop === tiles[0].offsetTop).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide, Home: -at, End: tiles.length - 1 - at }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  if (tiles[at + by]) tiles[at + by].focus();
}

function listen() {
  for (const name of ["sort", "fold", "coverage", "group", "low", "high", "search"]) find(name)?.addEventListener("input", choose);
  for (const chip of place.querySelectorAll("[data-kind]")) chip.addEventListener("click", () => { state.kind = chip.dataset.kind; choose(); });
  find("down").addEventListener("click", event => {
    const button = event.currentTarget, down = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(down));
    button.textContent = down ? "↓ highest first" : "↑ lowest first";
    choose();
  });
  find("slider").addEventListener("input", event => slide(Number(event.target.value)));
  find("reset").addEventListener("click", () => slide(page.start));
  for (const name of ["outlines", "heat"]) find(name).addEventListener("change", redraw);
  find("previous").addEventListener("click", () => turnTo(state.page - 1));
  find("next").addEventListener("click", () => turnTo(state.page + 1));
  find("tiles").addEventListener("keydown", move);
  inside("before").addEventListener("click", () => step(-1));
  inside("after").addEventListener("click", () => step(1));
  inside("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    const tile = [...find("tiles").children].find(button => button.image === state.open);
    state.open = -1;
    tile?.focus();
  });
  window.addEventListener("beforeprint", () => { for (const button of find("tiles").children) draw(button); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

find("slider").max = page.levels.length - 1;
find("slider").value = page.start;
place.hidden = false;
drawCurve();
listen();
choose();

"use strict";
// The page has two players over one payload: the slider, which adds noise, and the steps of samplers, which take it away.
// A view draws one example (pixels, points or symbols); players know nothing of it. All numbers and all frames come
// from the payload; nothing here computes a process or asks a network.

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const ZOOMS = [1, 1.5, 2, 3, 4];
const WHOLE_WAY = 6000; // milliseconds that either player takes at speed 1
const KINDS = ["is-linear", "is-cosine", "is-own"];

/* ---- The payload ------------------------------------------------------------------------------------------------ */

const NUMBERS = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/** An array as visualize/page.py packs it: {shape, values}. */
async function unpacked({ dtype, shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return { shape, values: new NUMBERS[dtype](await new Response(stream).arrayBuffer()) };
}

/** The payload with all its arrays unpacked. */
async function unpackedAll(part) {
  if (Array.isArray(part)) return Promise.all(part.map(unpackedAll));
  if (part === null || typeof part !== "object") return part;
  if ("base64" in part) return unpacked(part);
  const pairs = await Promise.all(Object.entries(part).map(async ([name, each]) => [name, await unpackedAll(each)]));
  return Object.fromEntries(pairs);
}

/** Entry [i, j, ...] of an array, as a view of its numbers. */
function at(array, ...index) {
  let size = array.values.length, start = 0;
  index.forEach((i, axis) => { size /= array.shape[axis]; start += i * size; });
  return array.values.subarray(start, start + size);
}

/* ---- Words ------------------------------------------------------------------------------------------------------- */

function number(value, digits = 3) {
  if (value === null || value === undefined) return "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10000 || size < 0.0001) return value.toExponential(1).replace("e", " e").replaceAll("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−"); // toPrecision alone writes 100 as 1.0e+2
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/* ---- Views -------------------------------------------------------------------------------------------------------- */
// A view makes an element of about so many CSS pixels, and draws a cell in it: {values, and what else the view takes}.

/** Pixels: the canvas has the size of the array, and CSS enlarges it, so that its bytes are those of the payload. */
function pictureView(payload) {
  const [height, width, given] = payload.data.shape.slice(1);
  const channels = given || 1;
  const masked = [91, 99, 216];

  function element(label) {
    return make("canvas", { width, height, role: "img", "aria-label": label });
  }

  function size(canvas, side) {
    const scale = side / Math.max(width, height);
    const whole = scale >= 1 ? Math.max(1, Math.floor(scale)) : scale;
    canvas.style.width = `${Math.round(width * whole)}px`;
    canvas.style.height = `${Math.round(height * whole)}px`;
    canvas.classList.toggle("smooth", scale < 1);
  }

  function draw(canvas, cell) {
    const context = canvas.getContext("2d", { willReadFrequently: true }), image = context.createImageData(width, height), { values } = cell;
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        const value = values[i * channels + (channels === 1 ? 0 : c)];
        const palette = payload.palette;
        image.data[4 * i + c] = !palette || cell.plain ? value : value < palette.length ? palette[value] : masked[c];
      }
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  const aspect = width / height;
  const sides = aspect > 1.6 ? { big: 400, term: 120, thumb: 100, card: 190, strip: 90, phone: 120 }
    : { big: 264, term: 88, thumb: 44, card: 88, strip: 52, phone: 52 };
  return { element, size, draw, sides, fits: true, wide: aspect > 1.6 };
}

/** Points of the plane, the arrows of the score, and the last steps of each point. */
function planeView(payload) {
  const hues = new WeakMap(); // by the array itself, so a reference is one array for as long as it is drawn

  function element(label) {
    return make("canvas", { width: 2, height: 2, role: "img", "aria-label": label, class: "smooth" });
  }

  function size(canvas, side) {
    const pixels = Math.round(side * Math.min(2, window.devicePixelRatio || 1));
    canvas.width = canvas.height = pixels;
    canvas.style.width = canvas.style.height = `${side}px`;
  }

  /** The hue of each point, by the direction in which its reference lies. */
  function huesOf(reference) {
    if (!hues.has(reference)) {
      const found = [];
      for (let i = 0; i < reference.length; i += 2) found.push(Math.round(Math.atan2(reference[i + 1], reference[i]) * 180 / Math.PI + 180));
      hues.set(reference, found);
    }
    return hues.get(reference);
  }

  function draw(canvas, cell) {
    const context = canvas.getContext("2d"), side = canvas.width, half = cell.half, middle = side / 2;
    const x = (value) => middle + (value / half) * middle * 0.96, y = (value) => middle - (value / half) * middle * 0.96;
    const dark = document.documentElement.dataset.theme === "dark", hue = huesOf(cell.reference), isLarge = parseFloat(canvas.style.width) >= 200; // the cards' are not, a telephone's are
    context.clearRect(0, 0, side, side);
    context.strokeStyle = colour("--line");
    context.lineWidth = Math.max(1, side / 400);
    context.beginPath();
    context.moveTo(x(0), 0); context.lineTo(x(0), side); context.moveTo(0, y(0)); context.lineTo(side, y(0));
    context.stroke();
    if (cell.field && isLarge) drawField(context, cell, x, y, half);
    if (cell.trail && isLarge) drawTrail(context, cell, x, y, hue, dark);
    const radius = Math.max(1.3, side / 170);
    for (let i = 0; i < cell.values.length / 2; i++) {
      context.fillStyle = `hsl(${hue[i]} ${dark ? "80% 68%" : "70% 42%"} / 85%)`;
      context.beginPath();
      context.arc(x(cell.values[2 * i]), y(cell.values[2 * i + 1]), radius, 0, 7);
      context.fill();
    }
  }

  /** The arrow at each place is sigma times the score there, cut off at one space between arrows. */
  function drawField(context, cell, x, y, half) {
    const n = payload.arrows, space = (2 * half) / n;
    context.strokeStyle = context.fillStyle = colour("--soft");
    context.globalAlpha = 0.75;
    context.lineWidth = Math.max(1, context.canvas.width / 420);
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const k = 2 * (row * n + column);
        const from = [((column + 0.5) / n * 2 - 1) * half, ((row + 0.5) / n * 2 - 1) * half];
        const push = [cell.field[k] * cell.sigma, cell.field[k + 1] * cell.sigma];
        const length = Math.hypot(...push);
        if (!(length > 1e-6)) continue;
        const reach = Math.min(length / 3, 1) * space * 0.92 / length;
        const to = [from[0] + push[0] * reach, from[1] + push[1] * reach];
        const angle = Math.atan2(y(to[1]) - y(from[1]), x(to[0]) - x(from[0])), head = context.canvas.width / 110;
        context.beginPath();
        context.moveTo(x(from[0]), y(from[1]));
        context.lineTo(x(to[0]), y(to[1]));
        context.stroke();
        context.beginPath();
        context.moveTo(x(to[0]), y(to[1]));
        context.lineTo(x(to[0]) - head * Math.cos(angle - 0.5), y(to[1]) - head * Math.sin(angle - 0.5));
        context.lineTo(x(to[0]) - head * Math.cos(angle + 0.5), y(to[1]) - head * Math.sin(angle + 0.5));
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  function drawTrail(context, cell, x, y, hue, dark) {
    context.lineWidth = Math.max(1, context.canvas.width / 500);
    const every = Math.max(1, Math.floor(cell.values.length / 2 / 60));
    for (let i = 0; i < cell.values.length / 2; i += every) {
      context.strokeStyle = `hsl(${hue[i]} ${dark ? "70% 62%" : "60% 45%"} / 45%)`;
      context.beginPath();
      cell.trail.forEach((points, k) => (k ? context.lineTo(x(points[2 * i]), y(points[2 * i + 1])) : context.moveTo(x(points[2 * i]), y(points[2 * i + 1]))));
      context.stroke();
    }
  }

  return { element, size, draw, sides: { big: 480, term: 110, thumb: 60, card: 180, strip: 70, phone: 120 }, fits: true, wide: true };
}

/** The symbols of a text, one span each; masks are blocks, and what has changed is marked. */
function textView(payload) {
  function element(label) {
    return make("div", { class: "tokens", role: "img", "aria-label": label });
  }

  function size(host, side) {
    host.classList.toggle("mini", side < 200);
    if (side >= 200) host.style.fontSize = `${side / 300}rem`;
  }

  const shown = (symbol) => {
    const text = payload.symbols[symbol];
    return text === undefined ? "▒" : text.replace(/\n/g, "↵").replace(/\t/g, "→");
  };

  function draw(host, cell) {
    const { values } = cell;
    while (host.childElementCount < values.length) host.append(make("span"));
    for (let i = 0; i < values.length; i++) {
      const span = host.children[i], isMask = values[i] === payload.mask;
      span.textContent = isMask ? "▒" : shown(values[i]);
      span.className = isMask ? "mask" : cell.before && cell.before[i] !== values[i] ? "new"
        : cell.original && cell.original[i] !== values[i] ? "changed" : "";
      span.style.opacity = cell.confidence ? 0.25 + 0.75 * cell.confidence[i] / 255 : "";
    }
  }

  /** What is read aloud of a text; masks are counted. */
  function words({ values }) {
    const text = Array.from(values, (v) => (v === payload.mask ? "▒" : shown(v))).join("");
    return text.replace(/▒+/g, (run) => ` (${run.length} masked) `).trim();
  }

  return { element, size, draw, words, sides: { big: 330, term: 0, thumb: 0, card: 120, strip: 0, phone: 120 }, fits: false, wide: true };
}

const VIEWS = { pictures: pictureView, plane: planeView, text: textView };

/* ---- The page ------------------------------------------------------------------------------------------------------ */

function start(payload) {
  const view = VIEWS[payload.view](payload);
  const names = payload.categorical
    ? { alpha: ["α", "share kept"], sigma: ["1 − α", "share lost"], ratio: ["(1 − α) / α", "lost to kept"], log_snr: ["log SNR", "log(α / (1 − α))"] }
    : { alpha: ["α", "signal"], sigma: ["σ", "noise"], ratio: ["σ / α", "noise to signal"], log_snr: ["log SNR", "log(α² / σ²)"] };
  const state = {
    place: Math.round(0.4 * (payload.percents.length - 1)), example: 0, schedule: payload.schedules.length - 1,
    step: 0, start: 0, path: 0, speed: 1, zoom: 1, active: "forward", playing: null,
  };
  const painted = []; // what is drawn again when the theme, the size or the zoom changes
  const kindOf = (schedule) => (schedule.own ? "is-own" : `is-${schedule.name}`);
  const path = () => payload.paths[state.path];
  const lastStep = () => path().t.length - 1;

  /* What a view draws. */
  const isPlane = payload.view === "plane";
  function noised(k, place) {
    const schedule = payload.schedules[k];
    return {
      values: at(schedule.frames, place, state.example), reference: payload.data.values, original: at(payload.data, state.example),
      half: schedule.half && schedule.half[place], sigma: schedule.sigma[place], field: isPlane ? at(schedule.field, place) : null,
    };
  }
  const ends = payload.paths.map((which) => payload.starts.map((_, i) => at(which.states, which.t.length - 1, i)));
  const endOf = (which, start) => ends[payload.paths.indexOf(which)][start];
  function ofPath(which, step, what) {
    const half = what === "guesses" ? payload.half_of_data : which.half && which.half[step]; // guesses are data, whatever the noise
    const cell = { values: at(which[what], step, state.start), reference: endOf(which, state.start), half, sigma: which.sigma[step] };
    if (isPlane && what === "states" && which === path()) {
      cell.field = at(which.field, step);
      cell.trail = Array.from({ length: Math.min(step, 6) + 1 }, (_, k) => at(which.states, step - Math.min(step, 6) + k, state.start));
    }
    if (payload.view === "text" && what === "states" && step > 0) cell.before = at(which.states, step - 1, state.start);
    if (which.confidence && what === "guesses") cell.confidence = at(which.confidence, step, state.start);
    return cell;
  }
  payload.schedules.forEach((schedule) => { schedule.t = payload.percents.map((percent) => percent / 100); });

  /** An element of the view in a frame, drawn by `cell()` now and again; a spoken one is named by its text while nothing plays. */
  function panel(host, side, label, cell, isSpoken = false) {
    const element = view.element(label);
    host.append(element);
    const paint = () => {
      const drawn = cell();
      view.draw(element, drawn);
      if (isSpoken && view.words && !state.playing) element.setAttribute("aria-label", `${label}: ${view.words(drawn)}`);
    };
    const one = { element, cell, resize: () => view.size(element, side()), paint };
    one.resize();
    painted.push(one);
    return one;
  }
  const across = () => document.documentElement.clientWidth;
  const isPhone = () => across() < 736;
  const cardSide = () => (isPhone() ? view.sides.phone : view.sides.card);
  const thirdSide = () => (isPhone() && view.fits ? Math.min(view.sides.card, (across() - 90) / 3 - 28) : view.sides.card); // three side by side
  const bigSide = () => Math.min(view.sides.big, across() - 90);

  /* ---- 1: add noise ---- */
  $("eyebrow").textContent = `${payload.title} · ${payload.words}`;
  $("title").textContent = "Into noise, and back";
  $("lead").textContent = payload.categorical
    ? "Data lose their symbols one by one until none is left; a network learns to guess them back. Every frame here was computed by this run and is kept in this file."
    : "Data drown in noise until nothing is left of them; a network learns the way back. Every frame here was computed by this run and is kept in this file.";
  $("forward-hint").textContent = payload.categorical
    ? "Each position is lost at some time. With the same random numbers, what is lost stays lost as the slider moves on."
    : "What is seen is the data, made weaker by α, plus the same noise, made stronger by σ.";
  $("main").classList.toggle("plane", isPlane);
  if (isPlane) $("forward-hint").textContent += " The arrows are the score, by which the way back goes: towards where data are likelier.";

  const noisedPanel = panel($("noised-frame"), () => bigSide() * state.zoom, "The data with noise", () => noised(state.schedule, state.place), true);
  const extra = [];
  if (payload.noise && payload.view === "pictures") {
    const box = (caption, cell, label) => {
      const frame = make("div", { class: "frame" });
      extra.push(panel(frame, () => Math.min(view.sides.term, across() / 5.4), label, cell));
      return make("figure", {}, frame, make("figcaption", { text: caption }));
    };
    $("terms").append(
      make("span", { class: "operator", id: "alpha-term" }), box("the data", () => ({ values: at(payload.data, state.example) }), "The data"),
      make("span", { class: "operator", id: "sigma-term" }), box("the noise", () => ({ values: at(payload.noise, state.example), plain: true }), "The noise"),
    );
  }
  const values = ["t", "alpha", "sigma", "ratio", "log_snr"];
  for (const name of values) {
    const [symbol, words] = name === "t" ? ["t", "time"] : names[name];
    $("values").append(make("dt", {}, symbol, " ", make("span", { text: words })), make("dd", { id: `value-${name}` }));
  }

  function radios(host, name, labels, chosen, fill, choose) {
    return labels.map((label, i) => {
      const input = make("input", { type: "radio", name, value: i, "aria-label": label, checked: i === chosen });
      const body = make("span", { class: name === "schedule" || name === "sampler" ? "option" : "thumb" });
      host.append(make("label", { title: label }, input, body));
      fill(body, i);
      input.addEventListener("change", () => { choose(i); });
      return input;
    });
  }

  const pickers = radios($("thumbs"), "example", payload.labels, 0, (body, i) => {
    if (view.sides.thumb) extra.push(panel(body, () => view.sides.thumb, payload.labels[i], () => ({ values: at(payload.data, i), reference: payload.data.values, half: payload.half_of_data })));
    body.append(make("span", { text: payload.labels[i] }));
  }, (i) => { state.example = i; state.active = "forward"; paintForward(); paintExtra(); announce(); });
  $("picker").hidden = payload.count < 2;
  $("picker-legend").textContent = `Pick one of the ${payload.words}`;

  $("schedules").classList.toggle("triple", view.fits);
  const scheduleNotes = [];
  const scheduleRadios = radios($("schedules"), "schedule", payload.schedules.map((s) => s.name), state.schedule, (body, i) => {
    const schedule = payload.schedules[i], frame = make("span", { class: "frame" });
    const note = make("span", { class: "small" });
    const name = make("span", { class: "name" }, make("span", { class: `swatch ${kindOf(schedule)}` }), schedule.name);
    body.append(...(view.wide ? [name, frame, note] : [frame, make("span", { class: "words" }, name, note)]));
    body.classList.toggle("row", !view.wide);
    scheduleNotes.push({ note, panel: panel(frame, thirdSide, schedule.name, () => noised(i, state.place)) });
  }, (i) => { state.schedule = i; state.active = "forward"; paintForward(); announce(); });

  const charts = ["alpha", "sigma", "log_snr"].map((key) => chart(key, names[key]));
  function chart(key, [symbol, words]) {
    const wide = 300, high = 170, left = 34, right = 16, top = 10, below = 24;
    const root = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `${symbol}, ${words}, of each schedule over time` });
    const finite = payload.schedules.flatMap((s) => s[key].filter((v) => v !== null));
    let [low, top_] = key === "log_snr" ? [Math.max(-14, Math.min(...finite)), Math.min(14, Math.max(...finite))] : [0, Math.max(1, ...finite)];
    if (!(top_ > low)) top_ = low + 1;
    const x = (t) => left + t * (wide - left - right);
    const y = (v) => top + (1 - (Math.min(Math.max(v, low), top_) - low) / (top_ - low)) * (high - top - below);
    for (const v of [low, (low + top_) / 2, top_]) {
      root.append(svg("line", { class: "axis", x1: left, x2: wide - right, y1: y(v), y2: y(v) }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, number(v, 2)));
    }
    for (const t of [0, 0.5, 1]) root.append(svg("text", { x: x(t), y: high - 6, "text-anchor": "middle" }, `${100 * t} %`));
    const now = svg("line", { class: "now", y1: top, y2: high - below });
    root.append(now);
    const lines = payload.schedules.map((schedule) => {
      const points = schedule.t.map((t, i) => [t, schedule[key][i]]).filter(([, v]) => v !== null).map(([t, v]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`);
      const line = svg("polyline", { class: kindOf(schedule), points: points.join(" ") });
      root.append(line);
      return line;
    });
    const dots = payload.schedules.map((schedule) => {
      const dot = svg("circle", { class: kindOf(schedule), r: 5 });
      root.append(dot);
      return dot;
    });
    const toPlace = (event) => {
      const box = root.getBoundingClientRect(), t = ((event.clientX - box.left) / box.width * wide - left) / (wide - left - right);
      setPlace(Math.round(Math.min(1, Math.max(0, t)) * (payload.percents.length - 1)));
    };
    root.addEventListener("pointerdown", (event) => { state.active = "forward"; root.setPointerCapture(event.pointerId); toPlace(event); });
    root.addEventListener("pointermove", (event) => { if (root.hasPointerCapture(event.pointerId)) toPlace(event); });
    $("charts").append(make("div", { class: "chart", "data-curve": key }, make("h3", {}, make("var", { text: symbol }), ` ${words}`), root));
    return () => {
      const t = payload.percents[state.place] / 100;
      now.setAttribute("x1", x(t)); now.setAttribute("x2", x(t));
      payload.schedules.forEach((schedule, i) => {
        const v = schedule[key][state.place];
        const edge = key === "log_snr" ? (t < 0.5 ? top_ : low) : 0;
        dots[i].setAttribute("cx", x(t)); dots[i].setAttribute("cy", y(v === null ? edge : v));
        dots[i].setAttribute("data-value", v === null ? "infinite" : v);
        lines[i].classList.toggle("chosen", i === state.schedule);
        dots[i].setAttribute("r", i === state.schedule ? 6 : 4);
      });
    };
  }

  const ratioOf = (alpha, sigma) => (alpha === 0 ? null : sigma / alpha);
  function paintForward() {
    const schedule = payload.schedules[state.schedule], percent = payload.percents[state.place];
    const alpha = schedule.alpha[state.place], sigma = schedule.sigma[state.place];
    const said = { t: percent / 100, alpha, sigma, ratio: ratioOf(alpha, sigma), log_snr: schedule.log_snr[state.place] };
    noisedPanel.paint();
    scheduleNotes.forEach(({ panel: one, note }, i) => {
      one.paint();
      const of = payload.schedules[i];
      const same = !of.own && payload.schedules.some((other) => other.own && ["alpha", "sigma"].every((name) => other[name].every((v, k) => v === of[name][k])));
      note.textContent = (same ? "the same as this run's: " : "") + (payload.categorical ? `kept ${number(100 * of.alpha[state.place], 2)} %` : `α ${number(of.alpha[state.place])}, σ ${number(of.sigma[state.place])}`);
    });
    charts.forEach((update) => update());
    $("percent").textContent = `${number(percent, 4)} %`;
    for (const name of values) {
      const sign = name === "log_snr" && said[name] === null && percent > 50 ? "−" : "";
      $(`value-${name}`).textContent = sign + number(said[name]);
      $(`value-${name}`).dataset.value = said[name];
    }
    $("slider").value = state.place;
    $("slider").setAttribute("aria-valuetext", `${number(percent, 4)} percent, t ${number(said.t)}, ${names.alpha[0]} ${number(alpha)}, ${names.sigma[0]} ${number(sigma)}`);
    if ($("alpha-term")) {
      $("alpha-term").replaceChildren("= ", make("b", { text: number(alpha, 2) }), " ×");
      $("sigma-term").replaceChildren("+ ", make("b", { text: number(sigma, 2) }), " ×");
    }
    $("formula").innerHTML = payload.categorical
      ? `<var>x</var><sub><var>t</var></sub> keeps ${number(100 * alpha, 3)} % of <var>x</var><sub>0</sub>`
      : `<var>x</var><sub><var>t</var></sub> = ${number(alpha)} <var>x</var><sub>0</sub> + ${number(sigma)} <var>ε</var>`;
    $("noised-caption").innerHTML = payload.categorical
      ? "the data, of which some is lost" : "<var>x</var><sub><var>t</var></sub>, what the network sees";
    $("play-on").setAttribute("aria-pressed", state.playing === "on");
    $("play-back").setAttribute("aria-pressed", state.playing === "back");
  }
  function paintExtra() { extra.forEach((one) => one.paint()); }
  function setPlace(place) {
    state.place = Math.min(payload.percents.length - 1, Math.max(0, place));
    paintForward();
    announce();
  }

  /* ---- 2: take it away ---- */
  const pairSide = () => (view.fits ? Math.max(100, Math.min(view.sides.big + 130, $("state-frame").clientWidth - 14)) : view.sides.big) * state.zoom;
  const statePanel = panel($("state-frame"), pairSide, "The state of the sampler", () => ofPath(path(), state.step, "states"), true);
  const guessPanel = panel($("guess-frame"), pairSide, "The network's guess of the data", () => ofPath(path(), state.step, "guesses"), true);
  const starting = [];
  const startRadios = radios($("starts"), "start", payload.starts, 0, (body, i) => {
    if (view.sides.thumb) starting.push(panel(body, () => view.sides.thumb, payload.starts[i], () => {
      const which = path(), end = which.t.length - 1;
      return { values: endOf(which, i), reference: endOf(which, i), half: which.half && which.half[end] };
    }));
    body.append(make("span", { text: payload.starts[i].replace(/^start /, "") }));
  }, (i) => { state.start = i; state.active = "reverse"; paintReverse(true); announce(); });
  $("starts-picker").hidden = payload.starts.length < 2;

  const cards = [];
  const samplerRadios = radios($("samplers"), "sampler", payload.paths.map((p) => p.name), 0, (body, i) => {
    const which = payload.paths[i], one = make("span", { class: "frame" }), two = make("span", { class: "frame" });
    const spent = make("span", { class: "small" }), bar = make("progress", { max: which.evaluations, "aria-hidden": "true" });
    body.append(make("span", { class: "name", text: which.name }), make("span", { class: "pictures" }, one, ...(view.fits ? [two] : [])), bar, spent, make("span", { class: "small", text: which.about }));
    const here = () => Math.round(share() * (which.t.length - 1));
    const panels = [panel(one, cardSide, `${which.name}, state`, () => ofPath(which, here(), "states"))];
    if (view.fits) panels.push(panel(two, cardSide, `${which.name}, guess`, () => ofPath(which, here(), "guesses")));
    cards.push({ panels, which, here, spent, bar });
  }, (i) => { choosePath(i); });
  const share = () => (lastStep() ? state.step / lastStep() : 1);
  function choosePath(i) {
    const before = share();
    state.path = i;
    state.active = "reverse";
    state.step = Math.round(before * lastStep());
    buildStrip();
    paintReverse(true);
    announce();
  }

  let strip = [];
  function buildStrip() {
    for (const one of strip) for (const each of one.panels) painted.splice(painted.indexOf(each), 1);
    strip = [];
    $("strip").replaceChildren();
    $("strip").hidden = !view.sides.strip;
    if (!view.sides.strip) return;
    const count = Math.min(across() < 700 ? 5 : 9, lastStep() + 1);
    for (let k = 0; k < count; k++) {
      const step = Math.round(k / (count - 1 || 1) * lastStep());
      const shown = `t ${number(path().t[step], 2)}`;
      const button = make("button", { type: "button", "aria-label": `${shown}, step ${path().step[step]}` });
      const side = () => Math.min(view.sides.strip, (Math.min(across(), 1150) - 100) / count - 14);
      const panels = [panel(button, side, "state", () => ofPath(path(), step, "states")), panel(button, side, "guess", () => ofPath(path(), step, "guesses"))];
      panels.forEach((one) => one.element.setAttribute("aria-hidden", "true"));
      button.append(make("span", { text: shown }));
      button.addEventListener("click", () => { state.active = "reverse"; pause(); setStep(step); });
      $("strip").append(button);
      strip.push({ step, button, panels });
    }
  }

  function paintReverse(whole = false) {
    const which = path(), step = state.step;
    statePanel.paint();
    guessPanel.paint();
    for (const card of cards) {
      card.panels.forEach((one) => one.paint());
      const here = card.here();
      card.bar.value = card.which.spent[here];
      card.spent.replaceChildren(make("b", { text: card.which.spent[here] }), ` of ${card.which.evaluations} evaluations, t ${number(card.which.t[here], 2)}`);
    }
    if (whole) {
      strip.forEach((one) => one.panels.forEach((each) => each.paint()));
      starting.forEach((one) => one.paint());
    }
    const nearest = strip.reduce((best, one) => (Math.abs(one.step - step) < Math.abs(best.step - step) ? one : best), strip[0]);
    strip.forEach((one) => (one === nearest ? one.button.setAttribute("aria-current", "step") : one.button.removeAttribute("aria-current")));
    $("steps").max = lastStep();
    $("steps").value = step;
    const line = `Step ${which.step[step]} of ${which.step[lastStep()]} · t = ${number(which.t[step])} · ${which.spent[step]} of ${which.evaluations} evaluations`;
    $("step-line").textContent = line;
    $("steps").setAttribute("aria-valuetext", line);
    $("state-caption").textContent = payload.categorical ? `kept share ${number(100 * which.alpha[step], 3)} %` : `α ${number(which.alpha[step])}, σ ${number(which.sigma[step])}`;
    $("guess-caption").textContent = which.t[step] === 0 ? "is the state itself: this is data" : payload.categorical ? "the likeliest, fainter where it is unsure" : "E[x₀ | xₜ], the data if it had to say them now";
    if (payload.categorical && payload.view !== "text" && which.t[step] !== 0) $("guess-caption").textContent = "the likeliest of each pixel";
    $("play").toggleAttribute("data-playing", state.playing === "steps");
    $("play").setAttribute("aria-label", state.playing === "steps" ? "Pause" : "Play");
  }
  function setStep(step) {
    state.step = Math.min(lastStep(), Math.max(0, step));
    paintReverse();
    announce();
  }

  /* ---- Playing ---- */
  let timer = 0;
  function pause() {
    clearTimeout(timer);
    state.playing = null;
    paintForward();
    paintReverse();
  }
  function play(what) {
    clearTimeout(timer);
    state.playing = what;
    const top = payload.percents.length - 1, back = $("backwards").checked;
    if (what === "on" && state.place === top) state.place = 0;
    if (what === "back" && state.place === 0) state.place = top;
    if (what === "steps" && state.step === (back ? 0 : lastStep())) state.step = back ? lastStep() : 0;
    paintForward();
    paintReverse();
    tick();
  }
  function tick() {
    const frames = state.playing === "steps" ? lastStep() : payload.percents.length - 1;
    timer = setTimeout(() => {
      const move = state.playing === "on" ? 1 : state.playing === "back" || $("backwards").checked ? -1 : 1;
      if (state.playing === "steps") state.step = Math.min(lastStep(), Math.max(0, state.step + move)), paintReverse();
      else state.place = Math.min(frames, Math.max(0, state.place + move)), paintForward();
      const reached = state.playing === "steps" ? state.step : state.place;
      if (reached === (move > 0 ? frames : 0)) { pause(); announce(); } else tick();
    }, Math.min(500, Math.max(40, WHOLE_WAY / Math.max(1, frames))) / state.speed);
  }
  const toggle = (what) => { if (state.playing === what) pause(), announce(); else play(what); };

  function announce() {
    if (state.playing) return;
    $("status").textContent = state.active === "forward" ? `${$("percent").textContent} noise` : $("step-line").textContent;
  }

  /* ---- Controls ---- */
  const bind = (id, act, active = "reverse") => $(id).addEventListener("click", () => { state.active = active; act(); });
  $("slider").max = payload.percents.length - 1;
  $("slider").addEventListener("input", () => { state.active = "forward"; if (state.playing) pause(); setPlace(Number($("slider").value)); });
  $("steps").addEventListener("input", () => { state.active = "reverse"; if (state.playing) pause(); setStep(Number($("steps").value)); });
  bind("play-on", () => toggle("on"), "forward");
  bind("play-back", () => toggle("back"), "forward");
  bind("play", () => toggle("steps"));
  bind("first", () => { pause(); setStep(0); });
  bind("last", () => { pause(); setStep(lastStep()); });
  bind("back", () => { pause(); setStep(state.step - 1); });
  bind("next", () => { pause(); setStep(state.step + 1); });
  for (const select of document.querySelectorAll(".speed")) select.addEventListener("change", () => setSpeed(Number(select.value)));
  bind("zoom-in", () => zoom(1));
  bind("zoom-out", () => zoom(-1));
  function zoom(by) {
    state.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(state.zoom) + by))];
    $("zoom").textContent = `${state.zoom}×`;
    document.documentElement.classList.toggle("zoomed", state.zoom > 1);
    for (const one of [noisedPanel, statePanel, guessPanel]) one.resize(), one.paint();
  }
  function faster(by) {
    setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.indexOf(state.speed) + by))]);
  }
  function setSpeed(speed) {
    state.speed = speed;
    for (const select of document.querySelectorAll(".speed")) select.value = String(speed);
  }

  // A finger or a mouse that moves across a picture moves the player, one place for each few pixels.
  function scrub(host, active, frames, get, set) {
    let from = null;
    host.addEventListener("pointerdown", (event) => { from = [event.clientX, get()]; state.active = active; host.setPointerCapture(event.pointerId); });
    host.addEventListener("pointermove", (event) => {
      if (!from || state.zoom > 1) return;
      if (state.playing) pause();
      set(Math.round(from[1] + ((event.clientX - from[0]) / Math.max(160, host.clientWidth)) * frames()));
    });
    for (const end of ["pointerup", "pointercancel"]) host.addEventListener(end, () => { from = null; });
  }
  scrub($("noised-frame"), "forward", () => payload.percents.length - 1, () => state.place, setPlace);
  scrub($("state-frame"), "reverse", lastStep, () => state.step, setStep);
  scrub($("guess-frame"), "reverse", lastStep, () => state.step, setStep);

  const next = (list, chosen) => { const one = list[(chosen + 1) % list.length]; one.checked = true; one.dispatchEvent(new Event("change")); };
  const KEYS = {
    " ": () => toggle(state.active === "forward" ? "on" : "steps"),
    ArrowRight: () => { pause(); state.active === "forward" ? setPlace(state.place + 1) : setStep(state.step + 1); },
    ArrowLeft: () => { pause(); state.active === "forward" ? setPlace(state.place - 1) : setStep(state.step - 1); },
    Home: () => { pause(); state.active === "forward" ? setPlace(0) : setStep(0); },
    End: () => { pause(); state.active === "forward" ? setPlace(payload.percents.length - 1) : setStep(lastStep()); },
    b: () => { if (state.active === "forward") toggle("back"); else { $("backwards").checked = !$("backwards").checked; if (state.playing !== "steps") play("steps"); } },
    "[": () => faster(-1), "]": () => faster(1), ",": () => faster(-1), ".": () => faster(1),
    "-": () => zoom(-1), "−": () => zoom(-1), "+": () => zoom(1), "=": () => zoom(1),
    s: () => (state.active === "forward" ? next(scheduleRadios, state.schedule) : next(samplerRadios, state.path)),
    d: () => nextTheme(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target, own = on.closest("button, summary, input[type=radio], input[type=checkbox]");
    if (on.closest("select")) return; // all keys are its own: letters and digits choose among its options
    const isRange = on.matches && on.matches("input[type=range]");
    const moves = ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key);
    if (own && (event.key === " " || (moves && !on.matches("button, summary")))) return; // the control's own key
    if (isRange && moves) return;
    const list = state.active === "forward" ? pickers : startRadios;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const digit = /^[1-9]$/.test(event.key) && list[Number(event.key) - 1];
    if (digit) { digit.checked = true; digit.dispatchEvent(new Event("change")); } else if (act) act(); else return;
    event.preventDefault();
  });
  for (const name of ["forward", "reverse"]) {
    for (const kind of ["pointerdown", "focusin"]) $(name).addEventListener(kind, () => { state.active = name; });
  }

  /* ---- Colours, sizes ---- */
  const THEMES = ["auto", "dark", "light"];
  let theme = "auto";
  function setTheme(name) {
    theme = name;
    document.documentElement.dataset.theme = name === "auto" ? themeOfSystem() : name; // which the page's head has begun
    $("theme-name").textContent = { auto: "Auto", dark: "Dark", light: "Light" }[name];
    $("theme").setAttribute("aria-label", { auto: "Auto: colours as the system has them", dark: "Dark colours", light: "Light colours" }[name]);
    repaint();
  }
  const nextTheme = () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
  $("theme").addEventListener("click", nextTheme);
  system.addEventListener("change", () => setTheme(theme));

  function repaint() {
    painted.forEach((one) => one.resize());
    paintForward();
    paintReverse(true);
    paintExtra();
  }
  let width = across();
  addEventListener("resize", () => { if (across() !== width) { width = across(); buildStrip(); repaint(); } });

  for (const [name, value] of payload.facts) $("facts").append(make("dt", { text: name }), make("dd", { text: value }));
  $("rule").textContent = payload.rule;
  $("main").hidden = false;
  buildStrip();
  state.step = Math.round(0.5 * lastStep());
  repaint();
  document.documentElement.dataset.ready = "true";
}

async function main() {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot unpack what the page holds; a newer one can");
  start(await unpackedAll(JSON.parse($("payload").textContent)));
}
main().catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = `The page cannot be shown: ${error.message}.`;
  throw error;
});

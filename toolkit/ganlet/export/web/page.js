"use strict";

// The page: one large picture, on the way from one seed to another, and a grid of pictures of the first seed.

const GRID = 16;
const SEEDS = 1n << 64n;
const NUMBERS = 1n << 63n;

const by = (id) => document.getElementById(id);
const state = { seed: 0n, number: 0n, other: 1n, first: 0n };

let painting = false; // the large picture; while one is drawn, only the last wish is kept
let paintAgain = false;
let sheet = 0; // counts grids: one that is no longer wanted stops

/** A whole number from 0 to below `end`, as typed into a field; null, with a sentence on the page, for anything else. */
function typed(field, end) {
  const text = field.value.trim();
  const value = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : -1n;
  const good = value >= 0n && value < end;
  field.setAttribute("aria-invalid", String(!good));
  const name = field.labels[0].textContent;
  show(good ? "" : `${name} is "${text}"; expected a whole number from 0 to ${end - 1n}.`);
  return good ? value : null;
}

/** Show a fault's sentence, or none. */
function show(sentence) {
  by("fault").textContent = sentence;
  by("fault").hidden = !sentence;
}

function attempt(work) {
  work().catch((error) => show(error instanceof Fault ? error.message : `The picture was not drawn (${error.message}).`));
}

/** The chosen label, or that of the picture itself where none is chosen. */
function labelOf(number) {
  if (!facts.classes) return undefined;
  return by("class").value === "any" ? label(state.seed, number, facts.classes) : Number(by("class").value);
}

function words(t) {
  const { seed, number, other } = state;
  if (t === 0) return `Seed ${seed}, picture ${number}`;
  if (t === 1) return `Seed ${other}, picture ${number}`;
  return `Seed ${seed} to ${other} at ${Math.round(100 * t)} %, picture ${number}`;
}

async function paint() {
  if (painting) {
    paintAgain = true;
    return;
  }
  painting = true;
  try {
    do {
      paintAgain = false;
      const t = by("walk").valueAsNumber / 100;
      const caption = words(t);
      const from = latent(state.seed, state.number, facts.latent);
      const to = t > 0 ? latent(state.other, state.number, facts.latent) : from;
      const { pixels, ms } = await draw(between(from, to, t, by("linear").checked), labelOf(state.number));
      by("picture").getContext("2d").putImageData(pixels, 0, 0);
      by("picture").setAttribute("aria-label", caption);
      by("caption").textContent = caption;
      by("time").textContent = `drawn in ${ms.toFixed(1)} ms`;
      await new Promise((resolve) => setTimeout(resolve)); // lets the browser show it
    } while (paintAgain);
  } finally {
    painting = false;
  }
}

async function fillGrid() {
  const mine = ++sheet;
  by("sheet").setAttribute("aria-busy", "true");
  const last = state.first + BigInt(GRID - 1);
  by("sheet-caption").textContent = `Pictures ${state.first} to ${last} of seed ${state.seed}`;
  by("earlier").disabled = state.first === 0n;
  by("later").disabled = last + BigInt(GRID) >= NUMBERS;
  let total = 0;
  for (const [i, button] of [...by("sheet").children].entries()) {
    const number = state.first + BigInt(i);
    const { pixels, ms } = await draw(latent(state.seed, number, facts.latent), labelOf(number));
    if (mine !== sheet) return;
    button.firstChild.getContext("2d").putImageData(pixels, 0, 0);
    button.setAttribute("aria-label", `Show picture ${number}`);
    total += ms;
    by("sheet-time").textContent = `drawn in ${(total / (i + 1)).toFixed(1)} ms each`;
    await new Promise((resolve) => setTimeout(resolve));
  }
  if (mine === sheet) by("sheet").setAttribute("aria-busy", "false");
}

/** Make another picture the large one, back at the start of the walk. */
function choose(number) {
  state.number = number;
  by("number").value = String(number);
  by("walk").value = "0";
  mark();
  attempt(paint);
}

function mark() {
  [...by("sheet").children].forEach((button, i) => {
    button.setAttribute("aria-pressed", String(state.first + BigInt(i) === state.number));
  });
}

function turn(first) {
  state.first = first;
  mark();
  attempt(fillGrid);
}

function chooseSeed(seed) {
  state.seed = seed;
  by("seed").value = String(seed);
  by("walk").value = "0";
  attempt(paint);
  attempt(fillGrid);
}

function anySeed() {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000);
}

function download() {
  const name = by("caption").textContent.replace(/[^0-9a-z]+/gi, "-").toLowerCase();
  by("picture").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${facts.name}-${name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

function build() {
  for (let i = 0; i < GRID; i++) {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [facts.width, facts.height];
    button.type = "button";
    button.append(canvas);
    button.addEventListener("click", () => choose(state.first + BigInt(i)));
    by("sheet").append(button);
  }
  [by("picture").width, by("picture").height] = [facts.width, facts.height];
  for (let i = 0; i < (facts.classes ?? 0); i++) by("class").append(new Option(facts.class_names[i] ?? String(i), String(i)));
  by("class-row").hidden = !facts.classes;
}

function listen() {
  const on = (id, event, act) => by(id).addEventListener(event, act);
  on("seed", "change", () => {
    const value = typed(by("seed"), SEEDS);
    if (value !== null) chooseSeed(value);
  });
  on("number", "change", () => {
    const value = typed(by("number"), NUMBERS);
    if (value !== null) choose(value);
  });
  on("other", "change", () => {
    const value = typed(by("other"), SEEDS);
    if (value === null) return;
    state.other = value;
    attempt(paint);
  });
  on("class", "change", () => {
    attempt(paint);
    attempt(fillGrid);
  });
  for (const id of ["walk", "spherical", "linear"]) on(id, "input", () => attempt(paint));
  on("any", "click", () => chooseSeed(anySeed()));
  on("next", "click", () => choose((state.number + 1n) % NUMBERS));
  on("save", "click", download);
  on("earlier", "click", () => turn(state.first > BigInt(GRID) ? state.first - BigInt(GRID) : 0n));
  on("later", "click", () => turn(state.first + BigInt(GRID)));
}

async function begin() {
  build();
  await loadGenerator().finally(() => (by("caption").textContent = ""));
  listen();
  by("controls").disabled = false;
  by("sheet-controls").disabled = false;
  if (!globalThis.crypto.subtle && location.protocol === "file:") {
    by("checked").textContent = "Its SHA-256 was not checked: this browser cannot compute one here.";
  }
  choose(0n);
  await fillGrid();
}

attempt(begin);

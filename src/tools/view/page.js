// Shows one case of cases.json at a time. Structures are switched by changing the alpha values of the label map's color
// table, and stay switched in the next case.

import { Niivue, NVImage } from "./niivue.js";

const $ = (id) => document.getElementById(id);
const AXES = ["R", "A", "S"];
/** Values up to this one are taken for air. Images with such values are taken for CT: other modalities have none below 0. */
const AIR_HU = -300;
const OPPOSITE = { R: "L", A: "P", S: "I" };

const list = await (await fetch("cases.json")).json();
const viewer = new Niivue({
  isRadiologicalConvention: true,
  sagittalNoseLeft: true,
  multiplanarShowRender: 1,
  multiplanarLayout: 2,
  heroImageFraction: 0.4,
  multiplanarPadPixels: 6,
  crosshairColor: [1, 0.85, 0.2, 0.8],
  crosshairWidth: 0.5,
  crosshairWidthUnit: "percent",
  showAllOrientationMarkers: true,
  fontColor: [0.8, 0.8, 0.8, 1],
  fontMinPx: 14,
  dragAndDropEnabled: false,
  show3Dcrosshair: true,
  loadingText: "",
  logLevel: "error",
});
/** Names of the structures that are switched off. */
const hidden = new Set();
/** The case shown: its volumes, and the structures in its label map. */
let shown = { image: null, labels: null, structures: new Map() };
let loading = new AbortController();

// Reading

/** Shows a text over the image; without one, hides it. */
function say(text, isError = false) {
  $("message").textContent = text ?? "";
  $("message").hidden = !text;
  $("message").classList.toggle("error", isError);
}

/** Reads a file, unpacked if it is gzipped. `progress` is called with the number of bytes of each part. */
async function read(url, gzipped, signal, progress) {
  const response = await fetch(url, { signal });
  if (!response.ok) {
    throw new Error((await response.text()) || `the server answered ${response.status}`);
  }
  const count = new TransformStream({
    transform(part, controller) {
      progress(part.byteLength);
      controller.enqueue(part);
    },
  });
  const counted = response.body.pipeThrough(count);
  const unpacked = gzipped ? counted.pipeThrough(new DecompressionStream("gzip")) : counted;
  return new Response(unpacked).arrayBuffer();
}

/** Reads an image as it is stored, or, if the browser cannot, as the server converts it. */
async function volume(file, signal, progress) {
  let data;
  if (file.stored) {
    try {
      data = await read(`stored/${file.id}`, /\.gz$/i.test(file.name), signal, progress);
    } catch (error) {
      signal.throwIfAborted();
      console.warn(`${file.name}: ${error}; the server converts it`);
    }
  }
  data ??= await read(`converted/${file.id}`, false, signal, progress);
  return NVImage.loadFromUrl({ url: data, name: "image.nii" });
}

async function show(index) {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const entry = list.cases[index];
  document.body.dataset.state = "loading";
  markCase(index);
  try {
    let bytes = 0;
    const progress = (more) => say(`reading ${entry.name}: ${((bytes += more) / 1e6).toFixed(0)} MB`);
    progress(0);
    // A second label map of the same image keeps the image and the position.
    const image = shown.image?.fileId === entry.image?.id ? shown.image : null;
    const position = image && viewer.frac2mm(viewer.scene.crosshairPos).slice(0, 3);
    const wanted = [image ?? entry.image, entry.labels].map((file) =>
      file instanceof NVImage ? file : file && volume(file, signal, progress),
    );
    const [scan, labels] = await Promise.all(wanted);
    signal.throwIfAborted();
    if (scan) {
      scan.fileId = entry.image.id;
    }
    const structures = labels ? structuresIn(labels, list.structures[entry.structures]) : new Map();
    shown = { image: scan, labels, structures };
    if (labels) {
      // NIFTI_INTENT_LABEL: values are looked up in the color table, not interpolated.
      labels.hdr.intent_code = 1002;
      labels.setColormapLabel(colors());
      labels.opacity = opacity();
    }
    setWindow();
    // One update for both volumes.
    viewer.volumes = [scan, labels].filter(Boolean);
    viewer.scene.crosshairPos = [0.5, 0.5, 0.5];
    viewer.setVolume(viewer.volumes[0], 0);
    if (position) {
      moveTo(position);
    }
    listStructures(list.structures[entry.structures]);
    document.body.classList.toggle("has-image", !!scan);
    document.querySelectorAll(".ct-only").forEach((part) => (part.hidden = !isCt(scan)));
    document.querySelectorAll(".both-only").forEach((part) => (part.hidden = !(scan && labels)));
    $("structure-section").hidden = !labels;
    say(null);
    status(viewer.frac2mm(viewer.scene.crosshairPos));
    document.title = `${entry.name} · segbundle view`;
    document.body.dataset.state = "ready";
  } catch (error) {
    if (!signal.aborted) {
      say(`${entry.name}: ${error.message ?? error}`, true);
      document.body.dataset.state = "error";
    }
  }
}

// Structures

/** The structures of a label map by label, each with its name, color, number of voxels and center (voxel indices). */
function structuresIn(labels, named) {
  const [nx, ny, nz] = labels.hdr.dims.slice(1, 4);
  const values = labels.img;
  const sums = new Map();
  let i = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      // Runs of equal labels along x.
      for (let x = 0; x < nx; ) {
        const label = values[i];
        const start = x;
        do {
          x++;
          i++;
        } while (x < nx && values[i] === label);
        if (label > 0) {
          let sum = sums.get(label);
          if (!sum) {
            sums.set(label, (sum = [0, 0, 0, 0]));
          }
          const n = x - start;
          sum[0] += n;
          sum[1] += (n * (start + x - 1)) / 2;
          sum[2] += n * y;
          sum[3] += n * z;
        }
      }
    }
  }
  const known = new Map(named.map(([id, name, color]) => [id, { name, color }]));
  const voxelMl = Math.abs(labels.hdr.pixDims.slice(1, 4).reduce((a, b) => a * b)) / 1000;
  const ids = [...sums.keys()].sort((a, b) => a - b);
  return new Map(
    ids.map((id) => {
      const [voxels, ...sum] = sums.get(id);
      const color = list.unnamed_colors[id % list.unnamed_colors.length];
      const structure = { name: `label_${id}`, color, ...known.get(id) };
      return [id, { ...structure, id, ml: voxels * voxelMl, center: sum.map((sum) => sum / voxels) }];
    }),
  );
}

/** The color table of the label map. */
function colors() {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (const { id, name, color } of shown.structures.values()) {
    const rgb = parseInt(color.slice(1), 16);
    table.R.push(rgb >> 16);
    table.G.push((rgb >> 8) & 255);
    table.B.push(rgb & 255);
    table.A.push(hidden.has(name) ? 0 : 255);
    table.I.push(id);
    table.labels.push(name);
  }
  return table;
}

/** Calls `change` before the next frame and repaints `layer`; a later call for the layer replaces one that waits. */
function repaint(layer, change) {
  cancelAnimationFrame(layer.repainting);
  layer.repainting = requestAnimationFrame(() => {
    const at = viewer.volumes.indexOf(layer);
    // The case may have changed.
    if (at >= 0) {
      change();
      viewer.refreshLayers(layer, at);
      viewer.drawScene();
    }
  });
}

/** Applies what is switched on and off, and the opacity. */
function recolor() {
  $("tip").hidden = true;
  repaint(shown.labels, () => {
    for (const row of $("structures").children) {
      const off = hidden.has(row.dataset.name);
      row.classList.toggle("off", off);
      row.querySelector("input").checked = !off;
    }
    countStructures();
    shown.labels.setColormapLabel(colors());
    shown.labels.opacity = opacity();
  });
}

/** Opacity of the labels: without an image they are opaque. */
function opacity() {
  return shown.image ? Number($("opacity").value) : 1;
}

function countStructures() {
  const all = [...shown.structures.values()];
  const on = all.filter(({ name }) => !hidden.has(name)).length;
  $("structure-count").textContent = on === all.length ? `${on}` : `${on} of ${all.length}`;
}

/** Shows a name that may be broken after its separators. */
function setName(element, name) {
  const parts = name.split(/(?<=[_.\-/])/);
  element.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
}

function listStructures(named) {
  const rows = [...shown.structures.values()].map(({ id, name, color, ml }) => {
    const row = document.createElement("li");
    row.dataset.name = name;
    row.dataset.id = id;
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(name) });
    box.setAttribute("aria-label", `show ${name}`);
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](name);
      recolor();
    });
    const key = Object.assign(document.createElement("span"), { className: "key" });
    key.style.background = color;
    const button = Object.assign(document.createElement("button"), { type: "button" });
    setName(button, name);
    button.addEventListener("click", () => goTo(id));
    const size = Object.assign(document.createElement("span"), { className: "volume" });
    size.textContent = `${ml < 10 ? ml.toFixed(1) : ml.toFixed(0)} ml`;
    row.classList.toggle("off", hidden.has(name));
    row.append(box, key, button, size);
    return row;
  });
  $("structures").replaceChildren(...rows);
  const known = new Set(named.map(([id]) => id));
  const absent = named.filter(([id]) => !shown.structures.has(id)).map(([, name]) => name);
  const unnamed = [...shown.structures.keys()].filter((id) => !known.has(id));
  const notes = [
    absent.length && `not in this label map: ${absent.length}`,
    unnamed.length && `labels without a name: ${unnamed.length}`,
  ];
  $("absent").textContent = notes.filter(Boolean).join("; ");
  $("absent").title = [...absent, ...unnamed].join(", ");
  countStructures();
  search("structure-search", "structures");
}

/** Moves the crosshair to the voxel of a structure that is closest to its center. */
function goTo(id) {
  const { labels, structures } = shown;
  const { center } = structures.get(id);
  const [nx, ny, nz] = labels.hdr.dims.slice(1, 4);
  let best = { distance: Infinity };
  for (let z = 0, i = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, i++) {
        if (labels.img[i] === id) {
          const distance = (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2;
          if (distance < best.distance) {
            best = { distance, at: [x, y, z] };
          }
        }
      }
    }
  }
  const mm = labels.hdr.affine.slice(0, 3).map((row) => row[0] * best.at[0] + row[1] * best.at[1] + row[2] * best.at[2] + row[3]);
  moveTo(mm);
  status(mm);
}

function moveTo(mm) {
  viewer.scene.crosshairPos = viewer.mm2frac(mm);
  viewer.drawScene();
}

function setAll(on) {
  // Those that the search shows.
  for (const row of [...$("structures").children].filter((row) => !row.hidden)) {
    hidden[on ? "delete" : "add"](row.dataset.name);
  }
  recolor();
}

// Display

/** Whether values are in HU. NIfTI files do not name the modality. */
function isCt(image) {
  return image?.global_min <= AIR_HU;
}

function setWindow() {
  const { image } = shown;
  if (image) {
    const chosen = isCt(image) ? $("window").value : "auto";
    // The range without outliers, if there are other values.
    const range = isCt(image) || image.robust_min >= image.robust_max ? "global" : "robust";
    const whole = [image[`${range}_min`], image[`${range}_max`]];
    const [low, high] = chosen === "auto" ? whole : chosen.split(" ").map(Number);
    // In 3-D, air is transparent.
    const air = Math.round(255 * Math.min(Math.max((AIR_HU - low) / (high - low), 0), 0.9));
    const table = air ? { A: [0, 0, 128], I: [0, air, 255] } : { A: [0, 128], I: [0, 255] };
    viewer.addColormap("window", { R: table.I, G: table.I, B: table.I, ...table });
    // Sets a range of its own.
    image.colormap = "window";
    [image.cal_min, image.cal_max] = [low, high];
  }
}

// Position

/** Value, structure and position in mm as a text; shows the structure at the cursor, too. */
function status(mm, cursor) {
  const at = (layer) => layer && layer.getValue(...layer.mm2vox([...mm].slice(0, 3)));
  const value = at(shown.image);
  const structure = shown.structures.get(at(shown.labels));
  const place = [...mm].slice(0, 3).map((value, axis) => {
    const side = AXES[axis];
    return `${value < 0 ? OPPOSITE[side] : side} ${Math.abs(value).toFixed(1)}`;
  });
  const parts = [`${place.join("  ")} mm`];
  if (value !== undefined && value !== null) {
    const unit = isCt(shown.image) ? " HU" : "";
    parts.unshift((Number.isInteger(value) ? value : value.toFixed(1)) + unit);
  }
  if (structure) {
    parts.unshift(structure.name);
  } else if (shown.labels) {
    parts.unshift("background");
  }
  $("status").textContent = parts.join("  ·  ");
  const visible = cursor && structure && !hidden.has(structure.name);
  $("tip").hidden = !visible;
  for (const row of $("structures").children) {
    row.classList.toggle("under-cursor", !!visible && Number(row.dataset.id) === structure.id);
  }
  if (visible) {
    $("tip").textContent = structure.name;
    $("tip").style.borderColor = structure.color;
    const { innerWidth } = window;
    const left = cursor.clientX + 16;
    $("tip").style.top = `${cursor.clientY + 14}px`;
    $("tip").style.left = `${Math.min(left, innerWidth - $("tip").offsetWidth - 4)}px`;
  }
}

function hover(event) {
  const scale = viewer.uiData.dpr ?? 1;
  const at = viewer.getNoPaddingNoBorderCanvasRelativeMousePosition(event, viewer.canvas);
  const frac = viewer.volumes.length ? viewer.canvasPos2frac([at.x * scale, at.y * scale]) : [-1];
  if (frac[0] < 0) {
    leave();
  } else {
    status(viewer.frac2mm(frac), event);
  }
}

/** Outside of the slices, the position of the crosshair is shown. */
function leave() {
  if (viewer.volumes.length) {
    status(viewer.frac2mm(viewer.scene.crosshairPos));
  }
}

// Lists

function search(field, rows) {
  const words = $(field).value.toLowerCase().split(/\s+/);
  for (const row of $(rows).children) {
    const name = row.dataset.name.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
  }
}

function markCase(index) {
  for (const [at, row] of [...$("cases").children].entries()) {
    row.firstChild.toggleAttribute("aria-current", at === index);
  }
}

function listCases() {
  // Without the folders that all names begin with.
  const folders = list.cases.map(({ name }) => name.split("/").slice(0, -1));
  const differs = folders[0].findIndex((folder, at) => !folders.every((other) => other[at] === folder));
  const shared = differs < 0 ? folders[0].length : differs;
  const rows = list.cases.map(({ name }, index) => {
    const row = document.createElement("li");
    row.dataset.name = name;
    const button = Object.assign(document.createElement("button"), { type: "button", title: name });
    setName(button, name.split("/").slice(shared).join("/"));
    button.addEventListener("click", () => show(index));
    row.append(button);
    return row;
  });
  $("cases").replaceChildren(...rows);
  $("case-count").textContent = `${rows.length}`;
  $("case-search").hidden = rows.length < 8;
}

// Start

listCases();
try {
  await viewer.attachToCanvas($("canvas"));
  viewer.onLocationChange = ({ mm }) => status(mm);
  $("canvas").addEventListener("mousemove", hover);
  $("canvas").addEventListener("mouseleave", leave);
  $("case-search").addEventListener("input", () => search("case-search", "cases"));
  $("structure-search").addEventListener("input", () => search("structure-search", "structures"));
  $("all").addEventListener("click", () => setAll(true));
  $("none").addEventListener("click", () => setAll(false));
  $("view").addEventListener("change", () => viewer.setSliceType(Number($("view").value)));
  $("window").addEventListener("change", () => repaint(shown.image, setWindow));
  $("opacity").addEventListener("input", recolor);
  viewer.setRenderAzimuthElevation(200, 10);
  await show(0);
} catch (error) {
  say(`this browser cannot show images: ${error.message ?? error} (WebGL 2 is needed)`, true);
  document.body.dataset.state = "error";
}

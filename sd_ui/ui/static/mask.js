// A mask painter on two plain canvases of the picture's own size: what is exported are these pixels, whatever the zoom or the screen.
// A pixel is painted or not: strokes are hardened as they end, so that what is seen is what is used. No upload happens while painting.
const $ = (selector) => element.querySelector(selector);
const stage = $(".mc-stage"), sheet = $(".mc-sheet"), ring = $(".mc-ring"), size = $(".mc-size");
const picture = $(".mc-picture"), paint = $(".mc-paint");
const onPicture = picture.getContext("2d"), onPaint = paint.getContext("2d", { willReadFrequently: true });
const COLOUR = [255, 56, 116], MEMORY = 96e6;  // bytes of undo
let shown = null, tool = "brush", stroke = null, past = [], future = [];
let zoom = 1, shift = [0, 0], base = 1, space = false;
const fingers = new Map();

// ---------------------------------------------------------------- the mask's pixels
function alphas() {
  const { data } = onPaint.getImageData(0, 0, paint.width, paint.height), out = new Uint8Array(data.length / 4);
  for (let i = 0; i < out.length; i++) out[i] = data[4 * i + 3] > 127 ? 255 : 0;
  return out;
}

function put(alpha) {
  const image = onPaint.createImageData(paint.width, paint.height);
  for (let i = 0; i < alpha.length; i++) if (alpha[i]) image.data.set([...COLOUR, 255], 4 * i);
  onPaint.putImageData(image, 0, 0);
}

function remember() {
  past.push(alphas());
  future = [];
  while (past.length > 1 && past.length * paint.width * paint.height > MEMORY) past.shift();
}

function commit() {
  const alpha = alphas(), any = alpha.some(Boolean);
  put(alpha);
  props.value = { ...props.value, mask: any ? paint.toDataURL("image/png") : null, w: paint.width, h: paint.height };
  shown = key(props.value);
  tools();
}

function travel(from, to) {
  if (!from.length) return;
  to.push(alphas());
  put(from.pop());
  commit();
}

const ACTS = {
  undo: () => travel(past, future),
  redo: () => travel(future, past),
  invert: () => { remember(); put(alphas().map((alpha) => 255 - alpha)); commit(); },
  clear: () => { remember(); onPaint.clearRect(0, 0, paint.width, paint.height); commit(); },
  in: () => zoomed(zoom * 1.5),
  out: () => zoomed(zoom / 1.5),
  whole: () => { shift = [0, 0]; zoomed(1); },
  open: () => $(".mc-file").click(),
  mask: () => $(".mc-mask-file").click(),
  remove: () => { props.value = null; update(); },
};

// ---------------------------------------------------------------- pictures in
const key = (value) => (value && value.url ? `${value.url}\n${value.mask || ""}` : "");

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

async function update() {
  const value = props.value, mine = key(value);
  if (mine === shown) return;
  shown = mine;
  past = []; future = []; stroke = null;
  if (!value || !value.url) { picture.width = paint.width = 0; picture.height = paint.height = 0; tools(); return; }
  try {
    const [image, mask] = await Promise.all([decoded(value.url), value.mask ? decoded(value.mask) : null]);
    if (shown !== mine) return;
    for (const canvas of [picture, paint]) { canvas.width = image.naturalWidth; canvas.height = image.naturalHeight; }
    onPicture.drawImage(image, 0, 0);
    if (mask) lay(mask);
    brush(Math.max(4, Math.round(Math.min(paint.width, paint.height) / 8)));
    size.max = Math.max(16, Math.round(Math.max(paint.width, paint.height) / 2));
    zoom = 1; shift = [0, 0];
    wrong("");
  } catch { wrong("This picture cannot be shown, so it cannot be painted on. Save it as PNG or JPEG and open it again."); }
  tools();
  place();
}

function lay(image) {  // a mask of another size is fitted to the picture, pixel by pixel
  onPaint.imageSmoothingEnabled = false;
  onPaint.clearRect(0, 0, paint.width, paint.height);
  onPaint.drawImage(image, 0, 0, paint.width, paint.height);
  put(alphas());
}

async function take(file) {
  wrong("");
  try {
    const { path, url } = await upload(file);
    props.value = { path, url, mask: null };
    update();
  } catch (error) { wrong(`The picture was not taken: ${error.message || error}`); }
}

async function takeMask(file) {
  try {
    const image = await createImageBitmap(file);
    remember();
    onPaint.imageSmoothingEnabled = false;
    onPaint.clearRect(0, 0, paint.width, paint.height);
    onPaint.drawImage(image, 0, 0, paint.width, paint.height);
    const { data } = onPaint.getImageData(0, 0, paint.width, paint.height), out = new Uint8Array(data.length / 4);
    for (let i = 0; i < out.length; i++) {
      const [r, g, b, a] = data.subarray(4 * i, 4 * i + 4);
      out[i] = (0.299 * r + 0.587 * g + 0.114 * b) * a / 255 > 127 ? 255 : 0;
    }
    put(out);
    commit();
    wrong(out.some(Boolean) ? "" : "This mask is black everywhere: white is where new content goes. Invert turns it around.");
  } catch { wrong("This mask cannot be read; PNG is best."); }
}

function wrong(text) {
  $(".mc-wrong").hidden = !text;
  $(".mc-wrong").textContent = text;
}

function tools() {
  const has = paint.width > 0;
  element.dataset.painted = String(Boolean(props.value && props.value.mask));
  $(".mc-empty").hidden = has;
  stage.classList.toggle("mc-has", has);
  for (const button of element.querySelectorAll("button")) button.disabled = !has && button.dataset.do !== "open";
  $("[data-do=undo]").disabled = !past.length;
  $("[data-do=redo]").disabled = !future.length;
  $(".mc-facts").textContent = has ? `${paint.width} × ${paint.height}` : "";
  for (const button of element.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
}

// ---------------------------------------------------------------- view: the sheet is scaled and moved, the pixels stay
function place() {
  if (!paint.width) return;
  const width = stage.clientWidth;
  base = Math.min(width / paint.width, Math.min(window.innerHeight * 0.6, 560) / paint.height);
  stage.style.height = `${Math.round(paint.height * base)}px`;
  const scale = base * zoom, left = (width - paint.width * scale) / 2 + shift[0], top = (stage.clientHeight - paint.height * scale) / 2 + shift[1];
  sheet.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
  sheet.style.imageRendering = scale > 2 ? "pixelated" : "auto";
  $(".mc-zoom").textContent = `${Math.round(100 * scale)} %`;
}

function zoomed(to, at) {
  const next = Math.min(16, Math.max(1, to)), box = stage.getBoundingClientRect();
  const [x, y] = at ? [at[0] - box.left - box.width / 2, at[1] - box.top - box.height / 2] : [0, 0];
  shift = next === 1 ? [0, 0] : [x - (x - shift[0]) * next / zoom, y - (y - shift[1]) * next / zoom];
  zoom = next;
  place();
}

function brush(to) {
  size.value = Math.max(1, Math.min(Number(size.max), Math.round(to)));
  $(".mc-size-text").textContent = size.value;
}

function pointer(event) {
  const box = stage.getBoundingClientRect(), width = Number(size.value) * base * zoom;
  ring.hidden = !paint.width || event.pointerType === "touch";
  ring.style.width = ring.style.height = `${width}px`;
  ring.style.transform = `translate(${event.clientX - box.left - width / 2}px, ${event.clientY - box.top - width / 2}px)`;
}

// ---------------------------------------------------------------- painting
function at(event) {
  const box = paint.getBoundingClientRect();
  return [(event.clientX - box.left) * paint.width / box.width, (event.clientY - box.top) * paint.height / box.height];
}

function line(from, to) {
  onPaint.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
  onPaint.strokeStyle = `rgb(${COLOUR})`;
  onPaint.lineWidth = Number(size.value);
  onPaint.lineCap = onPaint.lineJoin = "round";
  onPaint.beginPath();
  onPaint.moveTo(...from);
  onPaint.lineTo(...to);
  onPaint.stroke();
  onPaint.globalCompositeOperation = "source-over";
}

function down(event) {
  if (!paint.width) { if (event.button === 0) $(".mc-file").click(); return; }
  stage.focus({ preventScroll: true });
  stage.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 2) return cancel();
  if (event.button === 1 || space) { event.preventDefault(); stroke = { moves: [event.clientX - shift[0], event.clientY - shift[1]] }; return; }
  if (event.button !== 0 && event.button !== 5) return;
  remember();
  stroke = { erases: tool === "eraser" || event.button === 5, last: at(event) };  // 5: the eraser end of a pen
  line(stroke.last, [stroke.last[0] + 0.01, stroke.last[1]]);
}

function cancel() {  // a second finger came: this is a pinch, not a stroke
  if (stroke && stroke.last) put(past.pop());
  stroke = null;
}

function move(event) {
  pointer(event);
  if (fingers.size === 2 && fingers.has(event.pointerId)) return pinch(event);
  if (!stroke) return;
  if (stroke.moves) { shift = [event.clientX - stroke.moves[0], event.clientY - stroke.moves[1]]; return place(); }
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of events.length ? events : [event]) {
    const point = at(each);
    line(stroke.last, point);
    stroke.last = point;
  }
}

function pinch(event) {
  const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1], before = fingers.get(event.pointerId), now = [event.clientX, event.clientY];
  const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
  fingers.set(event.pointerId, now);
  shift = [shift[0] + (now[0] - before[0]) / 2, shift[1] + (now[1] - before[1]) / 2];
  zoomed(zoom * apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
}

function up(event) {
  fingers.delete(event.pointerId);
  const painted = stroke && stroke.last;
  stroke = null;
  if (painted) commit();
}

// ---------------------------------------------------------------- keys, wheel, files
function keys(event) {
  const command = event.ctrlKey || event.metaKey, pressed = event.key.toLowerCase();
  if (command && pressed === "z") { event.preventDefault(); event.shiftKey ? ACTS.redo() : ACTS.undo(); }
  else if (command && pressed === "y") { event.preventDefault(); ACTS.redo(); }
  else if (command) return;
  else if (event.key === "[") brush(Math.min(size.value / 1.2, size.value - 1));
  else if (event.key === "]") brush(Math.max(size.value * 1.2, Number(size.value) + 1));
  else if (pressed === "b" || pressed === "e") { tool = pressed === "b" ? "brush" : "eraser"; tools(); }
  else if (event.key === " ") { event.preventDefault(); space = true; }
  else if (event.key === "Enter" && !paint.width) $(".mc-file").click();
}

function wheel(event) {
  if (!paint.width || (!event.ctrlKey && document.activeElement !== stage)) return;  // the page scrolls on, until the canvas is being used
  event.preventDefault();
  const by = Math.exp(-event.deltaY / 500);
  if (event.ctrlKey) zoomed(zoom * by, [event.clientX, event.clientY]);
  else brush(by > 1 ? Math.max(size.value * by, Number(size.value) + 1) : Math.min(size.value * by, size.value - 1));
  pointer(event);
}

function pasted(event) {
  const item = [...event.clipboardData.items].find((each) => each.type.startsWith("image/"));
  if (item) { event.preventDefault(); take(item.getAsFile()); }
}

function dropped(event) {
  event.preventDefault();
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
}

stage.addEventListener("pointerdown", down);
stage.addEventListener("pointermove", move);
stage.addEventListener("pointerup", up);
stage.addEventListener("pointercancel", up);
stage.addEventListener("pointerleave", () => { ring.hidden = true; });
stage.addEventListener("wheel", wheel, { passive: false });
stage.addEventListener("keydown", keys);
stage.addEventListener("keyup", (event) => { if (event.key === " ") space = false; });
stage.addEventListener("dragover", (event) => event.preventDefault());
stage.addEventListener("drop", dropped);
element.addEventListener("paste", pasted);
document.addEventListener("paste", (event) => {
  const first = [...document.querySelectorAll(".pi-stage, .mc-stage")].find((each) => each.offsetParent);
  if (first === stage && !event.target.closest("input, textarea") && !element.contains(event.target)) pasted(event);
});
element.addEventListener("click", (event) => {
  const { do: act, tool: chosen } = event.target.dataset;
  if (chosen) { tool = chosen; tools(); }
  if (act) ACTS[act]();
});
size.addEventListener("input", () => brush(size.value));
$(".mc-opacity").addEventListener("input", (event) => { paint.style.opacity = event.target.value / 100; });
for (const [name, action] of [[".mc-file", take], [".mc-mask-file", takeMask]]) {
  $(name).addEventListener("change", (event) => { if (event.target.files[0]) action(event.target.files[0]); event.target.value = ""; });
}
new ResizeObserver(place).observe(stage.parentElement);
watch("value", update);
update();
tools();

// The large picture. Frames are decoded off screen and only the newest is shown, so that there is never a blank one.
const $ = (selector) => element.querySelector(selector);
const BUSY = ["waiting", "loading", "running"];
const file = (picture) => `pictures/${picture.id}`;
let view = {};      // the last value from the server
let chosen = null;  // the picture that a person picked; null: what the job shows
let wanted = 0;     // number of the newest frame asked for
let drawn = "";     // what the large picture shows
let frames = 0;

async function draw(src, picture) {
  const mine = ++wanted;
  if (!src) return;
  if (src !== drawn) {
    const next = new Image();
    next.src = src;
    try { await next.decode(); } catch { return; }
    if (mine < wanted) return;
    drawn = src;
    $(".vw-img").src = src;
    element.dataset.frames = ++frames;
  }
  const image = $(".vw-img");
  image.hidden = false;
  image.alt = picture ? `Result with seed ${picture.seed}` : "Live preview";
  image.classList.toggle("vw-live", !picture);
  $(".vw-empty").hidden = true;
}

function seconds(value) {
  if (!(value > 0)) return "0 s";
  return value < 60 ? `${value.toFixed(value < 10 ? 1 : 0)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

function said(value) {
  if (value.state !== "running") return value.text || "";
  const picture = value.count > 1 ? `Picture ${value.picture} of ${value.count} · ` : "";
  return `${picture}Step ${value.index} of ${value.total}`;
}

function share(value) {
  if (value.state !== "running" || !value.total) return 0;
  return ((value.picture - 1) + value.index / value.total) / value.count;
}

function refresh() {
  const busy = BUSY.includes(view.state);
  const picture = chosen || (busy ? null : view.shown);
  element.dataset.state = view.state || "idle";
  $(".vw-line").hidden = $(".vw-bar").hidden = !busy;
  $(".vw-bar").classList.toggle("vw-unsure", busy && view.state !== "running");
  $(".vw-fill").style.width = `${100 * share(view)}%`;
  $(".vw-bar").setAttribute("aria-valuenow", Math.round(100 * share(view)));
  $(".vw-state").textContent = busy ? said(view) : "";
  $(".vw-times").textContent = view.state === "running" ? `${seconds(view.elapsed)} · ${seconds(view.remaining)} left` : "";
  $(".vw-text").hidden = busy || !view.text;
  $(".vw-text").textContent = busy ? "" : view.text || "";
  $(".vw-text").dataset.state = view.state || "idle";
  $(".vw-back").hidden = !(chosen && busy);
  $(".vw-tools").hidden = !picture;
  if (picture) {
    $(".vw-facts").textContent = `${picture.width} × ${picture.height} · seed ${picture.seed}`;
    $(".vw-download").href = `${file(picture)}?download=1`;
  }
  draw(picture ? file(picture) : view.src, picture);
  if (!picture && !view.src && !busy) { wanted++; drawn = ""; $(".vw-img").hidden = true; $(".vw-empty").hidden = false; }
  document.dispatchEvent(new CustomEvent("sdui:shown", { detail: picture ? picture.id : null }));
}

function update() {
  const before = view;
  view = props.value || {};
  if (view.job !== before.job && BUSY.includes(view.state)) chosen = null;
  if (chosen && (window.sduiGone || new Set()).has(chosen.id)) chosen = null;
  if (view.state === "running" && !view.src && before.job === view.job) view = { ...view, src: before.src };
  refresh();
}

function choose(picture) {
  chosen = picture;
  refresh();
  trigger("pick", { id: picture.id });
}

// ---------------------------------------------------------------- full size
const current = () => chosen || (BUSY.includes(view.state) ? null : view.shown);
const dialog = $(".vw-dialog");
function enlarge() {
  if (!current()) return;
  $(".vw-large").src = file(current());
  if (!dialog.open) dialog.showModal();
}
function step(by) {
  const list = window.sduiPictures || [], at = list.findIndex((picture) => picture.id === (current() || {}).id) + by;
  if (list[at]) { choose(list[at]); enlarge(); }
}
$(".vw-prev").addEventListener("click", () => step(-1));
$(".vw-next").addEventListener("click", () => step(1));
$(".vw-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});

$(".vw-img").addEventListener("click", enlarge);
$(".vw-back").addEventListener("click", () => { chosen = null; refresh(); });
$(".vw-tools").addEventListener("click", (event) => {
  const act = event.target.dataset.act, picture = current();
  if (!act || !picture) return;
  if (act === "full") return enlarge();
  if (act === "delete" && !window.confirm("Delete this picture's file? This cannot be undone.")) return;
  if (act === "delete") { (window.sduiGone ||= new Set()).add(picture.id); chosen = null; }
  trigger("act", { act, id: picture.id });
});
document.addEventListener("sdui:choose", (event) => choose(event.detail));
watch("value", update);
update();

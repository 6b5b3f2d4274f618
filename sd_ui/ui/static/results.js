// Thumbnails, newest first. Those that stay are kept in the document, so that nothing flickers when a new one comes.
const $ = (selector) => element.querySelector(selector);
let shown = null;

function thumbnail(picture) {
  const button = document.createElement("button"), image = document.createElement("img");
  button.type = "button";
  button.className = "rs-item";
  button.dataset.id = picture.id;
  button.title = `${picture.width} × ${picture.height}, seed ${picture.seed}`;
  image.src = `pictures/${picture.id}/thumb`;
  image.alt = `Result with seed ${picture.seed}`;
  image.loading = "lazy";
  button.append(image);
  button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("sdui:choose", { detail: picture })));
  return button;
}

function mark() {
  for (const item of $(".rs-grid").children) item.setAttribute("aria-current", String(item.dataset.id === shown));
}

function update() {
  const value = props.value || { pictures: [] }, grid = $(".rs-grid");
  const old = new Map([...grid.children].map((item) => [item.dataset.id, item]));
  grid.replaceChildren(...value.pictures.map((picture) => old.get(picture.id) || thumbnail(picture)));
  $(".rs-none").hidden = value.pictures.length > 0;
  $(".rs-count").textContent = value.pictures.length ? `${value.pictures.length}${value.more ? "+" : ""}` : "";
  $(".rs-more").hidden = !value.more;
  window.sduiPictures = value.pictures;
  mark();
}

$(".rs-more").addEventListener("click", () => trigger("more", {}));
document.addEventListener("sdui:shown", (event) => { shown = event.detail; mark(); });
watch("value", update);
update();

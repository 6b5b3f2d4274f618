// A picture to start from: opened, dropped or pasted (it is uploaded once), or one of one's own results (nothing is uploaded).
const $ = (selector) => element.querySelector(selector);
const stage = $(".pi-stage"), input = $(".pi-file");
let shown = null;

function wrong(text) {
  $(".pi-wrong").hidden = !text;
  $(".pi-wrong").textContent = text;
}

async function update() {
  const value = props.value, url = value && value.url;
  $(".pi-clear").hidden = !url;
  if (url === shown) return;
  shown = url;
  $(".pi-img").hidden = !url;
  $(".pi-empty").hidden = Boolean(url);
  $(".pi-facts").textContent = "";
  if (!url) return;
  const image = $(".pi-img");
  image.onload = () => { $(".pi-facts").textContent = `${image.naturalWidth} × ${image.naturalHeight}`; };
  image.onerror = () => { if (shown === url) wrong("This picture cannot be shown here. It may still be read when it is used."); };
  image.src = url;
}

async function take(blob) {
  wrong("");
  try {
    const { path, url } = await upload(blob);
    props.value = { path, url };
    trigger("taken", {});
    update();
  } catch (error) {
    wrong(`The picture was not taken: ${error.message || error}`);
  }
}

function pasted(event) {
  const item = [...event.clipboardData.items].find((each) => each.type.startsWith("image/"));
  if (item) { event.preventDefault(); take(item.getAsFile()); }
}

stage.addEventListener("click", () => input.click());
stage.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); input.click(); } });
input.addEventListener("change", () => { if (input.files[0]) take(input.files[0]); input.value = ""; });
stage.addEventListener("dragover", (event) => { event.preventDefault(); stage.classList.add("pi-over"); });
stage.addEventListener("dragleave", () => stage.classList.remove("pi-over"));
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("pi-over");
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
element.addEventListener("paste", pasted);
document.addEventListener("paste", (event) => {  // anywhere on the page, for the first picture that is to be seen, unless text is being written
  const first = [...document.querySelectorAll(".pi-stage, .mc-stage")].find((each) => each.offsetParent);
  if (first === stage && !event.target.closest("input, textarea") && !element.contains(event.target)) pasted(event);
});
$(".pi-clear").addEventListener("click", () => { props.value = null; wrong(""); trigger("taken", {}); update(); });
watch("value", update);
update();

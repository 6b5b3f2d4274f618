// What was wrong, beside the form, and a mark at the field that it is about.
const $ = (selector) => element.querySelector(selector);
const marked = () => document.querySelectorAll(".field-wrong");

function update() {
  const value = props.value;
  marked().forEach((field) => field.classList.remove("field-wrong"));
  $(".ms").hidden = !value;
  $(".ms-text").textContent = value ? value.text : "";
  $(".ms").dataset.kind = value ? value.kind : "";
  if (value && value.kind === "error") requestAnimationFrame(() => $(".ms").scrollIntoView({ block: "nearest" }));
  if (!value || !value.field) return;
  const candidates = [`#field-${value.field}`, ...["txt2img", "img2img", "inpaint", "depth2img"].map((mode) => `#${mode}-${value.field}`)];
  candidates.flatMap((selector) => [...document.querySelectorAll(selector)]).filter((field) => field.offsetParent).forEach((field) => field.classList.add("field-wrong"));
}

$(".ms-close").addEventListener("click", () => { props.value = null; update(); });
watch("value", update);
update();
